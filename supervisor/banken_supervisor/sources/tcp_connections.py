"""Connections from other hosts: counted, and cut off where there are too many.

libzmq accepts whoever comes, on a thread of its own, until the process has no descriptor left. So each of its
sockets that other hosts connect to has a monitor, which says what was accepted and what has ended. Beyond the limit
room is made among those that have not shown a key, those that say nothing first: the host that has most of them
gives the oldest ones. Whether a key was let in, the kernel knows (``TCP_INFO``): a supervisor says more than so
many bytes to nobody else.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Collection
from itertools import count
from queue import SimpleQueue

import zmq

CONNECTIONS_MAX = 100_000
"""At most, whatever the limit of descriptors."""

SHARE = 4
"""Of the descriptors that this process may open a quarter is for other hosts."""

ROOM = 8
"""An eighth is made free at once: each look asks the kernel about many."""

SECRET_BYTES = 64 + 170 + 16
"""The greeting of ZMTP 3.1 and CURVE's WELCOME, which everybody gets, and less than any READY
(https://rfc.zeromq.org/spec/26/): who was sent more has a key that was let in."""

_BYTES = struct.Struct("=QQ")
_BYTES_AT = 120
"""Where ``tcpi_bytes_acked`` and ``tcpi_bytes_received`` are in Linux's ``struct tcp_info``, since 4.1."""

_EVENT = struct.Struct("=HI")
_WANTED = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_MONITOR_STOPPED
_WAKE = "inproc://tcp-connections"

_numbers = count(1)

Socket = zmq.Socket[bytes]

IN_IPV6 = "::ffff:"
"""What an IPv4 address begins with where IPv6 is listened to, too."""


def connections_max() -> int:
    """Connections from other hosts that there may be."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else max(8, min(CONNECTIONS_MAX, soft // SHARE))


class TcpConnections:
    """``refuse``: is told, on the thread of this, of what was cut off: the reason in one word, and a text."""

    def __init__(self, context: zmq.Context[Socket], refuse: Callable[[str, str], None]) -> None:
        self._context, self._refuse = context, refuse
        self._new: SimpleQueue[str] = SimpleQueue()
        self._open: dict[Socket, dict[int, str]] = {}
        """by monitor: descriptors, the oldest first, and the hosts"""
        self._ends = False
        self._wake = context.socket(zmq.PUSH)
        self._reader = context.socket(zmq.PULL)
        self._reader.bind(_WAKE)
        self._wake.connect(_WAKE)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="banken-tcp-count", daemon=True)
        self._thread.start()

    def watch(self, server: Socket) -> None:
        """Count the connections of this socket, on its own thread, before it is bound."""
        endpoint = f"inproc://tcp-monitor-{next(_numbers)}"
        server.monitor(endpoint, _WANTED)
        self._new.put(endpoint)
        self._say()

    def close(self) -> None:
        """End the thread."""
        self._ends = True
        self._say()
        self._thread.join(2.0)
        self._wake.close(0)

    def __len__(self) -> int:
        return sum(map(len, list(self._open.values())))

    def _say(self) -> None:
        with self._lock, contextlib.suppress(zmq.ZMQError):
            self._wake.send(b"", zmq.DONTWAIT)

    # -- on its thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._reader, zmq.POLLIN)
        try:
            while not self._ends:
                for found, _ in poller.poll():
                    with contextlib.suppress(zmq.Again):
                        if found is self._reader:
                            self._reader.recv(zmq.DONTWAIT)
                            self._add(poller)
                        else:
                            self._read(found, poller)
        except zmq.ZMQError:
            pass  # the context ends
        finally:
            for each in (self._reader, *self._open):
                each.close(0)

    def _add(self, poller: zmq.Poller) -> None:
        while not self._new.empty():
            monitor = self._context.socket(zmq.PAIR)
            monitor.setsockopt(zmq.LINGER, 0)
            monitor.connect(self._new.get())
            poller.register(monitor, zmq.POLLIN)
            self._open[monitor] = {}

    def _read(self, monitor: Socket, poller: zmq.Poller) -> None:
        """Take what it says, until it says nothing more."""
        held = self._open[monitor]
        while True:
            event, value = _EVENT.unpack(monitor.recv_multipart(zmq.DONTWAIT)[0])
            if event == zmq.EVENT_ACCEPTED:
                held.pop(value, None)
                held[value] = _host_of(value)
                if len(self) > (most := connections_max()):
                    self._make_room(most)
            elif event == zmq.EVENT_DISCONNECTED:
                held.pop(value, None)
            elif event == zmq.EVENT_MONITOR_STOPPED:
                poller.unregister(monitor)
                monitor.close(0)
                del self._open[monitor]
                return

    def _make_room(self, most: int) -> None:
        wanted, ended = most // ROOM + 1, Counter[str]()
        by_host: dict[str, list[tuple[dict[int, str], int]]] = {}
        for held in self._open.values():
            for descriptor, host in held.items():
                by_host.setdefault(host, []).append((held, descriptor))
        for silent in (True, False):  # an honest peer begins to speak at once
            for host in sorted(by_host, key=lambda each: -len(by_host[each])):
                for held, descriptor in by_host[host]:
                    if ended.total() >= wanted:
                        break
                    if descriptor in held and _end_stranger(descriptor, silent=silent):
                        del held[descriptor]
                        ended[host] += 1
        if not ended.total():  # all have keys: who comes last is not taken
            held, descriptor = max(
                ((held, next(reversed(held))) for held in self._open.values() if held), key=lambda each: each[1]
            )
            ended[held.pop(descriptor)] += 1
            _end(descriptor)
        who = ", ".join(f"{number:,} of {host or 'unknown hosts'}" for host, number in ended.most_common(3))
        self._refuse("connections", f"{most:,} connections of other hosts are allowed, and more came: ended {who}")


def connection_of(descriptor: int) -> socket.socket:
    """A socket of our own for this connection of libzmq's. OSError: the number is no socket's by now."""
    own = os.dup(descriptor)
    try:
        return socket.socket(fileno=own)
    except BaseException:
        os.close(own)
        raise


def close_copies(ports: Collection[int]) -> None:
    """In a forked child: close its copies of what libzmq has at these ports of this host. They would keep them, and
    the connections of workers, when the process that listens has ended."""
    for descriptor in map(int, os.listdir("/dev/fd")):
        try:
            with connection_of(descriptor) as found:
                is_ours = found.family in (socket.AF_INET, socket.AF_INET6) and found.getsockname()[1] in ports
        except OSError:  # it is no socket
            continue
        if is_ours:
            os.close(descriptor)


def _host_of(descriptor: int) -> str:
    try:
        with connection_of(descriptor) as connection:
            return str(connection.getpeername()[0]).removeprefix(IN_IPV6)
    except (OSError, IndexError):
        return ""


def _end_stranger(descriptor: int, *, silent: bool) -> bool:
    """End this connection if its peer has not shown a key, and, where ``silent``, has said nothing at all; whether
    it was, or has ended by itself."""
    try:
        with connection_of(descriptor) as connection:
            if connection.family not in (socket.AF_INET, socket.AF_INET6):
                return True  # the number is something else's by now
            found = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            if len(found) >= _BYTES_AT + _BYTES.size:
                sent, received = _BYTES.unpack_from(found, _BYTES_AT)
                if sent > SECRET_BYTES or (silent and received):
                    return False
            connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return True
    return True


def _end(descriptor: int) -> None:
    with contextlib.suppress(OSError), connection_of(descriptor) as connection:
        connection.shutdown(socket.SHUT_RDWR)
