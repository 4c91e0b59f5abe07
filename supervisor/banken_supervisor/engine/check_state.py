"""What one check has shown, and the counts of all."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from banken.protocol.messages import ProcessIdentity
from banken_supervisor.engine.policy import CheckRule

RESULTS_MAX = 5
"""Results of one check that are kept, the last."""

TOOK_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Of the histogram of durations: from a connection on this host to a command that takes its whole limit."""


class Result(NamedTuple):
    """Of one run."""

    at: float
    """deadline time at which it came"""
    passed: bool
    text: str
    took: float
    """seconds"""


@dataclass(slots=True)
class CheckState:
    """What one check has shown."""

    results: deque[Result] = field(default_factory=lambda: deque(maxlen=RESULTS_MAX))
    number: int = 0
    """how many results came"""
    failed: int = 0
    """failures that count, in a row"""
    next_at: float | None = None
    """when it runs again"""
    rule: CheckRule | None = None
    """as which check it was"""
    process: ProcessIdentity | None = None
    """that it has found; where its owner has none, steps act on this one"""
    delayed: str | None = None
    """why it could not be run when it was due; None: it could"""
    delayed_since: float = 0.0
    began_at: float = -inf
    """deadline time at which its program's process began: a run that began before has seen the one before"""
    heard_at: float = -inf
    """deadline time of the last result, or when it was last said why there is none"""


class CheckCounts:
    """Results of all checks, for the metrics: they only grow."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0
        self.took = [0] * (len(TOOK_BOUNDS_S) + 1)
        """by duration: how many, the last those above all bounds"""
        self.took_sum = 0.0

    def add(self, result: Result) -> None:
        """Count one."""
        if result.passed:
            self.passed += 1
        else:
            self.failed += 1
        self.took[bisect_left(TOOK_BOUNDS_S, result.took)] += 1
        self.took_sum += result.took
