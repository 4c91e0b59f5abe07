"""What must hold of programs, taken from the words of the issue and not from the code that decides.

The oracle sees what is asked, what becomes of processes, and what is done; it never looks into the core. Each rule
that is broken is a finding of one of these kinds:

* doubled: a second process of a program, or one that nobody waits for
* budget: more automatic restarts in a period than allowed, of a program or of a group
* give-up: given up though a budget allows more, not given up though none does, or told twice
* policy: a restart that the restart policy excludes
* backoff: a restart earlier or later than the backoff allows
* strategy: a signal or a start that neither a request nor a strategy explains; one that is missing; a wrong order
* stop: SIGKILL too early, too late or never
* lost: one that should be up and is not, or the other way round, for longer than anything explains
"""

from __future__ import annotations

import signal
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import NamedTuple

from banken_supervisor.engine.policy import Group, ProgramSpec, Restart, Strategy

EPSILON = 1e-6
LATE = 0.06
"""Seconds by which the host lets a timer go late, and a little more."""
UNKILLABLE_AFTER = 5.0
SPAWN_PATIENCE = 10.0


class Finding(NamedTuple):
    """One broken rule."""

    kind: str
    at: float
    name: str
    says: str


@dataclass
class Track:
    """What the oracle knows of one program."""

    spec: ProgramSpec
    place: tuple[int, int]
    """start order, place in its group's list"""
    process: str = "none"
    """none, asked (a spawn is under way) or alive"""
    wish: str = "down"
    """up; down; done (it ended and its policy leaves it so); given-up"""
    born: float = 0.0
    failures: int = 0
    """restarts of its own since a stable run"""
    restarts: deque[float] = field(default_factory=deque)
    ended: float | None = None
    """when it ended by itself, if that is why it waits to start"""
    cap: float = 0.0
    """the longest backoff that this wait may have"""
    explained: bool = False
    """it may be signalled: somebody asked for it, or its group goes down"""
    forced: bool = False
    """it is to come up again because its group does"""
    signalled: float | None = None
    killed: float | None = None
    unkillable: bool = False
    spawn_asked: float = 0.0
    told_slow: bool = False
    amiss_since: float = 0.0
    """since when its process is not as it is wished"""
    before: set[str] = field(default_factory=set)
    """those that must be gone before it is signalled"""
    until: set[str] = field(default_factory=set)
    """those that must be gone before it is started"""
    first: set[str] = field(default_factory=set)
    """those whose spawn must be done before it is spawned"""

    @property
    def is_overdue(self) -> bool:
        """That it does not end, or that its spawn takes too long, was told: nobody waits for it."""
        return self.unkillable or (self.told_slow and self.process == "asked")


