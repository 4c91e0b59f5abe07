"""What the loop counts about itself for the metrics: cheap enough for every turn and every verdict.

Everything here only ever grows; whoever reads it makes rates and quantiles of the differences.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Any

from banken.protocol.incidents import Cause

TURN_BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds that one turn takes: a quiet one about 0.1 ms; from 0.1 s on somebody waits."""

LATENESS_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds from a deadline to its verdict: a few milliseconds; more when thousands are due at once."""

ACTIONS_MAX = 100
"""Names of actions that are counted apart. A user's own classes name themselves, and each name is a time series."""

OTHER = "other"
"""All actions beyond ``ACTIONS_MAX``."""


UNDUE = (Cause.FAILED.value, Cause.TOO_FAST.value)
"""Causes without a deadline: the worker's own word is the verdict, and nothing can be late."""


def late(data: dict[str, Any], spent: float) -> float | None:
    """How late a verdict is handed out, by the data of its event. ``spent``: seconds of this turn so far."""
    return None if data["cause"] in UNDUE else data["late"] + spent


class Histogram:
    """How many values lie up to each bound. ``bounds``: ascending; a value equal to a bound lies up to it."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        """values in each bucket, not added up; the last: those above all bounds"""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def plain(self) -> dict[str, Any]:
        """As it travels: ``bounds``, ``counts`` (one more than bounds) and ``sum``."""
        return {"bounds": list(self.bounds), "counts": list(self.counts), "sum": self.sum}


class LoopMetrics:
    """One loop's counts."""

    def __init__(self, started: float) -> None:
        self.started = started
        """wall clock, seconds since 1970"""
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
        """seconds from a deadline to its verdict, when the callback is handed out; lost time not counted"""
        self.incidents: Counter[str] = Counter()
        """incidents opened, by cause"""
        self.actions: Counter[tuple[str, str]] = Counter()
        """what became of actions, by (action, result)"""
        self._named: set[str] = set()

    def turn(self, seconds: float) -> None:
        """A turn has ended that did more than to take known feeds."""
        self.turns += 1
        self.turn_seconds.observe(seconds)
        self.slowest_turn = max(self.slowest_turn, seconds)

    def incident(self, cause: str, late: float | None) -> None:
        """An incident is opened, so many seconds after its deadline; None: it had none."""
        self.incidents[cause] += 1
        if late is not None:
            self.lateness.observe(late)

    def action(self, name: str, result: str) -> None:
        """An action has come to a result."""
        if name not in self._named:
            if len(self._named) >= ACTIONS_MAX:
                name = OTHER
            else:
                self._named.add(name)
        self.actions[name, result] += 1
