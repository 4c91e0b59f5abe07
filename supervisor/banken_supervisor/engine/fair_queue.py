"""A queue that is taken from in turn (round robin over whose it is): nobody waits behind a crowd of another's.

What one source put in keeps its order; what different sources put in does not.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class FairQueue(Generic[K, V]):
    """Values by source. A source that has nothing waiting costs nothing."""

    __slots__ = ("_lanes", "_size")

    def __init__(self) -> None:
        self._lanes: OrderedDict[K, deque[V]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, source: K, value: V) -> None:
        """Add it behind what this source has waiting."""
        lane = self._lanes.get(source)
        if lane is None:
            lane = self._lanes[source] = deque()
        lane.append(value)
        self._size += 1

    def take(self) -> V:
        """The next one, of the source whose turn it is. KeyError: there is none."""
        source, lane = self._lanes.popitem(last=False)
        value = lane.popleft()
        if lane:
            self._lanes[source] = lane
        self._size -= 1
        return value
