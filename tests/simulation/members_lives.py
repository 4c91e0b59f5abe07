"""What is known of a name and of the processes that feed it, from what they said: when each is owed a verdict.

Two readings of each deadline: before the earlier one (``lo``) nobody may be convicted, by the later one (``hi``)
somebody must be. Where the documents leave a choice, they lie apart. Nothing of the engine is used. Times are
deadline time, seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from banken.protocol.messages import Declaration, Feeders

RETURN_S = 2.0
"""After a restart workers have so long to find the new supervisor."""

LONG_S = 60.0
"""A longer timeout goes on over a restart, and may be so much late."""

ENDS_S = 10.0
"""A process that says that it ends has at least so long for it."""

JOINS_AFTER = 2
"""Words after which a process is judged by itself."""


@dataclass
class Life:
    """A process and a name; of a pool, all of them."""

    lo: float
    hi: float
    """when it was fed last"""
    words: int = 0
    work: float | None = None
    """when its work is due; inf: it is idle"""
    extended_lo: float = -inf
    extended_hi: float = -inf
    held: float = -inf
    """a restart allows it so long"""
    late: float = 0.0
    """and its verdict may come so much later"""
    is_leaving: bool = False
    has_ended: bool = False
    """and the engine has been told"""
    ended_at: float = inf
    ended_badly: bool = False
    is_loose: bool = False
    """whether the engine still counts it among those that feed is left open"""

    @property
    def joined(self) -> bool:
        return self.words >= JOINS_AFTER

    @property
    def is_sure(self) -> bool:
        return not self.is_loose and not self.has_ended

    def fed(self, now: float, work: float | None = None) -> None:
        """It proves life; ``work``: when it is due then."""
        self.lo = self.hi = now
        self.work, self.late, self.is_loose = work, 0.0, False
        self.extended_lo = self.extended_hi = self.held = -inf

    def extend(self, until: float) -> None:
        self.extended_lo = self.extended_hi = until

    def earliest(self, timeout: float) -> float:
        due = self.lo + timeout if self.work is None else self.work
        return max(due, self.extended_lo, self.held)

    def latest(self, timeout: float) -> float:
        if self.is_loose:
            return inf
        due = self.hi + timeout + self.late if self.work is None else self.work
        return max(due, self.extended_hi, self.held + self.late)

    def end_wait(self) -> None:
        """A verdict is there: what it was allowed is over."""
        self.extended_lo = self.extended_hi = self.held = -inf

    def begin_again(self, lo: float, hi: float) -> None:
        """It has a whole timeout; what is idle stays idle."""
        self.lo, self.hi = lo, hi
        self.late = 0.0
        self.extended_lo = self.extended_hi = self.held = -inf
        if self.work != inf:
            self.work = None


@dataclass
class Incident:
    """One that is open."""

    id: str
    cause: str
    pid: int | None


@dataclass
class Watched:
    """A name."""

    said: Declaration
    since: tuple[float, float]
    """since when its first feed is awaited, at the earliest and latest reading"""
    waits: bool | None = True
    """for its first feed; None: that is left open"""
    lives: dict[int, Life] = field(default_factory=dict)
    """by pid"""
    pool: Life = field(default_factory=lambda: Life(-inf, -inf))
    extended: float = -inf
    """the last extension before the first feed"""
    peak: float = -inf
    """until when somebody who is gone had given it time"""
    nobodys: float = -inf
    """the last feed that named no process, where none was judged by itself"""
    paused: float | None = None
    """until then, inf: until it is resumed"""
    is_deserted: bool = False
    """all that fed it have ended in a pause: whether anybody is awaited is left open"""
    incident: Incident | None = None
    progress: float | None = None
    moved: float | None = None
    """since when the progress value stands still, at the earliest"""
    moved_by: int | None = None
    is_mover_known: bool = True
    """no restart since"""

    @property
    def is_each(self) -> bool:
        return self.said.feeders is Feeders.EACH

    def joined(self) -> list[Life]:
        """Those that are judged by themselves for certain."""
        return [life for life in self.lives.values() if life.joined and life.is_sure]

    @property
    def is_left(self) -> bool:
        """Whether all that feed it have said that they end."""
        return bool(self.lives) and all(each.is_leaving and not each.has_ended for each in self.lives.values())

    def earliest(self, pid: int | None) -> float:
        """Before this the silence of this process is no verdict; inf: it is none at all."""
        timeout = self.said.timeout
        if self.waits:
            return self.since[0] + self.said.grace
        if not self.is_each:
            return self.pool.earliest(timeout)
        life = self.lives.get(pid or 0)
        if life is not None and life.joined:
            return life.earliest(timeout)
        if self.joined():
            return inf
        return min((each.earliest(timeout) for each in self.lives.values()), default=self.nobodys + timeout)

    def latest(self) -> float:
        """When a verdict is owed, if nothing is said until then; inf: never."""
        timeout, grace = self.said.timeout, self.said.grace
        if self.paused is not None or self.incident is not None or self.is_deserted:
            return inf
        loose = any(each.is_loose for each in self.lives.values())
        started = [life.hi + max(timeout, grace) for life in self.lives.values() if not life.words]
        if self.waits is not False:
            extended = [each.extended_hi for each in (self.pool, *self.lives.values())]
            wait = max(grace, timeout) if self.waits is None else grace
            due = max(self.since[1] + wait, self.extended, *extended, *started)
            return max(due, self._longest()) if self.waits is None else due
        if not self.is_each:
            due = self.pool.latest(timeout)
            return due if any(each.words for each in self.lives.values()) else max([due, *started])
        if joined := self.joined():
            return min(life.latest(timeout) for life in joined)
        return inf if loose else max([self._longest(), *started])

    def _longest(self) -> float:
        timeout = self.said.timeout
        found = [max(each.latest(timeout), each.hi + timeout) for each in self.lives.values()]
        return max([self.peak, self.pool.extended_hi, *found])

    def part(self, pid: int, now: float) -> None:
        """This process is gone from it."""
        life = self.lives.pop(pid, None)
        if life is not None:
            due = life.latest(self.said.timeout)
            self.peak = max(self.peak, now + self.said.timeout if due == inf else due)
            self.is_deserted |= self.paused is not None and not self.lives

    def resumed(self, now: float) -> None:
        """Its pause is over: each has a whole timeout."""
        until, self.paused = self.paused, None
        since = now if until is None else min(until, now)
        for life in (*self.lives.values(), self.pool):
            life.begin_again(since, now)
        self.since, self.extended, self.peak = (since, now), -inf, now + self.said.timeout
        if self.waits:
            self.waits = None
        self.moved = None if self.moved is None else since

    def restarted(self, now: float) -> None:
        """Another supervisor goes on with it."""
        timeout = self.said.timeout
        is_long = timeout > LONG_S
        spread = now + RETURN_S + timeout / 2
        last = max((each.hi for each in (*self.lives.values(), self.pool)), default=-inf)
        for life in (*self.lives.values(), self.pool):
            extended = life.extended_lo, life.extended_hi
            was_idle, life.work = life.work == inf, None
            if is_long and not self.waits:
                life.hi = now if was_idle else max(life.hi, last)
                if self.incident is not None:  # the others begin anew with it
                    life.hi = spread
                life.held, life.late = now + RETURN_S, LONG_S
            else:
                life.begin_again(now + RETURN_S, spread)
            if max(extended) > now:
                life.extended_lo, life.extended_hi = extended[0], extended[1] + RETURN_S
            life.is_loose |= life.is_leaving
        self.is_mover_known = False
        self.peak = max(self.peak, last + timeout + LONG_S, spread + timeout)
        began = self.since[0] if self.said.grace > LONG_S else now + RETURN_S
        self.since = began, max(spread, self.since[1] + LONG_S)
        self.extended += RETURN_S
        is_known = self.incident is not None and self.incident.cause == "no-progress"
        if not is_known and (self.said.progress_timeout or 0.0) <= LONG_S:
            self.moved = self.moved_by = self.progress = None
        if self.incident is not None:
            for life in (*self.lives.values(), self.pool):
                if self.incident.pid is None or self.lives.get(self.incident.pid) is life:
                    life.end_wait()

    def follow(self, said: Declaration) -> None:
        """Another declaration is in force."""
        before, self.said = self.said, said
        self.peak = max(self.peak, self.nobodys + said.timeout)
        if before.feeders is said.feeders:
            return
        lives = list(self.lives.values())
        if said.feeders is Feeders.EACH:
            for life in lives:
                life.lo, life.hi, life.work, life.late = self.pool.lo, self.pool.hi, self.pool.work, self.pool.late
                life.extended_lo, life.extended_hi = self.pool.extended_lo, self.pool.extended_hi
                life.held = self.pool.held
                life.is_loose |= life.joined  # of a pool not every feed is counted
        elif lives:
            last = max(lives, key=lambda each: each.hi)
            self.pool = Life(min(each.lo for each in lives), last.hi)
            works = {each.work for each in lives if each.hi == last.hi}
            self.pool.work = last.work
            if len(works) > 1:  # which of them spoke last is left open
                self.pool.lo, self.pool.work, self.pool.is_loose = -inf, None, True
            self.pool.extended_hi = max(each.extended_hi for each in lives)
            self.pool.late = max(each.late for each in lives)
            self.pool.held = max(each.held for each in lives)
            if self.incident is not None:
                self.pool.work = None  # whether they were idle is left open: the next feed tells
        if said.feeders is Feeders.ANY:  # a feed that named no process is one of the pool
            self.pool.hi = max(self.pool.hi, self.nobodys)
            if not lives:
                self.pool.lo = max(self.pool.lo, self.nobodys)
        self.peak = max(self.peak, self.pool.hi + max(before.timeout, said.timeout) + LONG_S)
