"""A store in memory, for tests and simulations: the same words as etcd's, and its faults at will."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import Enum

from banken_supervisor.coordination.store import (
    ABSENT,
    Away,
    Done,
    Item,
    Refused,
    Snapshot,
    check_transaction,
)

PAST_MAX = 4


class Fate(Enum):
    """What becomes of a call."""

    ANSWERED = "answered"
    LOST_BEFORE = "lost before it is done"
    LOST_AFTER = "done, and the answer is lost"


class MemoryEngine:
    """What all callers share. ``fate`` is asked about each call: by whom, and which it is."""

    def __init__(self) -> None:
        self.revision = 1
        self.identity = "memory-1"
        self.items: dict[str, Item] = {}
        self.is_down = False
        self.cut_off: set[str] = set()
        """callers that cannot reach it"""
        self.fate: Callable[[str, str], Fate] = lambda caller, call: Fate.ANSWERED
        self.written: Callable[[str, Iterable[str]], None] = lambda caller, keys: None
        """called with each caller that has written or dropped something, and the keys"""
        self.behind: Callable[[str], int] = lambda caller: 0
        """asked about each glance: by how many transactions that part of it is behind, at most ``PAST_MAX``"""
        self._past: deque[tuple[int, dict[str, Item]]] = deque(maxlen=PAST_MAX)
        """before each of the last transactions"""
        self.puts = 0
        """keys that were written"""

    def store(self, caller: str) -> MemoryStore:
        """One caller's way to it."""
        return MemoryStore(self, caller)

    def replace(self, items: Mapping[str, Item] | None = None, revision: int = 1) -> None:
        """Its data are lost, or those of an old copy, under the same identity."""
        self.items, self.revision = dict(items or {}), revision
        self._past.clear()

    def changes(self) -> None:
        """A transaction is about to be made."""
        self._past.append((self.revision, dict(self.items)))

    def seen_by(self, caller: str) -> tuple[int, dict[str, Item]]:
        """Revision and keys, as one part of the store has them."""
        behind = min(self.behind(caller), len(self._past))
        return self._past[-behind] if behind else (self.revision, self.items)

    def fate_of(self, caller: str, call: str) -> Fate:
        """Whether, and how, this call is answered."""
        return Fate.LOST_BEFORE if self.is_down or caller in self.cut_off else self.fate(caller, call)


class MemoryStore:
    """See ``Store``. A call takes no time: whoever simulates some waits before and after it."""

    def __init__(self, engine: MemoryEngine, caller: str) -> None:
        self._engine, self._caller = engine, caller

    def read(self, prefix: str, within: float) -> Snapshot:
        engine = self._engine
        if engine.fate_of(self._caller, "read") is not Fate.ANSWERED:
            raise Away("lost")
        found = {key: item for key, item in sorted(engine.items.items()) if key.startswith(prefix)}
        return Snapshot(engine.revision, engine.identity, found)

    def glance(self, prefix: str, within: float) -> Snapshot:
        engine = self._engine
        if self._caller in engine.cut_off or engine.fate(self._caller, "glance") is not Fate.ANSWERED:
            raise Away("lost")  # that the store as a whole is down does not matter
        revision, items = engine.seen_by(self._caller)
        found = {key: item for key, item in sorted(items.items()) if key.startswith(prefix)}
        return Snapshot(revision, engine.identity, found)

    def transact(
        self, expect: Mapping[str, int], put: Mapping[str, bytes], drop: Collection[str], within: float
    ) -> Done | Refused:
        check_transaction(expect, put, drop)
        engine = self._engine
        fate = engine.fate_of(self._caller, "transact")
        if fate is Fate.LOST_BEFORE:
            raise Away("lost")
        answer = self._transact(expect, put, drop)
        if fate is Fate.LOST_AFTER:
            raise Away("the answer is lost")
        return answer

    def _transact(
        self, expect: Mapping[str, int], put: Mapping[str, bytes], drop: Collection[str]
    ) -> Done | Refused:
        engine, items = self._engine, self._engine.items
        if any(items.get(key, Item(b"", ABSENT)).mod != mod for key, mod in expect.items()):
            return Refused({key: items[key] for key in expect if key in items})
        gone = [key for key in drop if key in items]
        if put or gone:
            engine.changes()
            engine.revision += 1
        for key in gone:
            del items[key]
        for key, value in put.items():
            created = items[key].created if key in items else engine.revision
            items[key] = Item(bytes(value), engine.revision, created)
        engine.puts += len(put)
        engine.written(self._caller, [*put, *gone])
        return Done(engine.revision)

    def close(self) -> None:
        pass
