"""Connections of local processes: accepted and counted, and closed where they take more than their share.

Who has connected is the kernel's word (SO_PEERCRED). There may be fewer connections than the system allows
descriptors, and fewer than it leaves beside what is open at the start and what a command needs. When all are taken,
who has the most (a process, or all processes of another user) gives one to who has fewer.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from time import monotonic
from typing import Protocol

from banken_supervisor.engine.principal import AnyPrincipal, OtherUser, Principal, Refusal
from banken_supervisor.processes import descriptor_limit
from banken_supervisor.processes.peer_credentials import who_connected
from banken_supervisor.sources.poller import POLLIN, POLLOUT, Poller
from banken_supervisor.sources.zmtp import Incoming, Terms

CONNECTIONS_MAX = 100_000
"""Connections at most, whatever the limit of descriptors."""

RESERVE = 32
"""Descriptors that connections leave for what is opened later: the journal's process, and above all the commands of
steps, each of which takes up to eight for a moment."""

BACKLOG = 4_096
"""Connections that the kernel holds until they are accepted (it may allow fewer)."""

ACCEPTS = 100
"""Connections that are accepted before others are read."""

ACCEPT_REST_S = 0.1
"""Seconds for which nothing is accepted after the system has refused a descriptor."""

HANDSHAKE_S = 2.0
"""Seconds within which a connection has to say that it speaks ZeroMQ's protocol."""

SILENT_MAX = 1_000
"""Connections of one process whose handshake is not over; a further one is not taken. They take some 800 bytes
each, of which Python gives back little."""

PORTION_MIN = 2_048
"""Bytes that a connection gives in its first turn."""

ENDS_MAX = 200
"""Silent connections that are closed before others are read."""


