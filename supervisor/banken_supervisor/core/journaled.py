"""After a restart: when is each known watchdog due?

Nobody was fed while the supervisor was away, so each gets its full timeout again, and a little more, so that those
who are really gone are not all due at one moment (etcd does so with its leases, see FIELD_NOTES.md). The little
more depends on the name only: another restart, another order of the rows, gives the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

DUE_PER_SECOND = 1_000
"""Watchdogs that fall due within one second, about, when all are silent."""

SHARE_MAX = 0.5
"""The spread is at most this share of a watchdog's own timeout: who is gone is noticed that much later, once."""


def rearm_offset(name: str, timeout: float, among: int) -> float:
    """Seconds to add to the full ``timeout`` of one watchdog that is armed again together with ``among`` in all."""
    span = min(timeout * SHARE_MAX, among / DUE_PER_SECOND)
    # A name may hold any text here; a lone surrogate only changes where it falls.
    digest = blake2b(name.encode("utf-8", "backslashreplace"), digest_size=8).digest()
    return span * (int.from_bytes(digest) / 2**64)


def rearm_offsets(watchdogs: Sequence[tuple[str, float]]) -> list[float]:
    """The same for all (name, timeout) at once, in their order."""
    among = len(watchdogs)
    return [rearm_offset(name, timeout, among) for name, timeout in watchdogs]
