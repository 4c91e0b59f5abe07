"""Who says something to the engine, and what each may say: asked in one place.

The principal is given by the source that a message came in by, never by the message itself: a frame can claim any
process. (A local process is not looked up for each frame: whoever may enter the address's directory is the same
user, and the kernel is asked once a connection, before a signal is sent.)
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from banken.protocol.messages import Kind


class Principal(Enum):
    """Who speaks."""

    LOCAL = "local"
    """a process of this host that may enter the address's directory"""
    OPERATOR = "operator"
    """a command, the page, or the supervisor's own configuration"""
    SUPERVISOR = "supervisor"
    """the supervisor itself"""


class Refusal(NamedTuple):
    """Why a message was refused."""

    reason: str
    """one word, from a fixed set, for counters"""
    text: str
    """what is wrong and what is allowed"""


_OF_GROUPS = frozenset({Kind.PAUSE, Kind.RESUME})
"""What may be said in a group's name; the rest belongs to its members."""


def authorize(principal: Principal, verb: Kind, name: str, *, is_group: bool) -> Refusal | None:
    """Why ``principal`` may not say ``verb`` of ``name``; None: it may."""
    if verb is Kind.PROBE and principal is not Principal.SUPERVISOR:
        return Refusal("probe", "probes are the supervisor's own")
    if is_group and verb not in _OF_GROUPS:
        text = f"{name!r} is a group: its members are fed, failed and released, never the group itself"
        return Refusal("group", text)
    return None
