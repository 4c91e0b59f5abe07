"""What is written in the store, and by whom. Every value is a msgpack map with ``v``, the version of its form.

``leader``: who leads. It is written at a takeover only, and its revision is the *term*: whatever the leader writes
is on the condition that ``leader`` still has it.

``beat``: a number that the leader writes again and again, which shows that it still leads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgpack

from banken_supervisor.text.sanitize import ODD

VERSION = 1

LEADER, BEAT = "leader", "beat"


class Foreign(Exception):
    """A value that this banken did not write, or that a newer one did. It is left alone."""


class Leader(NamedTuple):
    """Who leads. ``member`` empty: nobody, the last one has stepped down."""

    member: str
    run: str
    """run id of its supervisor, another one at each start"""
    since: float
    """wall clock, for people only"""


def pack(**fields: Any) -> bytes:
    """A value with these fields."""
    packed: bytes = msgpack.packb({"v": VERSION, **fields})
    return packed


def unpack(value: bytes) -> dict[str, Any]:
    """The fields of a value. Foreign."""
    try:
        found = msgpack.unpackb(value)
    except (*ODD, msgpack.UnpackException) as fault:
        raise Foreign(f"no value of banken's: {type(fault).__name__}") from None
    if not isinstance(found, dict) or not isinstance(found.get("v"), int):
        raise Foreign("no value of banken's")
    if found["v"] > VERSION:
        raise Foreign(f"a value of a newer banken, version {found['v']}; this one knows {VERSION}")
    return found


def pack_leader(leader: Leader) -> bytes:
    """The value of ``leader``."""
    return pack(member=leader.member, run=leader.run, since=leader.since)


def unpack_leader(value: bytes) -> Leader:
    """Who leads by this value. Foreign."""
    found = unpack(value)
    member, run, since = found.get("member"), found.get("run"), found.get("since")
    if not isinstance(member, str) or not isinstance(run, str) or not isinstance(since, int | float):
        raise Foreign("no value of banken's")
    return Leader(member, run, float(since))
