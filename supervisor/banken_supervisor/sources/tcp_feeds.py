"""Feeds from other hosts: a tcp socket of libzmq's, which knows the key that each message came with.

Asking for the key costs the loop's thread three times what a local feed does; so this socket is apart from those.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter, length_hint, methodcaller
from time import monotonic
from typing import Any

import zmq

from banken.protocol.limits import FRAME_MAX
from banken.tcp import OPTIONS, SERVER_HANDSHAKE_MS
from banken_supervisor.engine.barrier import READ_BYTES, TRIPS_MAX
from banken_supervisor.engine.principal import AnyPrincipal, KeyHolder
from banken_supervisor.processes.memory_limit import give_back
from banken_supervisor.sources.tcp_connections import IN_IPV6, connection_of
from banken_supervisor.sources.zap import KeyGate

BUFFER = 128 * 1024
"""Bytes of one connection that wait in the kernel, which doubles it. Its own choice grows to 6 MB, and all of that
is still read when a flood was cut off. At a round trip of 50 ms it lets 40,000 feeds a second through."""

SERVER_OPTIONS = {
    **OPTIONS,
    zmq.LINGER: 100,
    zmq.HANDSHAKE_IVL: SERVER_HANDSHAKE_MS,
    zmq.RCVHWM: 0,
    zmq.RCVBUF: BUFFER,
}
"""Of every socket that other hosts connect to. The queue of what has come has no limit, for at a limit libzmq stops
to read, and version 4.3.5 ends the process (``Assertion failed: !_io_error``) when such a connection ends and a
ping of its peer is among what was left. ``BEHIND_S`` is the limit instead."""

BEHIND_S = 0.2
"""Seconds for which more may come than is read; then the key that says most is cut off."""

GIVE_BACK_S = 1.0
"""Seconds from one time that memory is given back after a flood to the next."""

SIZE_MAX = 2 * FRAME_MAX
"""A message of more bytes ends its connection."""

SLICE = 200
"""Messages between two looks at the clock."""

OVERHEAD = 48
"""Bytes, at least, that a message takes in the kernel besides its own: frame, nonce and authentication."""

ALL_ADDRESSES = ("0.0.0.0", "[::]", f"[{IN_IPV6}0.0.0.0]")  # noqa: S104  # nothing is bound here
"""How libzmq names that all are listened to."""

_DONTWAIT = int(zmq.DONTWAIT)

Pair = tuple[bytes, bytes]
"""A public and a secret key, in Z85."""

HolderOf = Callable[[str], KeyHolder | None]
"""Who holds this public key; None: nobody is known that does."""


class TcpFeeds:
    """A PULL socket, bound at construction. Owned by the loop's thread.

    ``pair``: the supervisor's own keys, which must be ``allowed`` at the gate. ``refuse``: is told of messages that
    came with a revoked key: the reason in one word, and a text. ZMQError: a port cannot be bound.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoints: Sequence[str],
        gate: KeyGate,
        pair: Pair,
        holder_of: HolderOf,
        refuse: Callable[[str, str], None],
    ) -> None:
        self._gate, self._holder_of = gate, holder_of
        self._refuse = refuse
        self._own = pair[0].decode()
        self.is_behind = False
        """whether the last ``drain`` has left something"""
        self.has_passed = False
        """whether all that had come before ``send_barrier`` has been read; the caller's to reset"""
        self._number = self._read = self._trips = 0
        self._awaits = self._is_back = False
        self._behind_since: float | None = None
        """monotonic time since when no ``drain`` has read all"""
        self._gave_back_at = 0.0
        self.socket = context.socket(zmq.PULL)
        # What the class that pyzmq puts on top of its own does is not needed here, and costs 200 ns.
        self._receive: Callable[[int, bool], Any] = super(zmq.Socket, self.socket).recv
        self._prober = context.socket(zmq.PUSH)
        try:
            prepare_server(self.socket, gate, pair)
            self.socket.setsockopt(zmq.MAXMSGSIZE, SIZE_MAX)
            for endpoint in endpoints:
                self.socket.bind(endpoint)
            for option, value in ((zmq.LINGER, 0), (zmq.IPV6, 1), (zmq.CURVE_SERVERKEY, pair[0])):
                self._prober.setsockopt(option, value)
            self._prober.setsockopt(zmq.CURVE_PUBLICKEY, pair[0])
            self._prober.setsockopt(zmq.CURVE_SECRETKEY, pair[1])
            self._prober.connect(reachable(self.socket.get_string(zmq.LAST_ENDPOINT)))
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Readable when something may have come since ``drain`` has read all: it tells of changes, and once."""
        return int(self.socket.getsockopt(zmq.FD))

    def drain(
        self,
        read: Callable[[Iterator[bytes], AnyPrincipal], None],
        limit: int,
        seconds: float,
        fault: Callable[[Exception], None],
    ) -> tuple[int, bool]:
        """Let ``read`` take at most about ``limit`` messages, and none after ``seconds``. How many there were, and
        whether they were all. ``fault`` gets what ``read`` raises; the message that did it is lost."""
        given, until, complete = 0, monotonic() + seconds, False
        said: dict[str, list[zmq.Frame]] = {}
        while not complete and given < limit and (not given or monotonic() < until):
            frames = self._some()
            given += len(frames)
            complete = len(frames) < SLICE
            by_user: dict[str, list[zmq.Frame]] = {}
            for user, group in groupby(frames, key=_user_of):
                by_user.setdefault(user, []).extend(group)
            if self._awaits:
                self._read += sum(map(len, frames)) + OVERHEAD * len(frames)
            for each in by_user.pop(self._own, ()):
                self._is_back |= int.from_bytes(each.bytes, "big") == self._number
            for user, theirs in by_user.items():
                self._give(user, theirs, read, fault)
                said.setdefault(user, []).extend(theirs)
        self.is_behind = not complete
        self._end_flood(said)
        if complete and self._is_back and self._awaits:
            self._came_back()
        return given, complete

    def send_barrier(self) -> None:
        """Have ``has_passed`` set when all that the kernel has now has been read, as far as can be known.

        As engine/barrier.py says of sockets of libzmq: a message of our own goes the same way, once more as long as
        its round trip has brought more than libzmq reads from one connection at once.
        """
        if not self._awaits:
            self._trips = 0
        self._probe()

    def close(self) -> None:
        """Unbind."""
        for each in (self.socket, self._prober):
            each.close(0)

    def _end_flood(self, said: dict[str, list[zmq.Frame]]) -> None:
        """Cut off the key that says most, if all together say more than can be read, until all of it is read."""
        now = monotonic()
        if not self.is_behind:
            self._behind_since = None
            if self._gate.later and now >= self._gave_back_at + GIVE_BACK_S:
                self._gave_back_at = now
                give_back()
            self._gate.later = frozenset()
        elif self._behind_since is None:
            self._behind_since = now
        elif now - self._behind_since >= BEHIND_S and said:
            user = max(said, key=lambda each: len(said[each]))
            for frame in {_descriptor_of(frame): frame for frame in said[user][::10]}.values():
                shut(frame)
            if user.encode() not in self._gate.later:
                self._gate.later |= {user.encode()}
                holder = self._holder_of(user)
                who = repr(holder.name) if holder is not None else f"{user[:8]}…"
                self._refuse(
                    "flood", f"the key {who} sends more than can be read: it is cut off until that is read"
                )

    def _probe(self) -> None:
        self._number += 1
        self._read, self._awaits, self._is_back = 0, True, False
        with contextlib.suppress(zmq.Again):  # it counts as lost, and the engine asks for another
            self._prober.send(self._number.to_bytes(8, "big"), _DONTWAIT)

    def _came_back(self) -> None:
        self._trips += 1
        if self._read > READ_BYTES and self._trips < TRIPS_MAX:
            self._probe()
        else:
            self._awaits, self.has_passed = False, True

    def _some(self) -> list[zmq.Frame]:
        frames: list[zmq.Frame] = []
        receive, add = self._receive, frames.append
        with contextlib.suppress(zmq.Again):
            for _ in range(SLICE):
                add(receive(_DONTWAIT, False))
        return frames

    def _give(
        self,
        user: str,
        frames: list[zmq.Frame],
        read: Callable[[Iterator[bytes], AnyPrincipal], None],
        fault: Callable[[Exception], None],
    ) -> None:
        holder = self._holder_of(user)
        if holder is None or not holder.is_allowed:
            who = f"{user[:8]}…" if holder is None else repr(holder.name)
            for frame in frames:
                shut(frame)
                self._refuse("revoked", f"the key {who} was revoked: what comes with it is refused")
            return
        left = iter(frames)
        messages = map(_bytes_of, left)
        holder.seen, holder.speaks_from = monotonic(), lambda: _host_of(frames[-1 - length_hint(left)])
        try:
            while True:
                before = length_hint(left)
                try:
                    read(messages, holder)
                except Exception as raised:  # noqa: BLE001  # the next one is independent of it
                    fault(raised)
                    if length_hint(left) == before and next(messages, None) is None:
                        return
                else:
                    return
        finally:
            holder.speaks_from = None


def prepare_server(server: zmq.Socket[bytes], gate: KeyGate, pair: Pair) -> None:
    """The options of a socket that other hosts connect to. Before it is bound."""
    for option, value in SERVER_OPTIONS.items():
        server.setsockopt(option, value)
    gate.guard(server, *pair)
    gate.watch(server)


_user_of = methodcaller("get", b"User-Id")
"""The public key that a message came with. (No message comes without one.)"""

_bytes_of = attrgetter("bytes")

_descriptor_of = methodcaller("get", zmq.SRCFD)
"""The connection that a message came by, by a number that may be another one's by now."""


def _host_of(frame: Any) -> str:
    try:
        return str(frame.get("Peer-Address")).removeprefix(IN_IPV6)
    except zmq.ZMQError:
        return ""


def shut(frame: Any) -> None:
    """End the connection that this message came by: its key is not let in again. (Shut and not closed: the
    descriptor is libzmq's.)"""
    try:
        number = int(frame.get(zmq.SRCFD))
        host = str(frame.get("Peer-Address"))
        with connection_of(number) as connection:
            if connection.getpeername()[0] == host:  # the number may be another connection's by now
                connection.shutdown(socket.SHUT_RDWR)
    except (OSError, zmq.ZMQError, ValueError, TypeError, IndexError):
        return


def reachable(endpoint: str) -> str:
    """Where this process reaches a socket that is bound here: at all addresses of its host, perhaps."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return f"tcp://127.0.0.1:{port}" if host in ALL_ADDRESSES else endpoint
