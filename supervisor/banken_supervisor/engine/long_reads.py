"""Which reads took long, and how long: what was read has one time stamp, and may have arrived so much later."""

from __future__ import annotations

from array import array
from bisect import bisect_left

LONG_READS_MAX = 100_000
"""Long reads that are remembered, the newest."""


class LongReads:
    """Two arrays of plain numbers, in the order of time: 16 bytes an entry.

    A flood makes a hundred entries a second, and they stay for long. As two objects each in a dict they took 100
    bytes each, 10 MB in all, and nothing of it came back.
    """

    __slots__ = ("_seconds", "_stamps")

    def __init__(self) -> None:
        self._stamps = array("d")
        self._seconds = array("d")

    def add(self, stamp: float, seconds: float) -> None:
        """What was stamped ``stamp``, which is never less than before, was read for so long."""
        stamps, lengths = self._stamps, self._seconds
        if stamps and stamps[-1] == stamp:
            lengths[-1] = max(lengths[-1], seconds)
            return
        stamps.append(stamp)
        lengths.append(seconds)
        if len(stamps) > LONG_READS_MAX:
            del stamps[: LONG_READS_MAX // 2], lengths[: LONG_READS_MAX // 2]

    def delay_of(self, stamp: float) -> float:
        """By how many seconds what has this stamp may have arrived later."""
        at = bisect_left(self._stamps, stamp)
        return self._seconds[at] if at < len(self._stamps) and self._stamps[at] == stamp else 0.0
