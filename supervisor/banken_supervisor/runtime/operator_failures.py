"""What operators say has failed, to any member: written in the store until the leader has taken it.

Belongs to the loop's thread. Each key is dropped when its incident is open, or there is none to open; until then
whoever leads next takes it again. So a failure is not lost with a leader, and no follower keeps one for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from banken.errors import WireError
from banken.protocol.codec import decode
from banken.protocol.messages import Kind, Message
from banken_supervisor.coordination.records import FAILURES, LEADER, Foreign, unpack_failure
from banken_supervisor.coordination.store import Away, Done, Refused, Snapshot
from banken_supervisor.coordination.store_thread import StoreThread

AGAIN_S = 0.5
"""Seconds until they are read again, where the store did not answer."""


@dataclass(eq=False)
class OperatorFailures:
    """``limit``: seconds that the store may take. ``tell``: has the engine take a message of an operator.
    ``leadership``: see ``View``; None: it does not lead, or does not know yet what is open. ``waits``: whether a
    verdict about this name waits for its claim.
    """

    _store: StoreThread
    _limit: float
    _tell: Callable[[Message], object]
    _leadership: Callable[[], tuple[int, int] | None]
    _waits: Callable[[str], bool]
    _taken: dict[str, int] = field(default_factory=dict)
    """by watchdog: the revision of the key that the engine was told of"""
    _dropping: set[str] = field(default_factory=set)
    """those whose key is being dropped"""
    _again_at: float | None = None
    """monotonic time; 0: from the next turn on"""

    def read(self) -> None:
        """There may be some."""
        if (leadership := self._leadership()) is not None:
            self._store.ask(lambda store: store.read(FAILURES, self._limit), partial(self._apply, leadership))

    def stop(self) -> None:
        """This member leads no longer: the next one takes them."""
        self._taken.clear()
        self._dropping.clear()
        self._again_at = None

    def turn(self, now: float) -> None:
        """Drop what is done, and read again what could not be read; ``now``: monotonic time."""
        if (leadership := self._leadership()) is None:
            return
        for name, mod in list(self._taken.items()):
            if name not in self._dropping and not self._waits(name):
                self._dropping.add(name)
                self._drop(leadership, name, mod)
        if self._again_at == 0.0:
            self._again_at = now + AGAIN_S
        elif self._again_at is not None and now >= self._again_at:
            self._again_at = None
            self.read()

    def _drop(self, leadership: tuple[int, int], name: str, mod: int) -> None:
        key = FAILURES + name
        self._store.ask(
            lambda store: store.transact({LEADER: leadership[1], key: mod}, {}, [key], self._limit),
            partial(self._dropped, leadership, name),
        )

    def _apply(self, leadership: tuple[int, int], answer: Snapshot | Away) -> None:
        if leadership != self._leadership():
            return
        if isinstance(answer, Away):
            self._again_at = 0.0
            return
        for key, item in answer.items.items():
            name = key.removeprefix(FAILURES)
            if self._taken.get(name) == item.mod:
                continue
            try:
                message = decode(unpack_failure(item.value).frame)
            except (Foreign, WireError):
                continue
            if message.kind is Kind.FAIL and message.name == name:
                self._taken[name] = item.mod
                self._tell(message)

    def _dropped(self, leadership: tuple[int, int], name: str, answer: Done | Refused | Away) -> None:
        if leadership != self._leadership():
            return
        self._dropping.discard(name)
        if isinstance(answer, Away):
            return  # it is dropped again
        self._taken.pop(name, None)
        if isinstance(answer, Refused):
            self.read()  # it failed once more meanwhile
