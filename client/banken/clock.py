"""The credited clock: a process that was stopped or starved counts that time against no watchdog.

A supervisor that was stopped for five seconds wakes up and sees five seconds of silence everywhere. This clock adds
only what its owner asked to wait, plus a small allowance for the work in between. The rest is counted as lost.

The inverse of Lifeguard's idea (Dadgar, Phillips, Currey: "Lifeguard: Local Health Awareness for More Accurate
Failure Detection", 2018): a slow detector doubts itself before it doubts the others.

Pure arithmetic: the real time is an argument. ``wall`` alone reads a clock.
"""

from __future__ import annotations

import time

ALLOWANCE = 0.1
"""Seconds that one pass may take beyond what it asked to wait before the rest counts as lost."""

ALLOWANCE_MIN = 0.005
"""Least allowance, seconds; below this every ordinary scheduling delay would count as a stall."""

START = 1_000_000.0
"""Deadline time starts here, so that mixing it up with the real clock fails at once and visibly."""


class CreditedClock:
    """Deadline time, in seconds.

    ``real`` is the monotonic time of the first reading. Call ``credit`` once per pass; read ``now`` as
    often as you like.
    """

    __slots__ = ("_real", "allowance", "last_lost", "lost", "now", "stalls")

    def __init__(self, real: float, allowance: float = ALLOWANCE) -> None:
        self.now = START
        self.allowance = allowance
        self.lost = 0.0
        """seconds of real time that were never credited, in all"""
        self.last_lost = 0.0
        """of which in the last pass"""
        self.stalls = 0
        """how many passes lost time"""
        self._real = real

    def credit(self, real: float, asked: float, share: float = 1.0) -> float:
        """End one pass at monotonic time ``real`` after asking to wait ``asked`` seconds; the new ``now``.

        ``share`` (0 to 1) of the elapsed time is credited, for a pass that could not see everything.
        """
        elapsed = max(0.0, real - self._real)
        self._real = real
        earned = min(elapsed, asked + self.allowance)
        self.last_lost = elapsed - earned
        if self.last_lost > 0.0:
            self.stalls += 1
            self.lost += self.last_lost
        self.now += earned * share
        return self.now


def wall() -> float:
    """The wall clock, seconds since 1970 (UTC), for people to read; no deadline depends on it.

    ``time.time`` counts nanoseconds in 64 bits and may raise for a clock that is set beyond the year 2262.
    """
    try:
        return time.time()
    except OverflowError:
        return time.clock_gettime(time.CLOCK_REALTIME)
