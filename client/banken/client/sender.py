"""The worker's one sending socket. What makes it safe in threads and after a fork is in this module.

The reason for each setting:

* ``IMMEDIATE``: without it, a socket that never met a supervisor queues a thousand feeds and delivers them,
  stale, to one that starts an hour later.
* ``DONTWAIT``: a full queue or an absent supervisor costs a worker a few microseconds, never a wait.
* ``LINGER``: bounded, so that the last message still leaves, and a dead peer cannot hold up the exit.
* A lock, because two threads in one ZeroMQ socket crash the process; re-entrant, because a signal handler may
  feed while its thread is inside ``send``.
* In a forked child the inherited socket would swallow messages, or spin: the child starts with a new context,
  and keeps the old objects untouched, since closing them would act on the parent's. Python's own fork hook says
  when (zmq_client.py); extensions that fork by themselves run it, too. To ask for the pid at each send would be a
  system call, a third of a send.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import zmq

from banken.address import Address
from banken.process_identity import inherited
from banken.protocol.limits import warn_once
from banken.threads import ZMQ_DESCRIPTORS, ZMQ_THREADS, available, descriptors_available

if TYPE_CHECKING:
    from banken.keys import Key

FIRST_WAIT = 0.1
"""Seconds that the first message of a process may wait for the connection, once."""

LINGER = 0.2
"""Seconds that the exit may wait for the last messages to leave."""

SEND_QUEUE_MAX = 10_000
"""Messages held for a supervisor that does not read, besides what the kernel holds: about 200 KiB, or 280 that are
sent one by one."""

TURNS = 16
"""Turns of libzmq's thread in which two thousand plain feeds have left: it writes 8 KB in each."""

TURN_S = 0.0001
"""Seconds in which libzmq's thread goes on to its next turn."""

LOOK_EVERY = 0.0005
"""Seconds between two looks for room, while something may wait for it."""

RECONNECT_MS = 50
RECONNECT_MAX_MS = 500
"""Milliseconds between two attempts to connect, at first and at most: a new supervisor has its workers within a
second, however long the one before it has been gone."""

_DONTWAIT = int(zmq.DONTWAIT)

_NOWHERE = "ipc:///dev/null"
"""Where no socket ever listens."""

_numbers = itertools.count()


