"""Time that passes from event to event, as fast as they can be carried out."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class VirtualTime:
    """``now``: seconds since the begin."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Have this done then; what falls on one moment, in the order in which it was asked for."""
        heapq.heappush(self._events, (self.now + seconds, next(self._order), do))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            self.now, _, do = heapq.heappop(self._events)
            do()
            self.has_happened()
        self.now = until

    def has_happened(self) -> None:
        """After each event."""
