"""The oracle of names that several processes feed: it hears what is said and done, and judges what is told.

- *false*: a process is convicted that kept its word, is paused, or is none of those that are judged.
- *missed*: somebody is silent beyond its time, or has ended badly, and the sweep did not find it; or the queue
  would look later than that.
- *doubled*: a second incident while one is open, or the end of one that is not.
- *broken*: an incident of one process was ended by another one's word, or was not by its own; a step is done to
  another live process; a word of a live process was refused; a name was released while others feed it; something
  was left over.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any

from banken.protocol.messages import CLEAN, Declaration, Feeders
from banken_supervisor.engine.effects import Effect, Event, EventType, Fault, RunStep

from .mail import SECOND, Finding
from .members_lives import ENDS_S, RETURN_S, Incident, Life, Watched

ROUNDING = 0.005
"""Seconds: the queue counts in ticks of a 1024th."""

PROOFS = ("feed", "note", "work", "idle")
TAKES = (*PROOFS, "declare")


class Oracle:
    """``findings`` is its word. ``now``: deadline time, seconds."""

    def __init__(self, said: dict[str, Declaration], *, tells_end: bool) -> None:
        self.said = dict(said)
        self.tells_end = tells_end
        self.names: dict[str, Watched] = {}
        self.live: set[int] = set()
        """pids of the processes that live"""
        self.unclean: set[int] = set()
        """those that ended badly, or in a way that is not known, as far as the engine was told"""
        self.dying: set[int] = set()
        """those that said of what they die"""
        self.findings: list[Finding] = []
        self.verdicts = 0
        self._failed: set[tuple[str, int | None]] = set()
        self._due_since: dict[str, float | None] = {}
        """those that were due at the last sweep, and were not judged"""
        self._now = 0.0
        self._deed: tuple[str, str, int] = "", "", 0

    def find(self, kind: str, name: str, why: str) -> None:
        self.findings.append(Finding(kind, round((self._now - 1000.0) * SECOND), name, why))

    def incident_of(self, name: str) -> Incident | None:
        """The open one of this name."""
        watched = self.names.get(name)
        return None if watched is None else watched.incident

    # -- what is said and done --------------------------------------------------------------------------

    def heard(
        self, now: float, what: str, name: str, pid: int, value: float, *, refused: bool, told: Iterable[Effect]
    ) -> None:
        """The engine has taken a word. ``pid``: 0: an operator's."""
        self._now, self._deed = now, (what, name, pid)
        told = list(told)
        watched = self.names.get(name)
        life = None if watched is None else watched.lives.get(pid)
        if refused:
            if pid in self.live and what in TAKES and not (life is not None and life.is_leaving):
                self.find("broken", name, f"{what} of process {pid} is refused")
            self.tell(now, told)
            return
        if watched is None and what not in ("release", "resume", "leave", "die"):
            watched = self.names[name] = Watched(self.said[name], (now, now))
        if watched is None:
            self.tell(now, told)
            return
        if what in TAKES and pid:
            life = self._joins(watched, pid, what, now)
        before = watched.incident
        was_paused = watched.paused is not None
        if what == "fail":
            self._failed.add((name, pid))
            if before is None and not was_paused and not any(_is(each, EventType.EXPIRED, name) for each in told):
                self.find("missed", name, f"process {pid} failed, and nobody was told")
        if what in ("leave", "die"):
            self._leaves(watched, life, pid, what, now)
        self.tell(now, told)
        watched = self.names.get(name)
        if watched is None:
            return
        self._said(watched, life, what, pid, value, now)
        is_own = before is not None and before.pid == pid != 0 and before.cause != "no-progress"
        if what == "feed" and is_own and watched.incident is before:
            self.find("broken", name, f"process {pid} feeds, and its own incident stays")

    def _joins(self, watched: Watched, pid: int, what: str, now: float) -> Life:
        life = watched.lives.get(pid)
        if life is None:
            life = watched.lives[pid] = Life(now, now)
            watched.is_deserted = False
            if what == "declare" and len(watched.lives) == 1 and watched.waits:
                watched.since = now, now
        life.words += what != "declare"
        return life

    def _said(self, watched: Watched, life: Life | None, what: str, pid: int, value: float, now: float) -> None:
        incident = watched.incident
        is_beside = incident is not None and watched.is_each and incident.pid != pid and life is not None
        if what in PROOFS:
            work = now + value if what == "work" else inf if what == "idle" else None
            others = [each for each in watched.joined() if each is not life] if watched.is_each else []
            mine = life if watched.is_each else watched.pool
            was_idle = mine is not None and mine.work == inf and all(each.work == inf for each in others)
            if watched.waits is not False and watched.paused is None:
                for each in watched.lives.values():
                    each.hi = max(each.hi, now)
                    each.work = inf if each.work == inf else None
            watched.waits = False if watched.paused is None else watched.waits
            if life is not None:
                life.fed(now, work)
            if life is not None or not watched.is_each:
                watched.pool.fed(now, work)
            elif not watched.lives or not watched.joined():
                watched.nobodys = now
                for each in watched.lives.values():
                    # Where none is judged by itself, what was allowed is the name's, and over.
                    each.extended_lo = each.held = -inf
                    each.lo, each.hi = min(each.lo, now), max(each.hi, now)
                    each.work = None if each.work == inf else each.work
                watched.peak = max(watched.peak, now + watched.said.timeout)
            if was_idle and watched.moved is not None:
                watched.moved = now
            if what == "note" and (value != watched.progress or watched.moved is None):
                watched.progress, watched.moved, watched.moved_by, watched.is_mover_known = value, now, pid, True
        elif what == "extend":
            if watched.paused is None and (incident is None or is_beside):
                mine = life if watched.is_each and life is not None else None
                for each in (watched.pool, *watched.lives.values()) if mine is None else (mine,):
                    each.extend(now + value)
                watched.extended = max(watched.extended, now + value)
        elif what == "pause":
            watched.paused = now + value if value else inf
        elif what in ("leave", "die") and life is not None:
            life.is_leaving = True
            until = now + max(watched.said.timeout, ENDS_S)
            if watched.paused is not None or watched.waits is not False or (incident is not None and not is_beside):
                life.is_loose = True
            elif watched.is_each:
                life.work, life.extended_lo, life.extended_hi = until, -inf, -inf
            if all(each.is_leaving for each in watched.lives.values()) and not watched.is_each:
                watched.pool.extend(until)
        elif what == "release" and pid:
            watched.part(pid, now)

    def _leaves(self, watched: Watched, life: Life | None, pid: int, what: str, now: float) -> None:
        if what == "die":
            self.dying.add(pid)
        if not self.tells_end and life is not None:
            life.has_ended, life.ended_at = True, now
            if what == "die" or watched.incident is not None:
                self.unclean.add(pid)

    def ended(self, now: float, pid: int, status: int | None, told: Iterable[Effect]) -> None:
        """The engine was told that this process has ended."""
        self._now, self._deed = now, ("end", "", pid)
        for watched in self.names.values():
            if watched.incident is not None and watched.incident.pid == pid:
                self.unclean.add(pid)  # it may have been made to, by a step
            if (life := watched.lives.get(pid)) is not None and not life.has_ended:
                life.has_ended, life.ended_at = True, now
                life.ended_badly = status is None or status not in CLEAN
                if life.ended_badly or watched.incident is not None:
                    self.unclean.add(pid)
        self.tell(now, told)

    def gone(self, now: float, pid: int) -> None:
        """The engine was told after a restart that this process is gone: that is judged a little later."""
        self.unclean.add(pid)
        for watched in self.names.values():
            if (life := watched.lives.get(pid)) is not None:
                life.has_ended, life.ended_at, life.is_loose = True, now + RETURN_S, True

    def owed(self, pid: int) -> list[str]:
        """Names that owe a verdict on the end of this process in the next sweep: nothing else is in the way."""
        return [
            name
            for name, watched in self.names.items()
            if (life := watched.lives.get(pid)) is not None
            and life.ended_badly
            and watched.incident is None
            and watched.paused is None
            and life.ended_at == self._now
            and not life.is_loose
            and ((life.joined and watched.is_each) or len(watched.lives) == 1)
        ]  # fmt: skip

    def restarted(self, now: float, told: Iterable[Effect], kept: set[str]) -> None:
        """Another supervisor has taken up what the last one left. ``kept``: the names that it knows."""
        self._now, self._deed = now, ("restart", "", 0)
        for name, watched in list(self.names.items()):
            if watched.is_left and name not in kept:
                del self.names[name]  # by now they have ended in order
                continue
            watched.restarted(now)
            for pid in [pid for pid, life in watched.lives.items() if life.has_ended]:
                watched.part(pid, now)
        self.tell(now, told)

    def reloaded(self, now: float, name: str, said: Declaration, told: Iterable[Effect]) -> None:
        """The operator's config has another word for this name."""
        self._now, self._deed = now, ("reload", name, 0)
        self.said[name] = said
        if (watched := self.names.get(name)) is not None:
            watched.follow(said)
        self.tell(now, told)

    def swept(self, now: float, told: Iterable[Effect], armed: dict[str, float | None]) -> None:
        """The engine has judged. ``armed``: for when each name stands in its queue."""
        self._now, self._deed = now, ("sweep", "", 0)
        self.tell(now, told)
        for name, watched in self.names.items():
            for pid in [pid for pid, life in watched.lives.items() if life.ended_at + ROUNDING / 5 < now]:
                watched.part(pid, now)
            if watched.paused is not None and watched.paused + ROUNDING < now and watched.incident is None:
                watched.paused = min(watched.paused, now)
            due = watched.latest()
            at = armed.get(name)
            # After a standstill an end is taken in one sweep, and what was due before in the next one.
            is_due = at is not None and at <= now
            is_looked_at = is_due and self._due_since.get(name) != at
            self._due_since[name] = at if is_due else None
            if due < now - ROUNDING and not is_looked_at:
                self.find("missed", name, f"silent {now - due:.3f} s longer than it may be")
            elif due < inf and (at is None or at > due + ROUNDING):
                self.find("missed", name, f"due at {due - 1000:.3f}, and looked at {at} later")

    # -- what the engine tells ----------------------------------------------------------------------------

    def tell(self, now: float, told: Iterable[Effect]) -> None:
        for effect in told:
            if isinstance(effect, Fault):
                self.find("broken", effect.name, repr(effect.error))
            elif isinstance(effect, RunStep):
                self._step(effect)
            elif isinstance(effect, Event) and effect.name in self.names:
                self._event(effect, effect.name, self.names[effect.name], now)

    def _event(self, event: Event, name: str, watched: Watched, now: float) -> None:
        data = event.data
        match event.type:
            case EventType.EXPIRED:
                self._verdict(name, watched, data, now)
            case EventType.RECOVERED | EventType.CLOSED:
                self._closed(name, watched, data, now)
            case EventType.RESUMED:
                if watched.paused is None or (now < watched.paused - ROUNDING and self._deed[0] != "resume"):
                    self.find("broken", name, "it goes on before its pause is over")
                watched.resumed(now)
            case EventType.RELEASED:
                self._released(name, watched)

    def _verdict(self, name: str, watched: Watched, data: dict[str, Any], now: float) -> None:
        cause, pid = str(data["cause"]), data.get("pid")
        self.verdicts += 1
        if watched.incident is not None:
            self.find("doubled", name, f"{data['incident']} opened while {watched.incident.id} is")
        if watched.paused is not None:
            self.find("false", name, f"{cause} in a pause")
        life = watched.lives.get(pid or 0)
        if cause in ("timeout", "grace"):
            due = watched.earliest(pid)
            if watched.is_each and cause == "timeout" and life is None and pid in self.live:
                self.find("false", name, f"{cause} of process {pid}, which does not feed it")
            elif now < due - ROUNDING:
                self.find("false", name, f"{cause} of process {pid} {due - now:.3f} s too early")
        elif cause == "exited":
            if pid is None or pid not in self.unclean:
                self.find("false", name, f"process {pid} has not ended badly")
        elif cause == "failed":
            if (name, pid) not in self._failed and (name, 0) not in self._failed and pid not in self.dying:
                self.find("false", name, f"process {pid} did not fail")
        elif cause == "no-progress":
            limit = watched.said.progress_timeout
            if limit is None or watched.moved is None or now < watched.moved + limit - ROUNDING:
                self.find("false", name, "its value moves")
            mover = watched.lives.get(watched.moved_by or 0)
            is_open = not watched.is_mover_known and (pid is None or mover is None or not mover.joined)
            if watched.is_each and mover is not None and mover.is_sure and pid != watched.moved_by and not is_open:
                self.find("broken", name, f"process {watched.moved_by} moved the value, and {pid} has the incident")
        else:
            self.find("broken", name, f"the cause is {cause}")
        watched.incident = Incident(data["incident"], cause, pid)
        for each in (watched.pool, *((life,) if life is not None else ())):
            each.end_wait()

    def _closed(self, name: str, watched: Watched, data: dict[str, Any], now: float) -> None:
        incident, watched.incident = watched.incident, None
        if incident is None or incident.id != data["incident"]:
            self.find("doubled", name, f"{data['incident']} ends, which is not open")
            return
        what, _, pid = self._deed
        watched.peak = max(watched.peak, now + watched.said.timeout)
        if not watched.is_each or incident.pid is None:
            return
        about = watched.lives.get(incident.pid)
        if about is None or not about.is_sure or not about.joined or incident.pid == pid:
            return
        is_moved = incident.cause == "no-progress" and what in PROOFS
        if (pid and what not in ("pause",) and not is_moved) or what == "sweep":
            self.find("broken", name, f"{what} of process {pid} ended the incident of process {incident.pid}")
        elif what == "feed" and not pid and incident.cause == "timeout":
            self.find("broken", name, f"a feed of nobody ended the incident of process {incident.pid}")

    def _released(self, name: str, watched: Watched) -> None:
        what, _, pid = self._deed
        sure = {each for each, life in watched.lives.items() if life.is_sure}
        others = sorted((sure & self.live) - {pid})
        if others and not (what == "release" and not pid):
            self.find("broken", name, f"released by {what} of process {pid}; {others} feed it")
        del self.names[name]

    def _step(self, run: RunStep) -> None:
        watched = self.names.get(run.about.name)
        if watched is None or watched.incident is None:
            return
        about, target = watched.incident.pid, None if run.process is None else run.process.pid
        if target is not None and target in self.live:
            if watched.is_each and target != about:
                self.find(
                    "broken", run.about.name, f"{run.step.do} is done to {target}, the incident is of {about}"
                )
            elif not watched.is_each and target not in watched.lives and target not in self.dying:
                self.find("broken", run.about.name, f"{run.step.do} is done to {target}, which does not feed it")
        elif target is None and watched.is_each and about in self.live:
            life = watched.lives.get(about or 0)
            if life is not None and life.is_sure:
                self.find("broken", run.about.name, f"{run.step.do} is done to nobody, the incident is of {about}")


def _is(effect: Effect, kind: EventType, name: str) -> bool:
    return isinstance(effect, Event) and effect.type is kind and effect.name == name


def other_feeders(said: Declaration) -> Declaration:
    """The other of the two ways."""
    return said._replace(feeders=Feeders.ANY if said.feeders is Feeders.EACH else Feeders.EACH)