class Oracle:
    """Judges one night."""

    def __init__(self, specs: list[ProgramSpec], groups: list[Group]) -> None:
        self.findings: list[Finding] = []
        self.gave_up = 0
        self.automatic = 0
        self.rounds = 0
        self._groups = groups
        self._queued: set[str] = set()
        self._group_restarts: dict[str, deque[float]] = defaultdict(deque)
        self.tracks: dict[str, Track] = {}
        for spec in specs:
            mine = self._group(spec.name)
            self.tracks[spec.name] = Track(spec, (spec.order, mine.members.index(spec.name) if mine else 0))
        stops = max((each.stop_timeout for each in specs), default=0.0) + UNKILLABLE_AFTER + 1.0
        most = max((each.backoff.most for each in specs), default=0.0)
        self._patience = 2 * most + 12 * (stops + SPAWN_PATIENCE)
        """nothing explains a longer wait; a group has at most six members, and a round may follow another"""

    def _group(self, name: str) -> Group | None:
        return next((each for each in self._groups if name in each.members), None)

    def wrong(self, kind: str, at: float, name: str, says: str) -> None:
        """A rule is broken."""
        self.findings.append(Finding(kind, at, name, says))

    # -- what is asked ------------------------------------------------------------------------------

    def asked(self, what: str, names: list[str], now: float) -> None:
        """start, stop, restart or with-group, before the core hears of it."""
        if what == "with-group":
            ending = [name for name in names if self._up(name)]
            mates = {mate for name in ending for mate in self._mates(name) if self._up(mate)}
            names = sorted({*names, *mates})
        before = {name: self._up(name) for name in names}
        self._queued = {name for name in names if self._is_queued(self.tracks[name])}
        as_group = what == "with-group" and any(self._ends_now(name) for name in names)
        for name in names:
            track = self.tracks[name]
            if what == "stop":
                if track.wish == "up" or track.process != "none":
                    track.amiss_since = now
                self._drop_wait(track)
                track.wish = "down"
                track.forced = False
                track.explained = track.process != "none"
                track.until.clear()
                track.first.clear()
                self._spawn_done(name)
                continue
            fresh = track.wish != "up" and track.process == "none"
            if fresh:
                if track.wish == "given-up":
                    self._forgive_group(name)
                track.failures = 0
                track.restarts.clear()
            if track.wish != "up":
                track.amiss_since = now
            track.wish = "up"
            if what != "start" and track.process != "none":
                track.explained = True
                track.amiss_since = now
                self._spawn_done(name)
            elif track.process == "none" and not as_group:
                self._drop_wait(track)
        if what == "stop":
            self._order_down(names)
        elif what in ("restart", "with-group"):
            going = [name for name in names if before[name] and self.tracks[name].process != "none"]
            self._order_down(going)
            if as_group:
                for name in names:
                    self.tracks[name].first.clear()
                    self.tracks[name].until |= {each for each in going if not self.tracks[each].is_overdue}

    @staticmethod
    def _is_queued(track: Track) -> bool:
        """It was asked to start already, and waits for its turn."""
        return track.wish == "up" and track.process == "none" and track.ended is None and not track.forced

    def _ends_now(self, name: str) -> bool:
        track = self.tracks[name]
        return track.wish == "up" and track.process != "none" and not track.explained

    def _up(self, name: str) -> bool:
        return self.tracks[name].wish == "up"

    def _drop_wait(self, track: Track) -> None:
        """It does not wait for a restart of its own any longer."""
        track.ended = None

    def _forgive_group(self, name: str) -> None:
        mine = self._group(name)
        if mine is not None:
            self._group_restarts[mine.name].clear()

    def _order_down(self, names: list[str]) -> None:
        """Later ones go first; the next when they are gone."""
        going = [name for name in names if self.tracks[name].process != "none" and not self.tracks[name].unkillable]
        for name in going:
            track = self.tracks[name]
            if track.signalled is None:
                order = track.place[0]
                track.before |= {other for other in going if self.tracks[other].place[0] > order}

    # -- what becomes of processes ------------------------------------------------------------------

    def started(self, name: str, now: float) -> None:
        """A process was made."""
        track = self.tracks[name]
        track.process, track.born = "alive", now
        self._spawn_done(name)

    def ended(self, name: str, status: int | None, now: float, failed: bool = False) -> bool:
        """A process ended, or could not be made; before the core hears of it. Whether it was its own doing."""
        track = self.tracks[name]
        if (
            not failed
            and track.signalled is None
            and not track.explained
            and now - track.born >= self._programs(track)
        ):
            track.failures = 0
        if (
            track.signalled is not None
            and track.killed is None
            and now - track.signalled > track.spec.stop_timeout + LATE
        ):
            self.wrong("stop", now, name, "it outlived its stop timeout and was not killed")
        track.process = "none"
        self._spawn_done(name)
        for other in self.tracks.values():
            other.before.discard(name)
            other.until.discard(name)
        own = not track.explained
        track.signalled = track.killed = None
        track.unkillable = track.explained = False
        track.amiss_since = now
        track.before.clear()
        if own:
            self._own_end(track, status, now)
        return own

    def _spawn_done(self, name: str) -> None:
        for other in self.tracks.values():
            other.first.discard(name)

    def _programs(self, track: Track) -> float:
        return max(track.spec.backoff.most, 1.0)

    def _own_end(self, track: Track, status: int | None, now: float) -> None:
        track.ended = None
        policy = track.spec.restart
        if policy is Restart.NEVER or (policy is Restart.ON_FAILURE and status == 0):
            track.wish = "done"
            return
        track.ended = now
        track.cap = min(track.spec.backoff.most, track.spec.backoff.least * 2.0**track.failures)

    # -- what is done -------------------------------------------------------------------------------

    def decided(self, name: str, gave_up: list[tuple[str, str]], now: float) -> None:
        """After an end of its own was told to the core: what it should have decided."""
        track = self.tracks[name]
        told = [of for who, of in gave_up if who == name]
        if len(gave_up) != len(told) or len(told) > 1:
            self.wrong("give-up", now, name, f"told for {gave_up}")
        if track.ended is None:
            if told:
                self.wrong("give-up", now, name, "its policy wants no restart anyway")
            return
        mine = self._group(name)
        if told:
            self.gave_up += 1
            if not self._may_be_spent(track, mine, now):
                self.wrong("give-up", now, name, "a budget allows more")
            track.wish, track.ended = "given-up", None
            for mate in self._mates(name):
                other = self.tracks[mate]
                if other.wish == "up":
                    other.wish, other.explained, other.forced, other.ended = "down", True, False, None
                    other.amiss_since = now
                    self._spawn_done(mate)
            return
        if self._must_be_spent(track, mine, now):
            self.wrong("give-up", now, name, "no budget allows more")
        track.failures += 1
        affected = [mate for mate in self._mates(name) if self.tracks[mate].wish == "up"]
        if affected:
            self.rounds += 1
        going = [mate for mate in affected if self.tracks[mate].process != "none"]
        for mate in affected:
            other = self.tracks[mate]
            other.explained = other.process != "none"
            other.forced = True
            other.amiss_since = now
            self._spawn_done(mate)
        for mate in (name, *affected) if affected else ():
            self.tracks[mate].first.clear()  # its round has an order of its own
            self.tracks[mate].until |= {each for each in going if not self.tracks[each].is_overdue}
        for mate in going:
            if self.tracks[mate].signalled is None:
                place = self.tracks[mate].place
                later = {
                    each for each in going if self.tracks[each].place > place and not self.tracks[each].unkillable
                }
                self.tracks[mate].before |= later
        if affected:
            track.forced = True

    def _mates(self, name: str) -> list[str]:
        """Who else starts again when this one ends by itself."""
        mine = self._group(name)
        if mine is None or mine.strategy in (None, Strategy.ONE_FOR_ONE):
            return []
        place = self.tracks[name].place
        return [
            each
            for each in mine.members
            if each != name and (mine.strategy is Strategy.ONE_FOR_ALL or self.tracks[each].place > place)
        ]

    def _counted(self, track: Track, mine: Group | None, when: float) -> list[bool]:
        """Of each budget, whether it is spent for a restart at ``when``."""
        budget = track.spec.budget
        spent = [sum(when - at < budget.period for at in track.restarts) >= budget.runs]
        if mine is not None and mine.budget is not None:
            waiting = sum(
                1 for each in mine.members if self.tracks[each] is not track and self.tracks[each].ended is not None
            )
            made = sum(when - at < mine.budget.period for at in self._group_restarts[mine.name])
            spent.append(made + waiting >= mine.budget.runs)
        return spent

    def _may_be_spent(self, track: Track, mine: Group | None, now: float) -> bool:
        return any(self._counted(track, mine, now + track.spec.backoff.least))

    def _must_be_spent(self, track: Track, mine: Group | None, now: float) -> bool:
        return any(self._counted(track, mine, now + track.cap))

    def spawn(self, name: str, now: float) -> None:
        """A process is asked for."""
        track = self.tracks[name]
        if track.process != "none":
            self.wrong("doubled", now, name, f"its process is {track.process}")
        if track.wish != "up":
            kind = {"given-up": "give-up", "done": "policy"}.get(track.wish, "strategy")
            self.wrong(kind, now, name, f"it is started though it is {track.wish}")
        if track.until:
            self.wrong("strategy", now, name, f"it is started while {sorted(track.until)} are not gone")
        waiting = {each for each in track.first if now - self.tracks[each].spawn_asked < SPAWN_PATIENCE}
        if waiting:
            self.wrong("strategy", now, name, f"it is started before {sorted(waiting)}")
        track.first.clear()
        if track.ended is not None:
            self._automatic(track, now)
        track.process, track.spawn_asked, track.told_slow = "asked", now, False
        track.ended, track.forced, track.explained = None, False, False
        track.amiss_since = now

    def _automatic(self, track: Track, now: float) -> None:
        """It restarts because it ended by itself."""
        self.automatic += 1
        assert track.ended is not None
        waited = now - track.ended
        if waited < track.spec.backoff.least - EPSILON:
            self.wrong("backoff", now, track.spec.name, f"after {waited:.3f} s")
        if not track.forced and waited > track.cap + LATE:
            self.wrong("backoff", now, track.spec.name, f"after {waited:.3f} s; at most {track.cap:.3f} s")
        track.restarts.append(now)
        self._keep_to(track.restarts, track.spec.budget, now, track.spec.name)
        mine = self._group(track.spec.name)
        if mine is not None and mine.budget is not None:
            self._group_restarts[mine.name].append(now)
            self._keep_to(self._group_restarts[mine.name], mine.budget, now, mine.name)

    def _keep_to(self, restarts: deque[float], budget: tuple[float, float], now: float, name: str) -> None:
        count, period = budget
        while now - restarts[0] >= period:
            restarts.popleft()
        if len(restarts) > count:
            self.wrong("budget", now, name, f"{len(restarts)} restarts within {period} s")

    def sent(self, name: str, number: int, now: float) -> None:
        """A signal is sent."""
        track = self.tracks[name]
        if number == signal.SIGCONT:
            return
        if number != signal.Signals[track.spec.stop_signal]:
            self.wrong("stop", now, name, f"signal {number}")
        if track.process != "alive":
            self.wrong("stop", now, name, f"a signal, but its process is {track.process}")
        if not track.explained:
            self.wrong("strategy", now, name, "nothing explains that it is stopped")
        if track.signalled is not None:
            self.wrong("stop", now, name, "it was signalled already")
        still = {each for each in track.before if self.tracks[each].process != "none"}
        if {each for each in still if not (self.tracks[each].unkillable or self.tracks[each].told_slow)}:
            self.wrong("strategy", now, name, f"it is stopped while {sorted(still)} are not gone")
        track.signalled = now

    def kill(self, name: str, now: float) -> None:
        """SIGKILL for the group."""
        track = self.tracks[name]
        if track.signalled is None or track.killed is not None:
            self.wrong("stop", now, name, "killed, but not signalled before, or twice")
            return
        if not -EPSILON <= now - track.signalled - track.spec.stop_timeout <= LATE:
            self.wrong("stop", now, name, f"killed {now - track.signalled:.3f} s after its signal")
        track.killed = now

    def told_unkillable(self, name: str, now: float) -> None:
        """It is told that SIGKILL did not help; nobody has to wait for it any longer."""
        track = self.tracks[name]
        if track.killed is None or not -EPSILON <= now - track.killed - UNKILLABLE_AFTER <= LATE:
            self.wrong("stop", now, name, "told as unkillable at the wrong time")
        track.unkillable = True
        self._wait_no_longer(name)

    def told_slow(self, name: str, now: float) -> None:
        """It is told that its spawn takes too long."""
        track = self.tracks[name]
        if now - track.spawn_asked < SPAWN_PATIENCE - EPSILON:
            self.wrong("lost", now, name, "told as slow too early")
        track.told_slow = True
        self._wait_no_longer(name)

    def _wait_no_longer(self, name: str) -> None:
        self._spawn_done(name)
        for other in self.tracks.values():
            other.before.discard(name)
            other.until.discard(name)

    def started_in_order(self, names: list[str]) -> None:
        """A start of all was asked for: lower orders first."""
        starting = [name for name in names if self.tracks[name].process == "none" and not self.tracks[name].forced]
        for name in starting:
            if name in self._queued:
                continue  # it keeps its place among those of the request before
            order = self.tracks[name].place[0]
            self.tracks[name].first = {each for each in starting if self.tracks[each].place[0] < order}

    # -- time ---------------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Whether anything has been amiss for longer than can be explained."""
        for name, track in self.tracks.items():
            up = track.process == "alive" and not track.explained
            as_wished = up if track.wish == "up" else track.process == "none"
            if as_wished or track.unkillable or track.process == "asked":
                track.amiss_since = now
            elif now - track.amiss_since > self._patience:
                self.wrong("lost", now, name, f"wished {track.wish}, is {track.process} for {self._patience:.0f} s")
                track.amiss_since = now
            if track.killed is not None and not track.unkillable and now - track.killed > UNKILLABLE_AFTER + LATE:
                self.wrong("stop", now, name, "it outlived SIGKILL and nobody was told")
                track.killed = now