class Sender:
    """A PUSH socket to one supervisor, made when it is first needed.

    ``opened`` is called when the socket was made, and before each further message until it has returned True.
    """

    def __init__(
        self, address: Address, opened: Callable[[], bool] = lambda: True, lock: threading.RLock | None = None
    ) -> None:
        self.address = address
        self.key: Key | None = None
        """of this process; on this host it needs none"""
        self._opened = opened
        self._lock = lock or threading.RLock()
        self._socket: zmq.Socket[bytes] | None = None
        self._put: Callable[[bytes, int], object] | None = None
        """sends a frame; None: ``_open`` has to be called first"""
        self._flowing: bool | None = None
        """whether the last message was taken; only then a message waits for room, so once per outage. None: no
        message was taken yet"""

    def send(self, frame: bytes, wait: float = 0.0, *, insist: bool = False) -> bool:
        """Hand one message to the socket; whether it was taken.

        Never blocks, but for the first message of a process (at most ``FIRST_WAIT``), and for ``wait`` seconds
        where the caller asks for it and the message before this one was taken, or the caller insists.
        """
        # "with" and not acquire() and release(), which would be 80 ns quicker: an exception from a signal handler
        # could come between acquire() and try, and leave the lock taken for ever.
        with self._lock:
            try:
                (self._put or self._open())(frame, _DONTWAIT)
            except zmq.Again:
                flowed = self._flowing
                if flowed:
                    self._flowing = False
                    self._warn_if_forbidden()
                if not (wait and (flowed or insist) and self._room(wait)):
                    return False
                return self.send(frame)
            except zmq.ZMQError:
                return False  # the context is being torn down: the process is on its way out
            self._flowing = True
            return True

    @property
    def text(self) -> str:
        """The address, as people write it."""
        return self.address.text

    def stats(self) -> list[dict[str, Any]]:
        """Of each destination, where there are several, or one on another host."""
        return []

    def ever_sent(self) -> bool:
        """Whether any message was ever taken."""
        return self._flowing is not None

    def may_be_heard(self) -> bool:
        """Whether there is a socket at the address. Its supervisor may be dead."""
        return self._socket is not None and has_socket(self.address)

    def place(self) -> object:
        """Which supervisor is there: another value for each; None: none is."""
        return feed_socket(self.address)

    def reachable(self) -> bool:
        """Whether a supervisor is connected and takes messages right now."""
        with self._lock:
            return self._socket is not None and bool(self._socket.poll(0, zmq.POLLOUT))

    def wait_left(self, seconds: float) -> None:
        """Wait until what was sent has left this process, at most so long; other threads may send meanwhile."""
        socket = self._socket
        if socket is not None:
            wait_written(socket.context, seconds)

    def close(self, linger: float = LINGER) -> None:
        """Let the last messages leave, at most ``linger`` seconds, and give everything back. A later ``send`` opens
        again."""
        with self._lock:
            if self._socket is not None:
                self._socket.close(int(linger * 1000))
                self._socket.context.term()
            self._socket = self._put = None

    def forked(self, lock: threading.RLock | None = None) -> None:
        """In a child, right after the fork: forget the parent's socket without touching it."""
        self._lock = lock or threading.RLock()  # some other thread of the parent may have held the old one
        self._flowing = None
        if self._socket is not None:
            inherited.append(self._socket)
        self._socket = self._put = None

    def call_opened(self) -> None:
        """Have ``opened`` called before the next message."""
        with self._lock:
            self._put = None

    def _open(self) -> Callable[[bytes, int], object]:
        """Make the socket, wait for the connection, and return what sends."""
        socket, new = self._socket, self._socket is None
        if socket is None:
            if not (available(ZMQ_THREADS) and descriptors_available(ZMQ_DESCRIPTORS)):
                raise zmq.Again  # as if no supervisor took it; the next message tries once more
            self._socket = socket = zmq.Context().socket(zmq.PUSH)
            socket.setsockopt(zmq.IMMEDIATE, 1)
            socket.setsockopt(zmq.LINGER, int(LINGER * 1000))
            socket.setsockopt(zmq.SNDHWM, SEND_QUEUE_MAX)
            socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
            socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
            socket.connect(self.address.feed)
        # What the class that pyzmq puts on top of its own send does is not needed here, and costs 150 ns.
        put: Callable[[bytes, int], object] = super(zmq.Socket, socket).send
        if self._opened():
            self._put = put
        if new and not self._room(FIRST_WAIT):
            self._warn_if_forbidden()
        return put

    def _warn_if_forbidden(self) -> None:
        """Say so once where this process's user may not enter the address: no feed of it can arrive."""
        directory = self.address.directory
        try:
            if directory is not None:
                os.stat(os.path.join(directory, "feed"))
        except PermissionError:
            with contextlib.suppress(Exception):  # a log that cannot be written now: a signal handler may feed
                warn_once(
                    f"no feed arrives: user {os.geteuid()} may not enter {directory}. What its supervisor "
                    "starts with `user` feeds by a directory of its own; one that changes its user itself cannot"
                )
        except OSError:
            pass

    def _room(self, seconds: float) -> bool:
        """Wait for room to send, at most ``seconds``.

        Not with ``poll(timeout)``: interrupted by signals that come often, it begins anew each time.
        """
        deadline = time.monotonic() + seconds
        while self._socket is not None and not self._socket.poll(0, zmq.POLLOUT):
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_EVERY)
        return True


def has_socket(address: Address) -> bool:
    """Whether there is a feed socket at this address; of another host it is not known, and so it may be there."""
    return address.directory is None or feed_socket(address) is not None


def feed_socket(address: Address) -> tuple[int, int] | None:
    """The file of the feed socket, which each supervisor makes anew: its inode and change time. None: there is none
    here."""
    try:
        found = None if address.directory is None else os.stat(os.path.join(address.directory, "feed"))
    except OSError:
        return None
    return None if found is None else (found.st_ino, found.st_ctime_ns)


def wait_written(context: zmq.Context[zmq.Socket[bytes]], seconds: float) -> None:
    """Wait until the sockets of this context have written what was sent, at most so long.

    libzmq's own thread writes what was sent: a process that ends at once takes it along. Each time that it has
    tried to connect a socket which it was given for that, and says so, it has written some more of what was sent
    before, unless the connection is full.
    """
    try:
        with context.socket(zmq.DEALER) as marker:
            marker.setsockopt(zmq.LINGER, 0)
            marker.setsockopt(zmq.RECONNECT_IVL, -1)
            with marker.get_monitor_socket(zmq.EVENT_CLOSED, f"inproc://left-{next(_numbers)}") as events:
                deadline = time.monotonic() + seconds
                for turn in range(TURNS):
                    marker.connect(f"{_NOWHERE}/{turn}")  # not the same twice: that would do nothing
                    if not events.poll(max(0.0, deadline - time.monotonic()) * 1000):  # type: ignore[arg-type]  # takes a float
                        return
                    events.recv_multipart()
                    # It takes all orders that it finds before it writes: one that comes too early is in this turn.
                    time.sleep(TURN_S)
    except zmq.ZMQError:
        pass  # no descriptor is left, or another thread closes the client, which waits as well
