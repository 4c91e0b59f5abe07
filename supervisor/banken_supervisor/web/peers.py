"""Who is connected, and how many: one client's connections are capped, and an idle one gives way to a new one.

Whoever has opened a connection can be any user of this host, or of another one. Until a request with the token, or
with a ping's key, is under way on it, a connection is worth nothing: when there are too many, the oldest such
connection of the client with the most is cut. So a flood of silent or half-sent requests cuts its own, and a ping,
which is over in milliseconds, gets through. Of the requests that are allowed, those that are no pings leave
``KEPT`` connections to pings.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

OPEN_MAX = 800
"""Connections that may be open at once. libzmq ends a process that runs out of descriptors, and often 1,024 are
allowed."""

CLIENT_MAX = 300
"""The same of one client: a user of this host, or an address of another host."""

KEPT = 50
"""Connections that requests other than pings leave free, of all and of one client's."""

RATE = 200.0
BURST = 1_000.0
"""New connections a second of one client, and how many at once, that bring no request with the token or a key. Each
further request on one of them, for what needs neither, counts as one, too."""

CLIENTS_MAX = 10_000
"""Clients of which that is counted."""

OTHER_DESCRIPTORS = 64
"""Descriptors that are not for connections: the journal, ZeroMQ's, log files."""

TELLS_USERS = hasattr(socket, "SO_PEERCRED")
"""Whether the system tells who connected to a Unix socket."""

_CREDENTIALS = struct.Struct("3i")
_SO_PEERGROUPS = 59
_GROUPS_BYTES = 1024
"""As many as Python takes: 256 groups."""
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_DIAG_HEAD = struct.Struct("=IHHII")
_DIAG_ASK = struct.Struct("=BBBBI2s2s16s16sIQ")
_DIAG_OWNER = struct.Struct("=4x48x4x4x4xII")
"""The user id and the inode in struct inet_diag_msg."""


@dataclass(eq=False)
class Peer:
    """The other end of one connection."""

    client: str
    """who it is as far as that is known: ``user 1000``, or an address"""
    is_local: bool = False
    """it came over the Unix socket"""
    is_allowed: bool = False
    """it came over the Unix socket, and its user may use that"""
    has_asked: bool = False
    """it had a request that was served; the connection itself has paid for it"""
    is_serving: bool = False
    """a request that is allowed is under way"""
    cut: Callable[[], None] = lambda: None
    go_on: Callable[[], None] = lambda: None
    """read on after the head of a request, which is allowed"""


@dataclass(frozen=True)
class Allowed:
    """Who may use the Unix socket, beside root and the user of this process."""

    users: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()

    def allows(self, uid: int, groups: frozenset[int], own: int) -> bool:
        return uid in (0, own) or uid in self.users or not groups.isdisjoint(self.groups)


NOBODY = Allowed()


