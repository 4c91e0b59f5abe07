"""Adaptive timeouts: a summary of the gaps between feeds, and the timeout that fits them.

The summary has a fixed size: the number of gaps, the longest, and a histogram with one counter per octave from one
millisecond on (like G. Tene's HdrHistogram, but with one counter where that has hundreds; the longest gap, which
matters most, is exact).

The proposal is the longest observed gap times a margin, and at least twice the 99.9th percentile:

* The margin must cover gaps that have *not* been observed. For gaps with an exponential tail, the longest of n is
about
  ``mean * ln n``, and one that is exceeded once in a million gaps is ``mean * ln 1e6``; the ratio of the two is the
  margin. It is 4.6 after 20 gaps, 2 after 1,000, and never below 1.5, because tails may be heavier. Regular
  feeders have a lighter tail and get more than they need: the verdict is later, but never false.
* Twice the 99.9th percentile exceeds the margin only if the longest gap is no outlier: a regular feeder with a
  million observed gaps keeps a timeout of twice its gap, so that one lost feed causes no verdict.

The longest gap is remembered as long as the supervisor runs. Gaps that an extension allowed are left out. A gap
that ended in a verdict counts as at most twice the timeout: a real hang must not make the supervisor wait for the
next hang, but a timeout that was too short still grows.

Pure. All times in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, frexp, log

from banken_supervisor.engine.policy import Auto

COUNTERS = 32
"""From below 1 ms to above 12 days, one per octave."""

SHORTEST = 0.001
"""The first counter's upper edge, seconds."""

MARGIN = 1.5
"""The proposal is at least this many times the longest observed gap."""

ONCE_IN = 1_000_000
"""One gap in this many may exceed the timeout, if the tail is exponential."""

HIGH = 0.999
HIGH_MARGIN = 2.0

HANG_SHARE = 2.0
"""A gap that ended in a verdict counts as at most this many timeouts."""

CHANGE_LEAST = 0.1
"""A timeout is not reduced by less than this share."""

FEW = 20
"""With fewer gaps nothing is proposed, unless ``auto`` sets another number."""


@dataclass(slots=True)
class Gaps:
    """The observed gaps of one watchdog: about 400 bytes."""

    count: int = 0
    longest: float = 0.0
    _counts: list[int] = field(default_factory=lambda: [0] * COUNTERS)

    def add(self, gap: float) -> None:
        """Add a gap between two feeds, in seconds."""
        self.count += 1
        if gap > self.longest:
            self.longest = gap
        # frexp's exponent is the octave: 2**(e-1) <= gap/SHORTEST < 2**e.
        place = frexp(gap / SHORTEST)[1] if gap >= SHORTEST else 0
        self._counts[min(place, COUNTERS - 1)] += 1

    def quantile(self, share: float) -> float:
        """Upper bound of the ``share`` quantile of all gaps, at most twice the true value; 0 without gaps."""
        wanted = ceil(share * self.count)
        seen = 0
        for place, count in enumerate(self._counts):
            seen += count
            if seen >= wanted and place < COUNTERS - 1:
                return min(self.longest, SHORTEST * 2.0**place)
        return self.longest


def proposal(gaps: Gaps) -> float:
    """The timeout that fits the observed gaps, without bounds. Needs at least two gaps."""
    margin = max(MARGIN, log(ONCE_IN) / log(max(2, gaps.count)))
    return max(gaps.longest * margin, gaps.quantile(HIGH) * HIGH_MARGIN)


def in_force(auto: Auto, gaps: Gaps | None, now: float) -> float:
    """The timeout to use; ``now``: the current one. Until enough gaps were observed: the longest allowed one."""
    if gaps is None or gaps.count < auto.warm_up:
        return auto.most
    wanted = round(min(auto.most, max(auto.least, proposal(gaps))), 3)
    if now * (1.0 - CHANGE_LEAST) < wanted < now <= auto.most:
        return now  # hardly shorter: not worth a change
    return wanted
