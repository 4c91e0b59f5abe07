"""The oracle of the year: when each watchdog may be convicted and when it has to be, by what is promised.

It is written from the documentation (restarts, maintenance, what is judged) and keeps real time, which no
supervisor knows: seconds since the year began. Of each watchdog it keeps since when its present allowance runs, and
computes two moments. A verdict before ``earliest`` is false, and none after ``latest`` is late or missed.

* No feed, no timeout. What is only named waits for its first feed. What is fed without a timeout has the default.
* A program has its grace from each start. Its end is an incident at once, or as soon as a supervisor is there.
* Up to a minute: the whole again after each start of a supervisor, 2 s more, and up to half of it as a spread.
* Longer: due by the last feed, and convicted no later than a minute after that, downtime not counted. Time that the
  host was off counts for an hour and more, unless the operator says otherwise.
* In a window nothing is judged. It closes what is open; after it, or 2 s after a start of a supervisor, a whole
  timeout begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from .year_calendar import Spell, open_until

SHORT_MAX = 60.0
LATE_MAX = 60.0
RETURN = 2.0
SPREAD = 0.5
GRAIN = 0.05
"""Seconds that a supervisor may take for anything."""
CLOCK_SEEN = 31.0
"""Seconds until it knows that the clock on the wall was set."""
OFF_COUNTS_FROM = 3600.0


@dataclass
class Judged:
    """What is known of one watchdog."""

    name: str
    timeout: float | None = None
    """None: nobody gave one"""
    grace: float = 0.0
    """with a timeout and not fed yet; 0: its first feed is waited for"""
    windows: tuple[Spell, ...] = ()
    off_counts: bool | None = None
    state: str = "unknown"
    """unknown, waiting, alive, down (on purpose)"""
    since: float = 0.0
    """when its allowance began, at the earliest"""
    unsure: float = 0.0
    """how much later it may have begun"""
    off: float = 0.0
    """how long the host was off since"""
    excused: float = 0.0
    """how long no supervisor ran since it was due"""
    restarted: bool = False
    """a supervisor has started since"""
    ended: float | None = None
    """when its process ended, and was not judged for it yet"""
    open: bool = False
    paused: bool = False
    paused_until: float = inf
    """by the operator"""
    paused_from: float = 0.0
    """when it is paused for certain"""

    def begin(self, state: str, at: float, unsure: float = 0.0) -> None:
        """Its allowance begins anew."""
        self.state, self.since, self.unsure = state, at, unsure
        self.off = self.excused = 0.0
        self.restarted = False

    @property
    def limit(self) -> float:
        """What it has."""
        return self.grace if self.state == "waiting" else self.timeout or inf

    @property
    def due(self) -> float:
        """When it may be convicted for its silence."""
        if self.state not in ("waiting", "alive") or self.timeout is None:
            return inf
        counts = self.limit >= OFF_COUNTS_FROM if self.off_counts is None else self.off_counts
        return self.since + self.limit + (0.0 if counts else self.off)

    def latest(self) -> float:
        """When it has to have been, as long as a supervisor runs from now on."""
        if self.open or self.paused:
            return inf
        if self.ended is not None:
            return self.ended + GRAIN
        late = LATE_MAX if self.restarted and self.limit > SHORT_MAX else 0.0
        return self.due + self.unsure + self.excused + late + GRAIN


class YearOracle:
    """Told what happens, and what the supervisor says; ``findings`` is its word."""

    def __init__(self, all_: Iterable[Judged]) -> None:
        self.all = {each.name: each for each in all_}
        self.findings: list[str] = []
        self.verdicts = 0
        self.up = False
        self._left = self._came = 0.0

    # -- what happens ---------------------------------------------------------------------------------

    def fed(self, name: str, at: float) -> None:
        """A feed was heard."""
        one = self._settled(name, at)
        if one.state == "down":
            one.begin("alive", at)
        elif one.paused:
            if one.state != "alive":
                one.state = "alive"  # it is judged after the pause
        else:
            one.begin("alive", at)
            one.open = False
        one.ended = None

    def began(self, name: str, at: float) -> None:
        """A process of this program was started, or it is expected from now on."""
        one = self._settled(name, at)
        one.ended = None
        if not one.paused:
            one.begin("waiting", at)
            one.open = False

    def ended(self, name: str, at: float) -> None:
        """Its process ended, on nobody's purpose."""
        one = self._settled(name, at)
        if not one.paused and not one.open:
            one.ended = at

    def stopped(self, name: str, at: float) -> None:
        """The operator stopped it, or it was released."""
        one = self._settled(name, at)
        one.state, one.open, one.paused, one.ended = "down", False, False, None

    def paused(self, name: str, at: float, seconds: float) -> None:
        """The operator pauses it."""
        one = self._settled(name, at)
        one.paused, one.open, one.ended = True, False, None
        one.paused_from, one.paused_until = at, at + seconds

    def look(self, at: float, wall: float, unsure: float = GRAIN) -> None:
        """What the clock on the wall shows; ``unsure``: within how many seconds a supervisor knows."""
        for one in self.all.values():
            if one.state == "down":
                continue
            until = open_until(one.windows, wall) if one.windows else None
            if until is not None and not one.paused:
                self._settled(one.name, at)
                one.paused, one.paused_from, one.paused_until = True, at + unsure, inf
                if self.up:  # else it is to be seen by the next one
                    one.open, one.ended = False, None
            elif one.paused and (at >= one.paused_until or (until is None and one.windows)):
                one.paused = False
                if one.state != "unknown" and not one.open:
                    back = max(0.0, self._came + RETURN - at)
                    one.begin("alive", min(at, one.paused_until), unsure + back)
                    one.restarted = not self.up

    def next_end(self) -> float:
        """When the operator's next pause ends."""
        return min((one.paused_until for one in self.all.values() if one.paused), default=inf)

    def went(self, at: float) -> None:
        """The supervisor was killed."""
        for name in self.all:
            self._settled(name, at)
        self._left, self.up = at, False

    def came(self, at: float) -> None:
        """Another one has started."""
        self.up, self._came = True, at
        for one in self.all.values():
            if one.ended is not None:
                one.ended = at
            if one.paused:
                one.open, one.ended = False, None
                continue
            due = one.due + one.unsure
            one.excused += max(0.0, at - max(due, self._left))
            one.restarted = True
            if one.limit <= SHORT_MAX and one.state in ("waiting", "alive"):
                one.begin(one.state, at + RETURN, one.limit * SPREAD)

    def was_off(self, seconds: float) -> None:
        """So long of the time without a supervisor there was no host either."""
        for one in self.all.values():
            one.off += seconds

    # -- what is said -----------------------------------------------------------------------------------

    def verdict(self, name: str, cause: str, at: float) -> None:
        """An incident was opened."""
        self.verdicts += 1
        one = self.all[name]
        said = f"{name} ({cause}) at {at:.3f}"
        if one.open:
            self.findings.append(f"doubled: {said}")
        elif one.paused and at > one.paused_from:
            self.findings.append(f"false: {said}, paused from {one.paused_from:.3f}")
        elif one.ended is not None and cause == "exited":
            pass
        elif at < one.due - 0.01:
            self.findings.append(f"false: {said}, due {one.due:.3f}, {one.state} since {one.since:.3f}")
        elif at > one.latest():
            self.findings.append(f"late: {said}, due {one.due:.3f}, at the latest {one.latest():.3f}")
        elif cause != {"waiting": "grace", "alive": "timeout"}.get(one.state):
            self.findings.append(f"wrong: {said}, it is {one.state}")
        one.ended = None
        one.open = not one.paused

    def _settled(self, name: str, at: float) -> Judged:
        """What was to be said before this moment has been said."""
        one = self.all[name]
        if self.up and at > one.latest() + GRAIN:
            self.findings.append(f"missed: {name} at {at:.3f}, due {one.due:.3f}, at the latest {one.latest():.3f}")
            one.open = True
        return one
