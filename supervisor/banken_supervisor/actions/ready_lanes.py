"""Which lane of an executor goes on next: the owners of lanes take turns, and so do the lanes of each."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from itertools import chain
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def count_more(counts: Counter[Hashable], owner: Hashable, more: int) -> None:
    """Count more or less of an owner; one with none is forgotten."""
    counts[owner] += more
    if not counts[owner]:
        del counts[owner]


class ReadyLanes(Generic[T]):
    """Lanes by name, each of one owner."""

    def __init__(self) -> None:
        self._owners: OrderedDict[Hashable, OrderedDict[Hashable, T]] = OrderedDict()
        self._owner_of: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self._owner_of)

    def __contains__(self, name: Hashable) -> bool:
        return name in self._owner_of

    def __iter__(self) -> Iterator[T]:
        return chain.from_iterable(lanes.values() for lanes in self._owners.values())

    def add(self, name: Hashable, lane: T, owner: Hashable) -> None:
        """It may go on, after the others of its owner. ``name``: not in use."""
        self._owner_of[name] = owner
        self._owners.setdefault(owner, OrderedDict())[name] = lane

    def discard(self, name: Hashable) -> None:
        """It may not go on."""
        if name in self._owner_of:
            owner = self._owner_of.pop(name)
            lanes = self._owners[owner]
            del lanes[name]
            if not lanes:
                del self._owners[owner]

    def take(self, may: Callable[[Hashable], bool]) -> T | None:
        """Remove and return the next one of an owner that ``may`` go on; None: there is none."""
        owner = next(filter(may, self._owners), self)
        if owner is self:
            return None
        name, lane = self._owners[owner].popitem(last=False)
        del self._owner_of[name]
        if self._owners[owner]:
            self._owners.move_to_end(owner)
        else:
            del self._owners[owner]
        return lane

    def clear(self) -> None:
        """Nothing may go on."""
        self._owners.clear()
        self._owner_of.clear()
