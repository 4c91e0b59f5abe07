"""Entries that wait for the writer: in order, bounded in number and bytes, the least important dropped first.

The loop's thread puts, the writer's takes. The lock between them is held for a few hundred steps of Python at most,
never while the disk is touched.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from time import monotonic

from banken_supervisor.journal.entries import Entry, Rank, weight

_CHUNK = 256
"""Entries taken under one hold of the lock: about 0.1 ms."""

_NEWEST_WINS = Rank.REGISTRY
"""Up to this rank a full queue drops its oldest for a newer one of the same rank: the newest state of a watchdog
counts. Above it the newcomer is refused, so that its recorder knows at once."""

Ticketed = tuple[int, Entry]


class WriteQueue:
    """The queue. A ticket is the number of an entry, from 1, in the order of recording."""

    def __init__(self, entries_max: int, bytes_max: int) -> None:
        self.dropped: Counter[Rank] = Counter()
        self.lagging = False
        """whether an entry was dropped since the queue was last empty"""
        self.last = 0
        """the ticket given out last"""
        self.bytes = 0
        """about how much memory the waiting entries take"""
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._waiting: OrderedDict[int, tuple[Entry, int, float]] = OrderedDict()
        """by ticket: the entry, its weight, the monotonic time of its recording"""
        self._taken_since: float | None = None
        """when the oldest entry that was taken, and is not written yet, was recorded"""
        self._by_rank: tuple[deque[int], ...] = tuple(deque() for _ in Rank)
        """the same tickets, by rank; each in the same order, so that what is taken is always at the left"""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, entry: Entry) -> int | None:
        """The entry's ticket; None: there was no room, and no less important entry to drop for it."""
        cost = weight(entry)
        rank = entry.rank
        with self._lock:
            while len(self._waiting) >= self._entries_max or self.bytes + cost > self._bytes_max:
                if not self._drop_for(rank):
                    self._count(rank)
                    return None
            self.last += 1
            self._waiting[self.last] = entry, cost, monotonic()
            self._by_rank[rank].append(self.last)
            self.bytes += cost
            return self.last

    def refuse(self, entry: Entry) -> None:
        """Count an entry that comes after the writer's end."""
        with self._lock:
            self._count(entry.rank)

    def take(self, most: int, bytes_max: int) -> list[Ticketed]:
        """The oldest entries, in order: at most ``most``, and no more after ``bytes_max`` bytes are reached."""
        taken: list[Ticketed] = []
        room = bytes_max
        while self._waiting and len(taken) < most and room > 0:
            with self._lock:
                for _ in range(min(_CHUNK, most - len(taken), len(self._waiting))):
                    ticket, (entry, cost, since) = self._waiting.popitem(last=False)
                    if self._taken_since is None:
                        self._taken_since = since
                    self._by_rank[entry.rank].popleft()
                    self.bytes -= cost
                    room -= cost
                    taken.append((ticket, entry))
                    if room <= 0:
                        break
        return taken

    def give_back(self, batch: list[Ticketed]) -> None:
        """Put back a batch that could not be written; it comes first again. May drop what is then too much."""
        since, self._taken_since = self._taken_since or monotonic(), None
        for start in range(len(batch), 0, -_CHUNK):
            with self._lock:
                for ticket, entry in reversed(batch[max(0, start - _CHUNK) : start]):
                    cost = weight(entry)
                    self._waiting[ticket] = entry, cost, since
                    self._waiting.move_to_end(ticket, last=False)
                    self._by_rank[entry.rank].appendleft(ticket)
                    self.bytes += cost
        while len(self._waiting) > self._entries_max or self.bytes > self._bytes_max:
            with self._lock:
                self._drop_for(Rank.INCIDENT, itself=True)

    def written(self) -> None:
        """The batch that was taken last is on disk."""
        self._taken_since = None

    def lag(self) -> float:
        """Seconds that the oldest entry that is not on disk has waited; 0: all are on disk."""
        with self._lock:
            since = self._taken_since
            if since is None and self._waiting:
                since = next(iter(self._waiting.values()))[2]
        return 0.0 if since is None else monotonic() - since

    def settled(self) -> None:
        """All that waited is written: no longer lagging."""
        with self._lock:
            self.lagging = self.lagging and bool(self._waiting)

    def _drop_for(self, rank: Rank, *, itself: bool = False) -> bool:
        """Drop the oldest of the lowest rank that gives way to ``rank``; False: there is none."""
        for lower in Rank:
            if lower > rank or (lower == rank > _NEWEST_WINS and not itself):
                return False
            if self._by_rank[lower]:
                ticket = self._by_rank[lower].popleft()
                self.bytes -= self._waiting.pop(ticket)[1]
                self._count(lower)
                return True
        return False

    def _count(self, rank: Rank) -> None:
        self.dropped[rank] += 1
        self.lagging = True
