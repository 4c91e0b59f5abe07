"""The engine's time: when to wake up, how much time to credit, when to judge. Pure: no I/O.

The loop (runtime/loop.py) calls in each turn, in this order: ``patience``, then waits; ``wake``; ``read`` until the
socket is empty or the time for reading is used up; ``drained``; ``decide``. The simulation in ``tests/simulation``
makes the same calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf

from banken.clock import ALLOWANCE, ALLOWANCE_MIN, CreditedClock
from banken_supervisor.engine.barrier import Barrier
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.feed_history import NoteBudget
from banken_supervisor.engine.principal import AnyPrincipal, Principal
from banken_supervisor.engine.rate_limit import Backlog

WAIT_MAX = 1.0
"""Longest wait, seconds. A suspend or a stop during a wait can make a verdict late by this much."""

AT_ONCE = 100
"""Messages of a turn that need work and are taken as they are read. Those behind them wait (waiting.py), and are
taken in turn, by who sent them."""

VERDICTS_PER_TURN = 200
"""A limit, so that the loop reads feeds even when ten thousand deadlines are due at once."""

READ_LONG = 0.001
"""Seconds. After a longer read the time stamp of a feed may be too early to judge by it."""

OVERLOADED_SHARE = 0.1
"""While feeds come faster than they can be read, deadline time runs at a tenth of real time. So no watchdog expires
because its feed still waits to be read (ZeroMQ serves all connections in turn), and a silent one still expires."""

REPORT_EVERY = 1.0
"""Seconds of real time between two events about stalls or overload."""

LOST_MIN = 0.05
"""Seconds lost, together since the last event, before one tells of them. On a busy machine a few milliseconds more
than the clock's allowance are no news."""


