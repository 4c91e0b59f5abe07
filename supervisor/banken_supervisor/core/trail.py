"""The trail: when each watchdog's last feeds came, and how far apart feeds are in general.

A feed that is known by its bytes costs one look-up and one stored time (kennel.py). To note it costs half as much
again, which is nothing while feeds are few and too much when they come by the ten thousand. So feeds are noted
while they come at leisure: a leaky bucket (``Leisure``) lets ``RATE`` feeds a second through, and ``BURST`` at
once; when it runs over, feeds are only stored until it is empty again. And with more than ``TRAILS_MAX`` watchdogs
nobody has a trail.

What was not noted leaves a hole. A trail keeps times, not gaps, and the kennel keeps the periods in which feeds
were not noted: two times with such a period between them are two feeds that may have had others between, and no
gap is made up for them. Feeds that are decoded (kennel.py says which) are noted at all times.

The floor of the kennel between the roll and incidents. Pure; all times are deadline time, in seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from itertools import chain, islice, pairwise
from math import inf

from banken_supervisor.core.dog import Dog
from banken_supervisor.core.effects import Effect
from banken_supervisor.core.roll import Roll

FEEDS_MAX = 32
"""Feeds of one watchdog that can be told, the newest."""

EVIDENCE_MAX = 16
"""Of those, how many a verdict tells."""

TRAILS_MAX = 5_000
"""With more watchdogs than this nobody has a trail: one has 760 bytes empty and 1,600 full."""

TRAILS_AGAIN = 4_000
"""With so few again, everybody has one."""

RATE = 5_000.0
"""Feeds a second that are noted."""

BURST = 2_000
"""Feeds that are noted at once: a thousand workers that feed at the same moment leave no hole."""

HOLES_MAX = 64
"""Periods without notes that are remembered, the newest; what came before them is told no more."""

GAP_EDGES = tuple(digit * 10.0**power for power in range(-3, 4) for digit in (1, 2, 5))
"""Upper edges of the counters of ``gap_counts``, seconds: 1, 2, 5, 10 ms … 5,000 s."""

Feeds = tuple[tuple[float, float], ...]
"""Of each feed its age and the gap before it, seconds, to a tenth of a millisecond; the newest last."""


class Leisure:
    """A leaky bucket: whether feeds come at leisure, and how many of the next ones may be noted.

    ``real``: monotonic time, seconds.
    """

    __slots__ = ("_level", "_real", "_spilt")

    def __init__(self, real: float) -> None:
        self._real = real
        self._level = 0.0
        self._spilt = False

    def wake(self, real: float) -> int:
        """A turn begins at ``real``: so many feeds may be noted in it."""
        self._level = max(0.0, self._level - (real - self._real) * RATE)
        self._real = real
        if self._level == 0.0:
            self._spilt = False
        return 0 if self._spilt else int(BURST - self._level)

    def drained(self, count: int) -> None:
        """So many were read in it."""
        self._level += count
        if self._level > BURST:
            self._level = BURST
            self._spilt = True


class Trails(Roll):
    """``leisure`` is the caller's to set before feeds are taken: how many may be noted."""

    leisure = BURST

    def __init__(self) -> None:
        super().__init__()
        self.gap_counts = [0] * (len(GAP_EDGES) + 1)
        """gaps between feeds by length, GAP_EDGES[i - 1] < gap <= GAP_EDGES[i]: all of those that were noted, and
        of the others one per timeout (habits.py)"""
        self.gap_sum = 0.0
        """seconds that they made together"""
        self._trailing = True
        self._passing = False
        """the last feeds were not noted: the last hole still grows"""
        self._holes: deque[list[float]] = deque()
        """periods in which feeds were not noted: begin and end, the oldest first"""
        self._forgotten = -inf
        """the end of the last period that is remembered no more"""

    def trail(self, dog: Dog, now: float, most: int = FEEDS_MAX) -> Feeds:
        """Its last feeds, at most so many. One of which no gap is known is left out: the first one, and the first
        after a hole."""
        if not dog.trail:
            return ()
        times = list(dog.trail)[-most - 1 :]
        holes = [hole for hole in self._holes if hole[1] >= times[0]]
        if not holes and times[0] > self._forgotten:
            return tuple([(round(now - at, 4), round(at - before, 4)) for before, at in pairwise(times)])
        told = []
        for before, at in pairwise(times):
            across = any(begin <= at and before <= end for begin, end in holes)
            if before > self._forgotten and not across:
                told.append((round(now - at, 4), round(at - before, 4)))
        return tuple(told)

    # -- as feeds come ------------------------------------------------------------------------------

    def _at_leisure(self, frames: Iterator[bytes], now: float, out: list[Effect]) -> Iterator[bytes] | None:
        """Take as many as may be noted. What is left, if anything is."""
        self._passing = False
        few = islice(frames, self.leisure)
        while True:
            try:
                self._note_all(few, now)
            except KeyError as miss:
                frame = miss.args[0]
            else:
                break
            self.take(frame, now, out)
        for first in frames:
            return chain((first,), frames)
        return None

    def take(self, frame: bytes, now: float, out: list[Effect]) -> object:
        """Decode and take one frame."""
        raise NotImplementedError

    def _note_all(self, frames: Iterator[bytes], now: float) -> None:
        """Take feeds that are known by their bytes, and note them. KeyError: one is not known."""
        counts, edges, total = self.gap_counts, GAP_EDGES, 0.0
        try:
            for dog in map(self._known.__getitem__, frames):
                gap = now - dog.fed_at
                dog.fed_at = now
                dog.trail.append(now)  # type: ignore[union-attr]  # while _trailing, whoever is known has one
                counts[bisect_left(edges, gap)] += 1
                total += gap
        finally:
            self.gap_sum += total

    def _noted(self, dog: Dog, now: float, *, sampled: bool) -> None:
        """Note a feed that was decoded; the last one is still in ``fed_at``. ``sampled``: that one counts, noted or
        not."""
        trail = dog.trail
        if sampled or (trail and trail[-1] == dog.fed_at):  # else: the first one, or a pause or a start since
            gap = now - dog.fed_at
            self.gap_counts[bisect_left(GAP_EDGES, gap)] += 1
            self.gap_sum += gap
        if self._trailing:
            if trail is None:
                trail = dog.trail = deque(maxlen=FEEDS_MAX + 1)
            trail.append(now)

    def _hole(self, now: float) -> None:
        """Feeds are taken that are not noted."""
        holes = self._holes
        if self._passing:
            holes[-1][1] = now
            return
        self._passing = True
        if len(holes) >= HOLES_MAX:
            self._forgotten = holes.popleft()[1]
        holes.append([now, now])

    # -- who has one --------------------------------------------------------------------------------

    def _count_trails(self) -> None:
        """A watchdog has come or gone: may all have a trail?"""
        count = len(self._dogs)
        if self._trailing and count > TRAILS_MAX:
            self._trailing = False
            for dog in self._dogs.values():
                dog.trail = None
        elif not self._trailing and count <= TRAILS_AGAIN:
            self._trailing = True
            for dog in self._dogs.values():
                dog.trail = deque(maxlen=FEEDS_MAX + 1)
