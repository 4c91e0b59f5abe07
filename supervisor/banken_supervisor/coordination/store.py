"""What a cluster keeps in common: a few keys, read as a whole and changed by transactions.

This is all that is used of an engine (etcd, or another one later): no lease, no watch, no election. Whoever
implements it says *away* about whatever it does not understand. So a new kind of error is never taken for an
answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

OPERATIONS_MAX = 128
"""Keys that one transaction may expect, put and drop: etcd's default (``--max-txn-ops``), for each of the three."""

VALUE_MAX = 256 * 1024
"""Bytes of a value."""

ABSENT = 0
"""The ``mod`` of a key that is not there."""


class Away(Exception):
    """Nobody answered in time, or not understandably. What was asked for MAY have been done."""


class Item(NamedTuple):
    """A key that is there."""

    value: bytes
    mod: int
    """the revision of the transaction that wrote it last"""
    created: int = ABSENT
    """the revision of the one that wrote it first, since it was not there"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All keys with one prefix, at one moment that was not before the question."""

    revision: int
    """grows with every transaction that changes something"""
    identity: str
    """of the store's data: another one means that they were replaced"""
    items: Mapping[str, Item]


class Done(NamedTuple):
    """The transaction is written; each key that it put has this revision as its ``mod``."""

    revision: int


class Refused(NamedTuple):
    """Not all was as expected, and nothing was written."""

    found: Mapping[str, Item]
    """those of the expected keys that are there"""


class Store(Protocol):
    """One caller's way to the keys. It is used by one thread."""

    def read(self, prefix: str, within: float) -> Snapshot:
        """All keys that begin with ``prefix``, linearizable, in at most ``within`` seconds. Away."""

    def glance(self, prefix: str, within: float) -> Snapshot:
        """The same as any part of the store has them, which may be behind: what is there was written before, and
        something newer may be, too. It is answered also while the store as a whole is not. Away."""

    def transact(
        self, expect: Mapping[str, int], put: Mapping[str, bytes], drop: Collection[str], within: float
    ) -> Done | Refused:
        """Put and drop keys, all or nothing, if each key of ``expect`` has that ``mod``; ``within``: seconds.

        Away: it may have been done. ValueError: more than ``OPERATIONS_MAX`` keys, a value longer than
        ``VALUE_MAX``, or a key that is put and dropped.
        """

    def close(self) -> None:
        """Give connections back."""


def check_transaction(expect: Mapping[str, int], put: Mapping[str, bytes], drop: Collection[str]) -> None:
    """ValueError: see ``Store.transact``."""
    for what, keys in (("expects", expect), ("puts", put), ("drops", drop)):
        if len(keys) > OPERATIONS_MAX:
            raise ValueError(f"a transaction that {what} {len(keys)} keys; at most {OPERATIONS_MAX}")
    for key, value in put.items():
        if len(value) > VALUE_MAX:
            raise ValueError(f"a value of {len(value)} bytes for {key!r}; at most {VALUE_MAX}")
    if both := sorted(set(put).intersection(drop)):
        raise ValueError(f"keys that are put and dropped: {', '.join(both)}")