class Driver:
    """Gives the engine its time, and lets it judge when everything that was sent before has been read.

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
        self.is_held_up = False
        """whether messages that wait are not taken before something else is done; the caller's to set"""
        self.overloads = 0
        """turns that could not read everything"""
        self._woke, self._before = real, self.clock.now
        """real time at which the last wait ended, and deadline time before it"""
        self._ahead = real - self.clock.now
        """real time minus deadline time at the start"""
        self._shortest = inf
        """the timeout from which the clock's allowance was computed"""
        self._is_starting = True
        """no turn has begun yet"""
        self._complete = True
        self._leftover = 0
        """suspects that existed when the horizon was set and are not judged yet; newer ones get a horizon of their
        own meanwhile, for verdicts.py takes them in turn"""
        self._horizon = 0.0
        self._decoded = 0
        self._reported_at: dict[EventType, float] = {}
        self._unreported_lost = 0.0

    @property
    def now(self) -> float:
        """Deadline time."""
        return self.clock.now

    def patience(self, most: float = WAIT_MAX) -> float:
        """Seconds until something is due, at most ``most``. The caller waits at most ``WAIT_MAX`` at once."""
        if self._leftover or not self._complete:
            return 0.0
        wait = most
        taking = self.engine.waiting.patience(self.clock.now)
        if taking is not None and not self.is_held_up:
            wait = min(wait, taking)
        due = self.engine.table.deadlines.next_due()
        if due is not None:
            wait = min(wait, max(0.0, due - self.clock.now))
        probe_timeout = self.barrier.patience(self.clock.now)
        if probe_timeout is not None:
            wait = min(wait, probe_timeout)
        return wait

    def wake(self, real: float, asked: float) -> float:
        """Credit a wait that ended at ``real``; ``asked``: its requested seconds. Returns deadline time."""
        clock, engine = self.clock, self.engine
        self._woke, self._before = real, clock.now
        engine.table.turns.begin()
        shortest = engine.table.shortest_timeout
        if shortest != self._shortest:
            self._shortest = shortest
            clock.allowance = max(ALLOWANCE_MIN, min(ALLOWANCE, shortest / 10))
        now = clock.credit(real, asked, 1.0 if self._complete else OVERLOADED_SHARE)
        observer = engine.observer
        observer.uncredited = real - now - self._ahead
        observer.behind = self.backlog.wake(real)
        engine.history.allowed = self.note_budget.wake(real)
        engine.waiting.at_once = AT_ONCE if self._complete else 0
        if clock.last_lost > 0.0:
            engine.registry.note_stall(clock.last_lost, now)
            if self._is_starting:  # since this was made the supervisor was at other work, not held up
                clock.lost, clock.stalls = 0.0, 0
            else:
                self._unreported_lost += clock.last_lost
            if self._unreported_lost >= LOST_MIN and self._may_report(EventType.STALLED, real):
                data = {"lost": self._unreported_lost, "total": clock.lost, "stalls": clock.stalls}
                self.out.append(Event(EventType.STALLED, None, data))
                self._unreported_lost = 0.0
        self._is_starting = False
        if not self._complete:
            self.overloads += 1
            if self._may_report(EventType.OVERLOADED, real):
                self.out.append(Event(EventType.OVERLOADED, None, {"turns": self.overloads}))
        return now

    def time_of(self, real: float) -> float:
        """Deadline time of what came at ``real``, if that was since the last turn; of what is older, the last
        turn's: meanwhile time was not counted in full."""
        return min(self.clock.now, max(self._before, self.clock.now - max(0.0, self._woke - real)))

    def read(self, frames: Iterator[bytes], principal: AnyPrincipal = Principal.LOCAL) -> None:
        """Take the messages of ``frames``. An exception passes through; the messages before it were taken."""
        self.engine.intake(frames, self.clock.now, self.out, principal)

    def drained(
        self, count: int, complete: bool, took: float = 0.0, more: Callable[[], bool] = lambda: True
    ) -> None:
        """``count`` frames were read in this turn; ``complete``: each source had its turn.

        ``took``: seconds that reading took. All frames got the time of the turn's beginning, which is too early for
        one that arrived at its end. (In deadline time the difference is at most the clock's allowance.) Messages
        that wait are taken as long as ``more`` says so.
        """
        if took > READ_LONG and count:
            self.engine.verdicts.read_long(self.clock.now, min(took, self.clock.allowance))
        self._complete = complete
        self.backlog.drained(complete=complete)
        self.note_budget.drained(count)
        engine = self.engine
        if not engine.waiting.is_calm:
            engine.take_waiting(self.clock.now, self.out, more)
        self.barrier.read(count * engine.table.longest_frame + engine.decoded_bytes - self._decoded)
        self._decoded = engine.decoded_bytes

    def decide(self) -> int | None:
        """Judge what may be judged. Returns the number of a probe to send through every feed socket, or None.

        The effects are in ``out``; the caller takes them and empties the list.
        """
        now = self.clock.now
        engine, barrier = self.engine, self.barrier
        probe = None
        for number in engine.probes_seen:
            probe = barrier.came_back(number, now, complete=self._complete) or probe
        engine.probes_seen.clear()
        suspects = engine.verdicts.sweep(now, self.out)
        horizon = barrier.horizon()
        if suspects > self._leftover and probe is None and horizon is None:
            probe = barrier.suspect(now)
            horizon = barrier.horizon()  # set without a probe when too many were lost
        if suspects and horizon is not None:
            self._horizon = horizon
            self._leftover = suspects
        if self._leftover:
            number = min(self._leftover, VERDICTS_PER_TURN)
            others = engine.verdicts.judge(self._horizon, now, self.out, number)
            self._leftover -= number
            if others and not self._leftover and probe is None:
                probe = barrier.suspect(now)  # they became due after this horizon
        return probe

    def _may_report(self, kind: EventType, real: float) -> bool:
        if real - self._reported_at.get(kind, -REPORT_EVERY) < REPORT_EVERY:
            return False
        self._reported_at[kind] = real
        return True
