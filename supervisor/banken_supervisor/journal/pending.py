"""What waits for the writer: in order, bounded in number and bytes, and dropped from the least important upwards.

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
"""Up to this rank a full queue gives up its oldest for a newer one of the same rank: the newest state of a watchdog
is the one that counts. Above it the newcomer is refused, so that its recorder knows at once."""

Ticketed = tuple[int, Entry]


class Pending:
    """The queue. A ticket is the number of an entry, from 1, in the order of recording."""

    def __init__(self, entries_max: int, bytes_max: int) -> None:
        self.dropped: Counter[Rank] = Counter()
        self.lagging = False
        """whether something was dropped since the queue was last empty"""
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._waiting: OrderedDict[int, tuple[Entry, int, float]] = OrderedDict()
        """by ticket: the entry, its weight, the monotonic time of its recording"""
        self._taken_since: float | None = None
        """when the oldest of what was taken, and is not written yet, was recorded"""
        self._by_rank: tuple[deque[int], ...] = tuple(deque() for _ in Rank)
        """the same tickets, by rank; each in the same order, so that what is taken is always at the left"""
        self._bytes = 0
        self._last = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def last(self) -> int:
        """The ticket given out last."""
        return self._last

    @property
    def bytes(self) -> int:
        """About how much memory the waiting entries take."""
        return self._bytes

    def put(self, entry: Entry) -> int | None:
        """The entry's ticket; None: there was no room and nothing less important to give up for it."""
        cost = weight(entry)
        rank = entry.rank
        with self._lock:
            while len(self._waiting) >= self._entries_max or self._bytes + cost > self._bytes_max:
                if not self._give_up_for(rank):
                    self._drop(rank)
                    return None
            self._last += 1
            self._waiting[self._last] = entry, cost, monotonic()
            self._by_rank[rank].append(self._last)
            self._bytes += cost
            return self._last

    def refuse(self, entry: Entry) -> None:
        """Count an entry that comes when nothing is written any more."""
        with self._lock:
            self._drop(entry.rank)

    def take(self, most: int, bytes_max: int) -> list[Ticketed]:
        """The oldest ones, in order: at most ``most``, and no more after ``bytes_max`` bytes are reached."""
        taken: list[Ticketed] = []
        room = bytes_max
        while len(taken) < most and room > 0:
            with self._lock:
                for _ in range(min(_CHUNK, most - len(taken), len(self._waiting))):
                    ticket, (entry, cost, since) = self._waiting.popitem(last=False)
                    if self._taken_since is None:
                        self._taken_since = since
                    self._by_rank[entry.rank].popleft()
                    self._bytes -= cost
                    room -= cost
                    taken.append((ticket, entry))
                    if room <= 0:
                        break
                if not self._waiting:
                    break
        return taken

    def give_back(self, batch: list[Ticketed]) -> None:
        """Put back what was taken and could not be written; it comes first again. May drop what is then too
        much."""
        since, self._taken_since = self._taken_since or monotonic(), None
        for start in range(len(batch), 0, -_CHUNK):
            with self._lock:
                for ticket, entry in reversed(batch[max(0, start - _CHUNK) : start]):
                    cost = weight(entry)
                    self._waiting[ticket] = entry, cost, since
                    self._waiting.move_to_end(ticket, last=False)
                    self._by_rank[entry.rank].appendleft(ticket)
                    self._bytes += cost
        while len(self._waiting) > self._entries_max or self._bytes > self._bytes_max:
            with self._lock:
                self._give_up_for(Rank.INCIDENT, itself=True)

    def written(self) -> None:
        """What was taken last is on disk."""
        self._taken_since = None

    def lag(self) -> float:
        """Seconds that the oldest entry that is not on disk has waited; 0: all are there."""
        with self._lock:
            since = self._taken_since
            if since is None and self._waiting:
                since = next(iter(self._waiting.values()))[2]
        return 0.0 if since is None else monotonic() - since

    def settled(self) -> None:
        """All that waited is written: no longer lagging."""
        with self._lock:
            self.lagging = self.lagging and bool(self._waiting)

    def _give_up_for(self, rank: Rank, *, itself: bool = False) -> bool:
        """Drop the oldest of the lowest rank that may give way to ``rank``; False: there is none."""
        for lower in Rank:
            if lower > rank or (lower == rank > _NEWEST_WINS and not itself):
                return False
            if self._by_rank[lower]:
                ticket = self._by_rank[lower].popleft()
                self._bytes -= self._waiting.pop(ticket)[1]
                self._drop(lower)
                return True
        return False

    def _drop(self, rank: Rank) -> None:
        self.dropped[rank] += 1
        self.lagging = True
