"""How long a watchdog's feeds usually are apart, and which timeout would suit it.

A summary of fixed size: how many gaps, the longest, and a histogram with a counter per octave from one millisecond
on (the idea of G. Tene's HdrHistogram, coarser: one counter where it has hundreds; the longest gap, which decides
most, is kept exactly).

The proposal is the longest gap seen, times a margin, and at least twice the 99.9th percentile:

* The margin must cover what has *not* been seen. For gaps with an exponential tail, the longest of n is about
  ``mean * ln n``, and one that is exceeded once in a million gaps is ``mean * ln 1e6``; the ratio of the two is the
  margin. It is 4.6 after 20 gaps, 2 after 1,000, and never below 1.5, for tails that are heavier than that. Regular
  feeders have a lighter tail and get more than they need, which costs lateness and never a false verdict.
* Twice the 99.9th percentile asks more than the margin only where the longest is no outlier: a regular feeder of
  whom a million gaps were seen keeps a timeout of twice its gap, so that one lost feed is no verdict.

The longest gap is remembered for as long as the supervisor runs. Gaps that an extension had allowed are left out;
one that ended in a verdict counts as at most twice the timeout, so that a worker which really hung does not talk
the supervisor into waiting for the next hang, while a timeout that was too short still grows.

Pure. All times in seconds.
"""

from __future__ import annotations

from math import ceil, frexp, log

from banken_supervisor.engine.policy import Auto

COUNTERS = 32
"""From below 1 ms to above 12 days, one per octave."""

SHORTEST = 0.001
"""The first counter's upper edge, seconds."""

MARGIN = 1.5
"""The proposal is at least this times the longest gap seen."""

ONCE_IN = 1_000_000
"""Gaps among which one may exceed the timeout, for a tail that is exponential."""

HIGH = 0.999
HIGH_MARGIN = 2.0

HANG_SHARE = 2.0
"""A gap that was a verdict counts as at most so many timeouts."""

CHANGE_LEAST = 0.1
"""A timeout that would become shorter by less than this share is left as it is."""

FEW = 20
"""Gaps below which nothing is proposed, where no ``auto`` says otherwise."""


class Gaps:
    """What was seen of one watchdog: about 400 bytes."""

    __slots__ = ("_counts", "count", "longest")

    def __init__(self) -> None:
        self.count = 0
        self.longest = 0.0
        self._counts = [0] * COUNTERS

    def add(self, gap: float) -> None:
        """One more gap between two feeds."""
        self.count += 1
        if gap > self.longest:
            self.longest = gap
        # frexp's exponent is the octave: 2**(e-1) <= gap/SHORTEST < 2**e.
        place = frexp(gap / SHORTEST)[1] if gap >= SHORTEST else 0
        self._counts[min(place, COUNTERS - 1)] += 1

    def quantile(self, share: float) -> float:
        """A gap that at least ``share`` of all do not exceed; at most twice the true one. 0 without any."""
        wanted = ceil(share * self.count)
        seen = 0
        for place, count in enumerate(self._counts):
            seen += count
            if seen >= wanted and place < COUNTERS - 1:
                return min(self.longest, SHORTEST * 2.0**place)
        return self.longest


def proposal(gaps: Gaps) -> float:
    """The timeout that what was seen asks for, without bounds. Needs two gaps or more."""
    margin = max(MARGIN, log(ONCE_IN) / log(max(2, gaps.count)))
    return max(gaps.longest * margin, gaps.quantile(HIGH) * HIGH_MARGIN)


def in_force(auto: Auto, gaps: Gaps | None, now: float) -> float:
    """The timeout by ``auto``, where ``now`` is in force: the widest it allows until enough was seen."""
    if gaps is None or gaps.count < auto.warm_up:
        return auto.most
    wanted = round(min(auto.most, max(auto.least, proposal(gaps))), 3)
    if now * (1.0 - CHANGE_LEAST) < wanted < now <= auto.most:
        return now  # hardly shorter: not worth a word to everybody who looks
    return wanted
