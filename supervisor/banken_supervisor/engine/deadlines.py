"""The deadline queue: buckets of watchdogs, one per tick, never reordered.

A feed only stores a time in its watchdog. The watchdog stays in the bucket in which it was armed; when that bucket
is due, a watchdog that was fed since is armed again for later. So a feed costs nothing here, and a watchdog moves
about once per timeout, however often it is fed.

Buckets instead of one heap of watchdogs: with a million entries every level of a heap is a cache miss, while a
bucket needs one append. The heap holds only the ticks of the buckets in use, at most one per tick of the longest
timeout. (Source: lists of timers hashed by tick, Varghese and Lauck, "Hashed and Hierarchical Timing Wheels",
1987.)

An entry is valid only while ``item.armed`` equals its bucket's tick. Arming again for an *earlier* time
leaves a stale entry behind; it is dropped when its bucket is due, or when stale entries outnumber live ones.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import ceil

from banken_supervisor.engine.record import UNARMED, Record

TICKS_PER_SECOND = 1024
"""A power of two, so that a tick is an exact binary fraction of a second."""

_STALE_MIN = 1024
"""With fewer stale entries than this there is no sweep."""


class Deadlines:
    """The queue. Times are seconds of deadline time. Only it writes ``armed``."""

    __slots__ = ("_buckets", "_live", "_stale", "_ticks")

    def __init__(self) -> None:
        self._buckets: dict[int, list[Record]] = {}
        self._ticks: list[int] = []
        self._live = 0
        self._stale = 0

    def arm(self, item: Record, when: float) -> None:
        """Make ``item`` due at or before ``when``; if that is too early, the caller arms it again.

        An item that is armed for the same tick or an earlier one stays where it is.
        """
        tick = ceil(when * TICKS_PER_SECOND)
        if item.armed != UNARMED:
            if item.armed <= tick:
                return
            self._forget(item)
        self._live += 1
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = [item]
            heappush(self._ticks, tick)
            item.armed = tick
        else:
            # Share the int object of the bucket: with a million items this saves 32 bytes each.
            item.armed = bucket[0].armed if bucket[0].armed == tick else tick
            bucket.append(item)

    def disarm(self, item: Record) -> None:
        """Remove ``item`` from the queue, if it is queued."""
        if item.armed != UNARMED:
            self._forget(item)

    def next_due(self) -> float | None:
        """When the first bucket is due; None: nothing is armed.

        Its items may all be stale or fed: the wake-up is sometimes early, never late.
        """
        return self._ticks[0] / TICKS_PER_SECOND if self._ticks else None

    def pop_due(self, now: float) -> list[Record]:
        """Remove and return all items that are armed for ``now`` or earlier."""
        tick = int(now * TICKS_PER_SECOND)
        due: list[Record] = []
        while self._ticks and self._ticks[0] <= tick:
            when = heappop(self._ticks)
            bucket = self._buckets.pop(when)
            for item in bucket:
                if item.armed == when:
                    item.armed = UNARMED
                    due.append(item)
                else:
                    self._stale -= 1
        self._live -= len(due)
        return due

    def _forget(self, item: Record) -> None:
        """Make the item's entry stale; sweep when the stale ones outnumber the live."""
        item.armed = UNARMED
        self._live -= 1
        self._stale += 1
        if self._stale > _STALE_MIN and self._stale > self._live:
            for tick, bucket in list(self._buckets.items()):
                live = [entry for entry in bucket if entry.armed == tick]
                if live:
                    self._buckets[tick] = live
                else:
                    del self._buckets[tick]
            self._ticks = list(self._buckets)
            heapify(self._ticks)
            self._stale = 0
