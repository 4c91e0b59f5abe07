"""One turn of the supervisor's loop, without the world: when to wake, what to credit, when to judge.

The shell (loop.py) calls, in this order and once per turn: ``patience``, then waits; ``wake``; ``read`` until
the socket is empty or the turn's share is spent; ``drained``; ``decide``. The simulation in
``tests/simulation`` drives the same object with the same calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from banken.clock import ALLOWANCE, ALLOWANCE_MIN, CreditedClock
from banken_supervisor.engine.barrier import Barrier
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.feed_history import NoteBudget
from banken_supervisor.engine.principal import LOCAL, Principal
from banken_supervisor.engine.rate_limit import Backlog

WAIT_MAX = 1.0
"""Longest wait, seconds: what a suspend or a stop in the middle of it can cost in lateness."""

VERDICTS_PER_TURN = 500
"""So that ten thousand deadlines at one moment do not keep the loop from its feeds."""

READ_LONG = 0.001
"""Seconds of reading above which a feed's stamp may be too early to judge by."""

OVERLOADED_SHARE = 0.1
"""While feeds come faster than they can be read, time runs at a tenth: nobody is judged by what still
waits to be read (ZeroMQ serves all connections in turn), and nobody escapes for ever."""

REPORT_EVERY = 1.0
"""Seconds of real time between two events about stalls or overload."""


class Driver:
    """Gives the engine its time, and lets it judge when everything that was sent has been read.

    ``real`` is monotonic time, seconds.
    """

    def __init__(self, engine: Engine, real: float) -> None:
        self.engine = engine
        self.clock = CreditedClock(real)
        self.barrier = Barrier()
        self.backlog = Backlog(real)
        self.note_budget = NoteBudget(real)
        self.out: list[Effect] = []
        """effects of this turn so far"""
        self.overloads = 0
        """turns that could not read everything"""
        self._ahead = real - self.clock.now
        """of deadline time, were all of it credited"""
        self._shortest = inf
        """the timeout that the clock's allowance was made for"""
        self._complete = True
        self._leftover = 0
        """suspects that were there when the horizon was given, and are not looked at yet"""
        self._horizon = 0.0
        self._decoded = 0
        self._reported_at: dict[EventType, float] = {}
        self._unreported_lost = 0.0

    @property
    def now(self) -> float:
        """Deadline time."""
        return self.clock.now

    def patience(self, most: float = WAIT_MAX) -> float:
        """Seconds until something is due, at most ``most``. No single wait may be longer than ``WAIT_MAX``."""
        if self._leftover or not self._complete:
            return 0.0
        wait = most
        due = self.engine.table.deadlines.next_due()
        if due is not None:
            wait = min(wait, max(0.0, due - self.clock.now))
        held = self.barrier.patience(self.clock.now)
        if held is not None:
            wait = min(wait, held)
        return wait

    def wake(self, real: float, asked: float) -> float:
        """The wait is over at ``real``, after asking for ``asked`` seconds. Deadline time now."""
        clock, engine = self.clock, self.engine
        shortest = engine.table.shortest_timeout
        if shortest != self._shortest:
            self._shortest = shortest
            clock.allowance = max(ALLOWANCE_MIN, min(ALLOWANCE, shortest / 10))
        now = clock.credit(real, asked, 1.0 if self._complete else OVERLOADED_SHARE)
        observer = engine.observer
        observer.uncredited = real - now - self._ahead
        observer.behind = self.backlog.wake(real)
        engine.history.allowed = self.note_budget.wake(real)
        if clock.last_lost > 0.0:
            self._unreported_lost += clock.last_lost
            if self._may_report(EventType.STALLED, real):
                data = {"lost": self._unreported_lost, "total": clock.lost, "stalls": clock.stalls}
                self.out.append(Event(EventType.STALLED, None, data))
                self._unreported_lost = 0.0
        if not self._complete:
            self.overloads += 1
            if self._may_report(EventType.OVERLOADED, real):
                self.out.append(Event(EventType.OVERLOADED, None, {"turns": self.overloads}))
        return now

    def read(self, frames: Iterator[bytes], principal: Principal = LOCAL) -> None:
        """Take what ``frames`` yields. What it raises passes through; all before it has been taken."""
        self.engine.intake(frames, self.clock.now, self.out, principal)

    def drained(self, count: int, complete: bool, took: float = 0.0) -> None:
        """``count`` frames were read in this turn; ``complete``: until there were no more.

        ``took``: seconds that reading took. All were stamped with the turn's beginning; one that arrived at its
        end is not to be judged by that. (In deadline time it cannot be later than the clock's allowance.)
        """
        if took > READ_LONG and count:
            self.engine.verdicts.read_long(self.clock.now, min(took, self.clock.allowance))
        self._complete = complete
        self.backlog.drained(complete=complete)
        self.note_budget.drained(count)
        engine = self.engine
        self.barrier.read(count * engine.table.longest_frame + engine.decoded_bytes - self._decoded)
        self._decoded = engine.decoded_bytes

    def decide(self) -> int | None:
        """Judge what may be judged. The number of a probe to send, if one is needed.

        The effects are in ``out``; the shell takes them and leaves the list empty.
        """
        now = self.clock.now
        engine, barrier = self.engine, self.barrier
        probe = None
        if engine.probe_seen is not None:
            probe = barrier.came_back(engine.probe_seen, now, complete=self._complete)
            engine.probe_seen = None
        suspects = engine.verdicts.sweep(now, self.out)
        horizon = barrier.horizon()
        if suspects and probe is None and horizon is None and not self._leftover:
            probe = barrier.suspect(now)
            horizon = barrier.horizon()  # given without a probe when too many were lost
        if suspects and horizon is not None:
            self._horizon = horizon
            self._leftover = engine.verdicts.suspected
        if self._leftover:
            number = min(self._leftover, VERDICTS_PER_TURN)
            others = engine.verdicts.judge(self._horizon, now, self.out, number)
            self._leftover -= number
            if others and not self._leftover and probe is None:
                probe = barrier.suspect(now)  # they came up later: this horizon says nothing about them
        return probe

    def _may_report(self, kind: EventType, real: float) -> bool:
        if real - self._reported_at.get(kind, -REPORT_EVERY) < REPORT_EVERY:
            return False
        self._reported_at[kind] = real
        return True
