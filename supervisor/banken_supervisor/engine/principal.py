"""Who says something to the engine, and what each may say: asked in one place.

The principal is given by the source that a message came in by, never by the message itself: a frame can claim any
process. (A local process is not looked up for each frame: whoever may enter the address's directory is the same
user, and the kernel is asked once a connection, before a signal is sent.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from banken.protocol.messages import Kind, ProcessIdentity
from banken_supervisor.engine.record import Member, Record


class Principal(Enum):
    """Who speaks."""

    LOCAL = "local"
    """a process of this host that may enter the address's directory"""
    OPERATOR = "operator"
    """a command, the page, or the supervisor's own configuration"""
    SUPERVISOR = "supervisor"
    """the supervisor itself"""


@dataclass(frozen=True, eq=False)
class OtherUser:
    """The principal of what runs as another user than the supervisor: programs with ``user``."""

    uid: int
    user_of: Callable[[str], int | None]
    """the user id of the program of this name; None: there is no such program"""
    is_own: Callable[[ProcessIdentity], bool]
    """whether this is a living process of the user, by the kernel's word"""

    def may_use(self, name: str) -> bool:
        """Whether the name is that of one of its programs, or below one: NAME/… or NAME@…."""
        while (uid := self.user_of(name)) is None:
            cut = max(name.rfind("/"), name.rfind("@"))
            if cut < 0:
                return False
            name = name[:cut]
        return uid == self.uid

    def checked(self, process: ProcessIdentity | None) -> ProcessIdentity | None:
        """``process``, if it is the user's own: nobody else's is owned, looked at or signalled on its word."""
        return process if process is not None and self.is_own(process) else None


class FramesOf:
    """The feeds that are known by their bytes, as another user may send them."""

    def __init__(self, by_frame: Mapping[bytes, Record | Member], user: OtherUser) -> None:
        self._by_frame, self._user = by_frame, user

    def __getitem__(self, frame: bytes) -> Record | Member:
        record = self._by_frame[frame]
        if not self._user.may_use(record.name):
            raise KeyError(frame)
        return record


class Refusal(NamedTuple):
    """Why a message was refused."""

    reason: str
    """one word, from a fixed set, for counters"""
    text: str
    """what is wrong and what is allowed"""


def may_use(principal: Principal | OtherUser, name: str) -> bool:
    """Whether it may say anything in this name."""
    return isinstance(principal, Principal) or principal.may_use(name)


_OF_GROUPS = frozenset({Kind.PAUSE, Kind.RESUME})
"""What may be said in a group's name; the rest belongs to its members."""


def authorize(principal: Principal | OtherUser, verb: Kind, name: str, *, is_group: bool) -> Refusal | None:
    """Why ``principal`` may not say ``verb`` of ``name``; None: it may."""
    if verb is Kind.PROBE and principal is not Principal.SUPERVISOR:
        return Refusal("probe", "probes are the supervisor's own")
    if isinstance(principal, OtherUser) and (is_group or not principal.may_use(name)):
        return Refusal(
            "user",
            f"user {principal.uid} may not speak of {name!r}: a program that runs as another user may use its own "
            "name, and NAME/… and NAME@… below it",
        )
    if is_group and verb not in _OF_GROUPS:
        text = f"{name!r} is a group: its members are fed, failed and released, never the group itself"
        return Refusal("group", text)
    return None