def connections_max(others: int) -> int:
    """Connections that there may be: three of eight descriptors that this process may open are for the rest, above
    all for watching the ends of processes. ``others``: how many are open for it already, which under a low limit is
    more than that leaves."""
    limit = descriptor_limit.limit()
    return max(8, min(CONNECTIONS_MAX, limit * 5 // 8, limit - others - RESERVE))


class Handler(Protocol):
    """What takes the messages of a door's connections that are no feeds."""

    def take(self, connection: Connection, messages: list[bytes]) -> None:
        """These have come."""

    def sent(self, connection: Connection) -> None:
        """All that waited to be sent to it has been sent."""

    def gone(self, connection: Connection) -> None:
        """It is closed."""


@dataclass(eq=False, slots=True)
class Door:
    """One socket that listens. ``terms``: what may be said at it; ``principal``: who speaks there, by the directory
    that it is in; ``handler``: gets the messages, None: they are feeds."""

    path: str
    terms: Terms
    principal: AnyPrincipal = Principal.LOCAL
    handler: Handler | None = None
    socket: socket.socket = field(init=False)
    opening: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.opening = self.terms.opening
        self.bind()

    def bind(self) -> None:
        """Listen at the path, whatever file is there. OSError. Connections that were made before go on."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)  # the address's lock is ours
            made.setblocking(False)
            made.bind(self.path)
            made.listen(BACKLOG)
        except BaseException:
            made.close()
            raise
        self.socket = made


class Connection:
    """One peer. ``pid`` and ``uid`` are the kernel's word, 0 where it gives none."""

    __slots__ = (
        "closes_at", "descriptor", "door", "incoming", "is_read", "owed", "pid", "portion", "reads_at", "socket",
        "uid", "unsent",
    )  # fmt: skip

    def __init__(self, door: Door, accepted: socket.socket, pid: int, uid: int, closes_at: float) -> None:
        self.door, self.socket, self.pid, self.uid = door, accepted, pid, uid
        self.descriptor = accepted.fileno()
        self.closes_at = closes_at
        """monotonic time by which its handshake has to be over"""
        self.incoming = Incoming(door.terms)
        self.portion = PORTION_MIN
        self.owed = 0
        """bytes that lay in the kernel when a barrier was sent, and were not read since"""
        self.is_read = True
        """whether what it says is read now"""
        self.reads_at = 0.0
        """monotonic time before which it is not read: it sent garbage"""
        self.unsent = bytearray()
        """what the kernel had no room for"""

    def __str__(self) -> str:
        who = f"process {self.pid}" if self.pid else "a process"
        return f"a connection of {who} to {os.path.basename(self.door.path)!r}"

    @property
    def holder(self) -> tuple[str, int]:
        """Whose share of the connections this one belongs to."""
        who = self.door.principal
        return ("user", who.uid) if isinstance(who, OtherUser) else ("process", self.pid)


class Connections:
    """Owned by the loop's thread. ``connected`` gets the pid of each local process whose handshake is over."""

    def __init__(self, poll: Poller, connected: Callable[[int], None]) -> None:
        self.limit: Callable[[], int | None] = lambda: None
        """connections that the operator allows; None: as many as the system does"""
        self.by_descriptor: dict[int, Connection] = {}
        self.doors: dict[int, Door] = {}
        """by descriptor"""
        self.refusals: list[Refusal] = []
        """why connections were not taken, or closed; the caller counts them and empties the list"""
        self.owing: set[Connection] = set()
        """those from which a barrier waits for something (listener.py)"""
        self.unsent = 0
        """bytes that wait to be sent, of all connections"""
        self._unsent_of: Counter[tuple[str, int]] = Counter()
        """the same by holder; only what is not 0"""
        self._poll = poll
        self._connected = connected
        self._held: dict[tuple[str, int], dict[Connection, None]] = {}
        """by holder, the newest last"""
        self._silent: dict[Connection, None] = {}
        """those whose handshake is not over, the oldest first"""
        self._silent_of: Counter[int] = Counter()
        """how many of them each process has, by pid"""
        self._others: int | None = None
        """descriptors that were open when the loop began to accept"""
        self._rests_until = inf
        """monotonic time until which no connection is accepted; inf: they are accepted"""

    def __len__(self) -> int:
        return len(self.by_descriptor)

    @property
    def most(self) -> int:
        """Connections that there may be."""
        if self._others is None:
            self._others = descriptor_limit.used() - len(self)
        return min(connections_max(self._others), self.limit() or CONNECTIONS_MAX)

    def open(self, door: Door) -> None:
        """Accept connections at this door from now on."""
        self.doors[door.socket.fileno()] = door
        self._poll.register(door.socket.fileno(), POLLIN)

    def open_again(self, door: Door) -> None:
        """Bind this door once more: its file was removed. OSError: that is not possible, and all is as before."""
        former = door.socket
        door.bind()
        if self.doors.pop(former.fileno(), None) is not None:
            self._unregister(former.fileno())
            self.open(door)
        former.close()

    def close_all(self) -> None:
        """Close all connections and doors; the files stay."""
        for connection in list(self.by_descriptor.values()):
            self.close(connection)
        for door in self.doors.values():
            door.socket.close()

    def is_open(self, connection: Connection) -> None:
        """Its handshake is over."""
        self._is_silent_no_more(connection)
        if connection.pid:
            self._connected(connection.pid)

    @property
    def due_at(self) -> float:
        """Monotonic time from which ``tend`` has something to do; inf: never."""
        for connection in self._silent:  # the first is the oldest
            return min(self._rests_until, connection.closes_at)
        return self._rests_until

    def tend(self) -> None:
        """Close what did not finish its handshake in time, and accept again after a rest. The caller has read all
        that was said."""
        now = monotonic()
        for connection in list(islice(self._silent, ENDS_MAX)):
            if connection.closes_at > now:
                break
            self.refuse("handshake", f"{connection} is closed: no handshake of ZeroMQ within {HANDSHAKE_S:g} s")
            self.close(connection)
        if self._rests_until <= now:
            self._rests_until = inf
            for descriptor in self.doors:
                self._poll.register(descriptor, POLLIN)

    def accept(self, door: Door) -> None:
        """Take who wants to connect, a bounded number."""
        for _ in range(ACCEPTS):
            try:
                accepted, _ = door.socket.accept()
            except BlockingIOError:
                return
            except OSError as fault:
                self._rest(fault)
                return
            try:
                self._welcome(door, accepted)
            except OSError:  # it has gone again
                accepted.close()

    def _welcome(self, door: Door, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        pid, uid = who_connected(accepted)
        connection = Connection(door, accepted, pid, uid, monotonic() + HANDSHAKE_S)
        if pid and self._silent_of[pid] >= SILENT_MAX:
            text = f"{connection} is not taken: it has {SILENT_MAX:,} others whose handshake is not over"
            self.refuse("handshake", text)
            accepted.close()
            return
        if not self._has_room(connection):
            self.refuse(
                "connections",
                f"{connection} is not taken: {self.most} are allowed, and all are in use, "
                f"{len(self._held.get(connection.holder, ()))} by the same process or user",
            )
            accepted.close()
            return
        accepted.send(door.opening)
        self._poll.register(connection.descriptor, POLLIN)
        self.by_descriptor[connection.descriptor] = connection
        self._held.setdefault(connection.holder, {})[connection] = None
        self._silent[connection] = None
        self._silent_of[pid] += 1

    def _has_room(self, newcomer: Connection) -> bool:
        """Whether it may stay: who has most gives way to who has fewer."""
        if len(self) < self.most:
            return True
        most = max(self._held.values(), key=len, default={})
        if len(most) <= len(self._held.get(newcomer.holder, ())) + 1:
            return False
        last = next((each for each in reversed(most) if each in self._silent), next(reversed(most)))
        self.refuse("connections", f"{last} is closed for another: it has {len(most)} of {self.most} connections")
        self.close(last)
        return True

    def _rest(self, fault: OSError) -> None:
        """The system gives no descriptor: accept no more for a moment. The others wait in the kernel."""
        self.refuse("connections", f"no connection can be taken now: {fault.strerror}; {len(self)} are open")
        if self._rests_until == inf:
            self._rests_until = monotonic() + ACCEPT_REST_S
            for descriptor in self.doors:
                self._unregister(descriptor)

    def close(self, connection: Connection) -> None:
        """Close it, once; what it sent and was not read is lost."""
        if not self._has(connection):
            return
        del self.by_descriptor[connection.descriptor]
        held = self._held[connection.holder]
        del held[connection]
        if not held:
            del self._held[connection.holder]
        self._is_silent_no_more(connection)
        self.owing.discard(connection)
        # A forked child may hold the descriptor, too: to close it alone would not end the connection, nor take it
        # from the poller.
        self._unregister(connection.descriptor)
        with contextlib.suppress(OSError):
            connection.socket.shutdown(socket.SHUT_RDWR)
        connection.socket.close()
        self._count_unsent(connection, -len(connection.unsent))
        connection.unsent.clear()
        if connection.door.handler is not None:
            connection.door.handler.gone(connection)

    def _is_silent_no_more(self, connection: Connection) -> None:
        if connection not in self._silent:
            return
        del self._silent[connection]
        self._silent_of[connection.pid] -= 1
        if not self._silent_of[connection.pid]:
            del self._silent_of[connection.pid]
        if not self._silent:
            self._silent.clear()  # the room of those that are gone is walked to find the first

    def write(self, connection: Connection, data: bytes) -> None:
        """Send this. What the kernel has no room for waits; whoever calls bounds that."""
        if not self._has(connection):
            return
        if not connection.unsent:
            sent = self._send(connection, data)
            if sent == len(data) or sent < 0:
                return
            data = data[sent:]
        connection.unsent += data
        self._count_unsent(connection, len(data))
        self._wait_for(connection)

    def flush(self, connection: Connection) -> None:
        """Send more of what waits: the kernel has room."""
        sent = self._send(connection, connection.unsent)
        if sent > 0:
            del connection.unsent[:sent]
            self._count_unsent(connection, -sent)
        if not connection.unsent and sent >= 0:
            self._wait_for(connection)
            if connection.door.handler is not None:
                connection.door.handler.sent(connection)

    def unsent_of_holder(self, connection: Connection) -> int:
        """Bytes that wait to be sent to whoever holds this connection, over all that it holds."""
        return self._unsent_of[connection.holder]

    def _count_unsent(self, connection: Connection, more: int) -> None:
        self.unsent += more
        self._unsent_of[connection.holder] += more
        if not self._unsent_of[connection.holder]:
            del self._unsent_of[connection.holder]

    def read(self, connection: Connection, *, on: bool) -> None:
        """Read what it says, or leave it in the kernel for now."""
        if connection.is_read != on and self._has(connection):
            connection.is_read = on
            self._wait_for(connection)

    def _send(self, connection: Connection, data: bytes | bytearray) -> int:
        """How many bytes the kernel took; -1: it is closed."""
        try:
            return connection.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self.close(connection)
            return -1

    def _wait_for(self, connection: Connection) -> None:
        wanted = (POLLIN if connection.is_read else 0) | (POLLOUT if connection.unsent else 0)
        self._poll.modify(connection.descriptor, wanted)

    def _has(self, connection: Connection) -> bool:
        """Whether it is open: its descriptor may be another's by now."""
        return self.by_descriptor.get(connection.descriptor) is connection

    def rest(self, connection: Connection) -> None:
        """Do not read it for a while; no barrier waits for it."""
        self.owing.discard(connection)
        self._unregister(connection.descriptor)

    def go_on(self, connection: Connection) -> None:
        """Read it again, if it was not closed."""
        if self._has(connection):
            self._poll.register(connection.descriptor, POLLIN)

    def _unregister(self, descriptor: int) -> None:
        with contextlib.suppress(OSError, KeyError):
            self._poll.unregister(descriptor)

    def refuse(self, reason: str, text: str) -> None:
        """Have this counted and told."""
        self.refusals.append(Refusal(reason, text))
