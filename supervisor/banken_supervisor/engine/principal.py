"""Who says something to the engine, and what each may say: asked in one place.

The principal is given by the source that a message came in by, never by the message itself: a frame can claim any
process. (A local process is not looked up for each frame: whoever may enter the address's directory is the same
user, and the kernel is asked once a connection, before a signal is sent.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias

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


KEY_PART = 4
"""Bytes of a boot id that say with which key it came in; those behind it stand for the boot id that was claimed."""

HOSTS_MAX = 1_000
"""Hosts of one key whose addresses are remembered, the newest."""


class KeyHolder:
    """The principal of what comes over tcp with one key, from whichever hosts.

    Nothing that it says of its processes can be checked. So the boot id that it claims is replaced by one that it
    cannot choose: it names no process of this host, nor of another key. ``seal``: a hash keyed with a secret of the
    supervisor's, of KEY_PART bytes.
    """

    def __init__(self, name: str, public: bytes, seal: Callable[[bytes], bytes]) -> None:
        self.name = name
        self.key_part = seal(public)
        self.control = "none"
        """what it may ask: none, read or full"""
        self.mark = b""
        """stands before each of its frames where feeds are known by their bytes: another one's frame, and one from
        before its rights have changed, is not known"""
        self.speaks_from: Callable[[], str] | None = None
        """gives the address of the host whose message is being read; the source's to set"""
        self.seen: float | None = None
        """monotonic time at which it spoke last; the sources' to set"""
        self._public = public
        self._seal = seal
        self._may_use: Callable[[str], bool] | None = None
        self._hosts: dict[bytes, str] = {}
        self._number = 0

    @property
    def is_allowed(self) -> bool:
        """Whether it may come in; False: it was revoked."""
        return self._may_use is not None

    def allow(self, may_use: Callable[[str], bool] | None, control: str = "none") -> None:
        """From now on it may feed the names that ``may_use`` takes. None: it is revoked."""
        self._may_use, self.control = may_use, control
        self._number += 1
        self.mark = self.key_part + self._number.to_bytes(4, "big")

    def may_use(self, name: str) -> bool:
        """Whether it may feed the watchdog of this name, and hear of it."""
        return self._may_use is not None and self._may_use(name)

    def checked(self, process: ProcessIdentity | None) -> ProcessIdentity | None:
        """``process``, as one of this key's."""
        return None if process is None else process._replace(boot=self.boot(process.boot))

    def boot(self, claimed: bytes) -> bytes:
        """What stands for the boot id that one of its processes claims."""
        found = self.key_part + self._seal(self._public + claimed)
        if self.speaks_from is not None:
            self._hosts.pop(found, None)
            if len(self._hosts) >= HOSTS_MAX:
                del self._hosts[next(iter(self._hosts))]
            self._hosts[found] = self.speaks_from()
        return found

    @property
    def hosts(self) -> list[str]:
        """Addresses from which it has spoken, the latest last."""
        return list(dict.fromkeys(self._hosts.values()))

    def host_of(self, boot: bytes) -> str | None:
        """The address from which processes with this boot id have spoken last; None: it is not known."""
        return self._hosts.get(boot)


AnyPrincipal: TypeAlias = Principal | OtherUser | KeyHolder
"""Whoever may say something."""


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


def may_use(principal: AnyPrincipal, name: str) -> bool:
    """Whether it may say anything in this name."""
    return isinstance(principal, Principal) or principal.may_use(name)


_OF_GROUPS = frozenset({Kind.PAUSE, Kind.RESUME})
"""What may be said in a group's name; the rest belongs to its members."""


_OF_CHECKS = frozenset({Kind.PAUSE, Kind.RESUME, Kind.RESULT})
"""What may be said in the name of a check."""


def authorize(
    principal: AnyPrincipal, verb: Kind, name: str, *, is_group: bool, is_check: bool = False
) -> Refusal | None:
    """Why ``principal`` may not say ``verb`` of ``name``; None: it may."""
    if isinstance(principal, KeyHolder) and not principal.is_allowed:
        return Refusal("revoked", f"the key {principal.name!r} was revoked: what comes with it is refused")
    if verb is Kind.PROBE and principal is not Principal.SUPERVISOR:
        return Refusal("probe", "probes are the supervisor's own")
    if isinstance(principal, KeyHolder) and not principal.may_use(name):
        return Refusal(
            "key",
            f"the key {principal.name!r} may not speak of {name!r}: no pattern of its `feed` in access.toml fits; "
            f"`banken keys allow {principal.name} --feed PATTERN` allows it",
        )
    if isinstance(principal, OtherUser) and (is_group or not principal.may_use(name)):
        return Refusal(
            "user",
            f"user {principal.uid} may not speak of {name!r}: a program that runs as another user may use its own "
            "name, and NAME/… and NAME@… below it",
        )
    if is_group and verb not in _OF_GROUPS:
        text = f"{name!r} is a group: its members are fed, failed and released, never the group itself"
        return Refusal("group", text)
    if is_check and verb not in _OF_CHECKS:
        return Refusal("check", f"{name!r} is a check: its results alone count, no feed and no failure")
    return None
