"""Counters of the loop for the metrics: cheap enough for every turn and every verdict.

All values only grow; the reader computes rates and quantiles from differences.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from time import monotonic
from typing import Any

from banken.clock import wall
from banken.protocol.incidents import Cause

TURN_BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds that one turn takes: a quiet one about 0.1 ms; from 0.1 s on workers wait."""

LATENESS_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds from a deadline to its verdict: a few milliseconds; more when thousands are due at once."""

ACTIONS_MAX = 100
"""Names of actions with their own count: each is a time series, and user classes may have any name."""

OTHER = "other"
"""All actions beyond ``ACTIONS_MAX``."""


NO_DEADLINE = (Cause.FAILED.value, Cause.TOO_FAST.value, Cause.CHECK.value)
"""Causes without a deadline: the worker's message, or a result, is the verdict, so it cannot be late."""


def late(data: dict[str, Any], elapsed: float) -> float | None:
    """Seconds since the deadline; None: it had none. ``data``: of the event; ``elapsed``: seconds of this turn."""
    return None if data["cause"] in NO_DEADLINE else data["late"] + elapsed


class Histogram:
    """Counts values by bucket. ``bounds``: ascending upper bounds, each included in its bucket."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        """values per bucket, not cumulative; the last: those above all bounds"""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def plain(self) -> dict[str, Any]:
        """As plain data: ``bounds``, ``counts`` (one more than bounds) and ``sum``."""
        return {"bounds": list(self.bounds), "counts": list(self.counts), "sum": self.sum}


class LoopMetrics:
    """One loop's counts."""

    def __init__(self) -> None:
        self._began = monotonic()
        self._started = wall()
        self.messages = 0
        """messages read from the feed socket, probes and refused ones included"""
        self.turns = 0
        """turns of the loop, those that only took known feeds included"""
        self.slowest_turn = 0.0
        """seconds that the longest turn took, without its wait"""
        self.events: Counter[str] = Counter()
        """events published, by type"""
        self.turn_seconds = Histogram(TURN_BOUNDS_S)
        """seconds that a turn took, without its wait; those that only took known feeds are left out"""
        self.lateness = Histogram(LATENESS_BOUNDS_S)
        """seconds from a deadline to its verdict, when the callback is started; without time lost in stalls"""
        self.incidents: Counter[str] = Counter()
        """incidents opened, by cause"""
        self.actions: Counter[tuple[str, str]] = Counter()
        """results of actions, by (action, result)"""
        self._named: set[str] = set()

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return monotonic() - self._began

    @property
    def started(self) -> float:
        """The start, seconds since 1970, by the wall clock as it is now: at the start it may have been wrong."""
        started = wall() - self.uptime
        if abs(started - self._started) > 1.0:
            self._started = started
        return self._started

    def turn(self, seconds: float) -> None:
        """Count a turn that did more than take known feeds."""
        self.turns += 1
        self.turn_seconds.observe(seconds)
        self.slowest_turn = max(self.slowest_turn, seconds)

    def incident(self, cause: str, late: float | None) -> None:
        """Count an incident; ``late``: seconds after its deadline, None: it had none."""
        self.incidents[cause] += 1
        if late is not None:
            self.lateness.observe(late)

    def action(self, name: str, result: str) -> None:
        """Count the result of an action."""
        if name not in self._named:
            if len(self._named) >= ACTIONS_MAX:
                name = OTHER
            else:
                self._named.add(name)
        self.actions[name, result] += 1
