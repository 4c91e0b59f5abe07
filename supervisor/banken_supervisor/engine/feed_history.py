"""The feed history: when each watchdog's last feeds came, and how far apart feeds are in general.

A feed that is known by its bytes costs one look-up and one stored time (engine.py). To note it costs half as much
again, which is nothing while feeds are few and too much when they come by the ten thousand. So a leaky bucket
(``NoteBudget``) lets ``RATE`` feeds a second be noted, and ``BURST`` at once; when it runs over, feeds are only
stored until it is empty again. With more than ``RECORDED_MAX`` watchdogs no history is kept.

Feeds that were not noted leave a hole. A history keeps times, not gaps, and the periods in which feeds were not
noted are kept too: between two times with such a period between them there may have been other feeds, and no gap is
made up for them. Feeds that are decoded (engine.py says which) are noted at all times.

Pure; all times are deadline time, in seconds, unless said otherwise.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from banken_supervisor.engine.principal import FramesOf
from banken_supervisor.engine.record import Member, Record
from banken_supervisor.engine.table import Table

FEEDS_MAX = 32
"""Feeds of one watchdog that can be shown, the newest."""

EVIDENCE_MAX = 16
"""Of those, how many a verdict shows."""

RECORDED_MAX = 5_000
"""With more watchdogs than this no history is kept: one has 760 bytes empty and 1,600 full."""

RECORDED_AGAIN = 4_000
"""With so few again, every watchdog has one."""

RATE = 5_000.0
"""Feeds a second that are noted."""

BURST = 2_000
"""Feeds that are noted at once: a thousand workers that feed at the same moment leave no hole."""

HOLES_MAX = 64
"""Periods without notes that are remembered, the newest; what came before them is not shown any more."""

GAP_EDGES = tuple(digit * 10.0**power for power in range(-3, 4) for digit in (1, 2, 5))
"""Upper edges of the counters of ``gap_counts``, seconds: 1, 2, 5, 10 ms … 5,000 s."""

Feeds = tuple[tuple[float, float], ...]
"""Of each feed its age and the gap before it, seconds, to a tenth of a millisecond; the newest last."""


@dataclass(slots=True)
class NoteBudget:
    """A leaky bucket: how many of the next feeds may be noted. ``real``: monotonic time, seconds."""

    _real: float
    _level: float = 0.0
    _overflown: bool = False

    def wake(self, real: float) -> int:
        """A turn begins at ``real``: so many feeds may be noted in it."""
        self._level = max(0.0, self._level - (real - self._real) * RATE)
        self._real = real
        if self._level == 0.0:
            self._overflown = False
        return 0 if self._overflown else int(BURST - self._level)

    def drained(self, count: int) -> None:
        """So many were read in it."""
        self._level += count
        if self._level > BURST:
            self._level = BURST
            self._overflown = True


class FeedHistory:
    """``allowed`` is the caller's to set before feeds are taken: how many may be noted."""

    def __init__(self, table: Table) -> None:
        self.allowed = BURST
        self.recording = True
        """whether histories are kept: while they are, every watchdog that is known by its bytes has one"""
        self.gap_counts = [0] * (len(GAP_EDGES) + 1)
        """gaps between feeds by length, GAP_EDGES[i - 1] < gap <= GAP_EDGES[i]: all of those that were noted, and
        of the others one per timeout (feed_observer.py)"""
        self.gap_sum = 0.0
        """seconds that they made together"""
        self._table = table
        self._in_hole = False
        """the last feeds were not noted: the last hole still grows"""
        self._holes: deque[list[float]] = deque()
        """periods in which feeds were not noted: begin and end, the oldest first"""
        self._dropped_until = -inf
        """the end of the last hole that is remembered no more"""

    def feeds(self, record: Record, now: float, most: int = FEEDS_MAX) -> Feeds:
        """Its last feeds, at most so many. A feed without a known gap is left out: the first one, and the first
        after a hole."""
        if not record.feed_times:
            return ()
        times = list(record.feed_times)[-most - 1 :]
        holes = [hole for hole in self._holes if hole[1] >= times[0]]
        if not holes and times[0] > self._dropped_until:
            return tuple([(round(now - at, 4), round(at - before, 4)) for before, at in pairwise(times)])
        feeds = []
        for before, at in pairwise(times):
            across = any(begin <= at and before <= end for begin, end in holes)
            if before > self._dropped_until and not across:
                feeds.append((round(now - at, 4), round(at - before, 4)))
        return tuple(feeds)

    def note_known(
        self, frames: Iterator[bytes], now: float, known: Mapping[bytes, Record | Member] | FramesOf
    ) -> None:
        """Take feeds that are ``known`` by their bytes, and note them. KeyError: one is not known."""
        self._in_hole = False
        counts, edges, total = self.gap_counts, GAP_EDGES, 0.0
        try:
            for record in map(known.__getitem__, frames):
                gap = now - record.fed_at
                record.fed_at = now
                record.feed_times.append(now)  # type: ignore[union-attr]  # see ``recording``
                counts[bisect_left(edges, gap)] += 1
                total += gap
        finally:
            self.gap_sum += total

    def note_decoded(self, record: Record, now: float, *, sampled: bool) -> None:
        """Note a feed that was decoded; the time of the feed before it is still in ``fed_at``. ``sampled``: the gap
        between the two counts, even if the feed before was not noted."""
        times = record.feed_times
        if sampled or (times and times[-1] == record.fed_at):  # else: the first one, or a pause or a start since
            gap = now - record.fed_at
            self.gap_counts[bisect_left(GAP_EDGES, gap)] += 1
            self.gap_sum += gap
        if self.recording:
            if times is None:
                times = record.feed_times = deque(maxlen=FEEDS_MAX + 1)
            times.append(now)

    def skip(self, now: float) -> None:
        """Feeds are taken at ``now`` that are not noted."""
        holes = self._holes
        if self._in_hole:
            holes[-1][1] = now
            return
        self._in_hole = True
        if len(holes) >= HOLES_MAX:
            self._dropped_until = holes.popleft()[1]
        holes.append([now, now])

    def resize(self) -> None:
        """A watchdog has come or gone: are histories kept?"""
        count = len(self._table)
        if self.recording and count > RECORDED_MAX:
            self.recording = False
            self._set_all(lambda: None)
        elif not self.recording and count <= RECORDED_AGAIN:
            self.recording = True
            self._set_all(lambda: deque(maxlen=FEEDS_MAX + 1))

    def _set_all(self, new: Callable[[], deque[float] | None]) -> None:
        for record in self._table:
            record.feed_times = new()
            if record.details is not None and record.details.members:
                for member in record.details.members.values():
                    member.feed_times = new()
