"""When is which watchdog due? A queue of buckets, one per tick, that is never reordered.

A feed only stores a time in its watchdog. The watchdog stays in the bucket it was armed in; when that
bucket comes up, whoever was fed meanwhile is armed again for later. So a feed costs nothing here, and a
watchdog is moved about once per timeout however often it is fed.

Buckets and not one heap of watchdogs: at a million entries every level of a heap is a cache miss, while
a bucket takes an append. The heap here holds the ticks of the buckets in use, at most one per tick of
the longest timeout in force. (The idea of lists of timers hashed by tick is Varghese and Lauck's,
"Hashed and Hierarchical Timing Wheels", 1987.)

An entry is valid only while ``item.armed`` equals its bucket's tick. Arming again for an *earlier* time
leaves the old entry behind as a stale one; it is dropped when its bucket comes up, or when the stale ones
outnumber the live.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import ceil
from typing import Generic, Protocol, TypeVar

TICKS_PER_SECOND = 1024
"""A power of two, so that a tick is an exact binary fraction of a second."""

UNARMED = -1
"""``item.armed`` of what is in no bucket."""

_STALE_MIN = 1024
"""Fewer stale entries than this are not worth a sweep."""


class Armed(Protocol):
    """What can be queued: it remembers the tick it is armed for, and nobody else writes there."""

    armed: int


T = TypeVar("T", bound=Armed)


class Deadlines(Generic[T]):
    """The queue. Times are seconds of deadline time."""

    __slots__ = ("_buckets", "_live", "_stale", "_ticks")

    def __init__(self) -> None:
        self._buckets: dict[int, list[T]] = {}
        self._ticks: list[int] = []
        self._live = 0
        self._stale = 0

    def __len__(self) -> int:
        """How many items are armed."""
        return self._live

    @property
    def entries(self) -> int:
        """Entries held, stale ones included: what the queue costs in memory."""
        return self._live + self._stale

    def arm(self, item: T, when: float) -> None:
        """See to it that ``item`` comes up at or before ``when`` (and then, if too early, is asked again).

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
            # The bucket's own int and not one more like it: at a million, 32 bytes each.
            item.armed = bucket[0].armed if bucket[0].armed == tick else tick
            bucket.append(item)

    def disarm(self, item: T) -> None:
        """Take ``item`` out of the queue, if it is in it."""
        if item.armed != UNARMED:
            self._forget(item)

    def next_due(self) -> float | None:
        """When the first bucket comes up; None when nothing is armed.

        It may hold only stale or fed items: an early wake-up, never a late one.
        """
        return self._ticks[0] / TICKS_PER_SECOND if self._ticks else None

    def pop_due(self, now: float) -> list[T]:
        """Take out and return all items that are armed for ``now`` or earlier."""
        tick = int(now * TICKS_PER_SECOND)
        due: list[T] = []
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

    def _forget(self, item: T) -> None:
        """Make the item's entry stale; sweep when the stale ones outnumber the live."""
        item.armed = UNARMED
        self._live -= 1
        self._stale += 1
        if self._stale > _STALE_MIN and self._stale > self._live:
            for tick, bucket in list(self._buckets.items()):
                kept = [entry for entry in bucket if entry.armed == tick]
                if kept:
                    self._buckets[tick] = kept
                else:
                    del self._buckets[tick]
            self._ticks = list(self._buckets)
            heapify(self._ticks)
            self._stale = 0