class Connections:
    """The open ones by client, the oldest first. ``descriptors``: how many this process may open."""

    def __init__(self, descriptors: int) -> None:
        self.most = max(10, min(OPEN_MAX, descriptors - OTHER_DESCRIPTORS))
        self._each = min(CLIENT_MAX, max(5, self.most * 3 // 8))
        self._kept = min(KEPT, self._each // 3)
        self._open: dict[str, dict[Peer, None]] = {}
        self._count = 0
        self._reading: Counter[str] = Counter()
        self._new: dict[int, Peer] = {}
        self._credit: dict[str, tuple[float, float]] = {}
        """how many new connections of a client may bring nothing, and when that was so"""

    def admit(self, client: str, now: float) -> bool:
        """Whether this client may connect once more, or ask for what is free. ``now``: of a steady clock."""
        if len(self._credit) >= CLIENTS_MAX and client not in self._credit:
            self._credit = {
                each: (left, at) for each, (left, at) in self._credit.items() if left + RATE * (now - at) < BURST
            }
            if len(self._credit) >= CLIENTS_MAX:
                self._credit.clear()
        left, at = self._credit.get(client, (BURST, now))
        left = min(BURST, left + RATE * (now - at))
        self._credit[client] = (left - 1 if left >= 1 else left, now)
        return left >= 1

    def take(self, descriptor: int) -> Peer:
        """Who is connected by this descriptor, which ``add`` was told of."""
        return self._new.pop(descriptor)

    def add(self, peer: Peer, descriptor: int) -> None:
        """Take in a new one. One that serves no allowed request is cut if there are too many, perhaps itself."""
        if descriptor in self._new:  # it was closed before there was a protocol for it
            self.remove(self._new[descriptor])
        self._new[descriptor] = peer
        ours = self._open.setdefault(peer.client, {})
        ours[peer] = None
        self._count += 1
        if len(ours) > self._each:
            self._cut_oldest(ours)
        elif self._count > self.most:
            for each in sorted(self._open.values(), key=len, reverse=True):
                if self._cut_oldest(each):
                    return

    def remove(self, peer: Peer) -> None:
        """It is closed. One that is not there is ignored."""
        ours = self._open.get(peer.client, {})
        if peer in ours:
            del ours[peer]
            self._count -= 1
            if not ours:
                del self._open[peer.client]

    def begin(self, peer: Peer, *, ping: bool) -> bool:
        """An allowed request begins; False: it must wait, for what is left is kept for pings."""
        if not ping:
            if (
                self._reading.total() >= self.most - self._kept
                or self._reading[peer.client] >= self._each - self._kept
            ):
                return False
            self._reading[peer.client] += 1
        peer.is_serving = True
        left, at = self._credit.get(peer.client, (BURST, 0.0))
        self._credit[peer.client] = (left + 1, at)  # its connection has brought something
        return True

    def end(self, peer: Peer, *, ping: bool) -> None:
        """The request that ``begin`` allowed has ended."""
        peer.is_serving = False
        if not ping:
            self._reading[peer.client] -= 1
            if not self._reading[peer.client]:
                del self._reading[peer.client]

    def _cut_oldest(self, among: dict[Peer, None]) -> bool:
        for peer in among:
            if not peer.is_serving:
                self.remove(peer)
                peer.cut()
                return True
        return False


def peer_of(connected: socket.socket, allowed: Allowed, own: int) -> Peer:
    """Who is at the other end, by the kernel's word. ``own``: the user of this process. Raises nothing."""
    is_local = connected.family == socket.AF_UNIX
    if is_local and not TELLS_USERS:  # the modes of the socket and of its directory have decided
        return Peer("a user of this host", is_local, is_allowed=True)
    try:
        if is_local:
            uid, groups = _credentials(connected)
            return Peer(f"user {uid}", True, allowed.allows(uid, groups, own))
        ours, theirs = connected.getsockname(), connected.getpeername()
    except OSError:  # it is closed already
        return Peer("an unknown client", is_local)
    where = ipaddress.ip_address(theirs[0].partition("%")[0])
    if where.is_loopback:
        owner = _owner(connected.family, theirs, ours)
        return Peer(str(where) if owner is None else f"user {owner}")
    # One host has a whole /64 of IPv6 addresses.
    return Peer(str(where if where.version == 4 else ipaddress.ip_network((where, 64), strict=False)))


def _credentials(connected: socket.socket) -> tuple[int, frozenset[int]]:
    """The user, and the groups, that connected."""
    said = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, group = _CREDENTIALS.unpack(said)
    more = b""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a user in more groups: the first one counts
            more = connected.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    return uid, frozenset((group, *struct.unpack(f"{len(more) // 4}I", more)))


def _owner(family: int, theirs: tuple[str, int], ours: tuple[str, int]) -> int | None:
    """Who owns the other end of a connection of this host (sock_diag); None: the system does not tell.

    It tells who is to be capped and named in the log. It is no proof for more: a port can change hands.
    """
    if sys.platform != "linux":
        return None
    ends = [socket.inet_pton(family, each[0].partition("%")[0]).ljust(16, b"\0") for each in (theirs, ours)]
    ports = [each[1].to_bytes(2, "big") for each in (theirs, ours)]
    asked = _DIAG_ASK.pack(family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF, *ports, *ends, 0, 2**64 - 1)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
            kernel.setblocking(False)
            kernel.send(_DIAG_HEAD.pack(_DIAG_HEAD.size + len(asked), _SOCK_DIAG_BY_FAMILY, 1, 1, 0) + asked)
            answer = kernel.recv(4096)
    except OSError:
        return None
    if _DIAG_HEAD.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return None
    uid, inode = _DIAG_OWNER.unpack_from(answer, _DIAG_HEAD.size)
    return int(uid) if inode else None  # it closed its end already, and the kernel would say: root
