"""The three sockets of one address, polled together."""

from __future__ import annotations

import os
import stat
from time import monotonic, sleep
from typing import Any, NamedTuple

import zmq

from banken.address import Address
from banken.threads import NO_THREAD, ZMQ_THREADS, available
from banken_supervisor.sources.zmq_control import ControlSocket
from banken_supervisor.sources.zmq_events import EventSocket
from banken_supervisor.sources.zmq_feeds import FeedSource

REST_MIN = 0.00005
"""Seconds. A shorter sleep costs more than it saves."""

_POLLIN = int(zmq.POLLIN)


class Ready(NamedTuple):
    """Which sockets and descriptors are readable."""

    feeds: bool
    control: bool
    subscriptions: bool
    mailbox: bool
    others: bool
    """any descriptor that was passed to ``watch``"""


NOTHING = Ready(False, False, False, False, False)
FEEDS = Ready(True, False, False, False, False)
EVERYTHING = Ready(True, True, True, True, True)
"""Assumed when waiting failed: everything is tried, nothing blocks."""


class Sockets:
    """Binds ``address`` (a directory that is already locked) when it is created.

    RuntimeError: the system cannot start threads.
    """

    def __init__(self, address: Address, mailbox: int) -> None:
        if not available(ZMQ_THREADS):
            raise RuntimeError(f"the sockets need threads: {NO_THREAD}")
        # One I/O thread: the barrier proves that everything sent before it has been read only if both take the
        # same thread (engine/barrier.py).
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._made: dict[str, tuple[int, int]] = {}
        """by path: device and inode of each socket, as it was bound"""
        self._ends = dict(zip(map(_path, address[1:4]), address[1:4], strict=True))
        before = os.umask(0o077)  # the sockets' own mode follows it
        try:
            self.feeds = FeedSource(self._context, address.feed)
            self.control = ControlSocket(self._context, address.control)
            self.events = EventSocket(self._context, address.events)
            self._made = {path: _identity(path) or (0, 0) for path in self._ends}
        except BaseException:
            self._context.destroy(0)
            raise
        finally:
            os.umask(before)
        self._mailbox = mailbox
        rest: list[tuple[Any, int]] = [
            (self.control.socket, _POLLIN), (self.events.socket, _POLLIN), (mailbox, _POLLIN)
        ]  # fmt: skip
        self._polled = {True: [(self.feeds.socket, _POLLIN), *rest], False: list(rest)}
        self._others: list[int] = []

    def watch(self, descriptor: int) -> None:
        """Also wake up when this descriptor is readable."""
        self._others.append(descriptor)
        for polled in self._polled.values():
            if (descriptor, _POLLIN) not in polled:
                polled.append((descriptor, _POLLIN))

    def wait(self, seconds: float, feeds: bool = True) -> Ready:
        """Sleep until something can be read, at most ``seconds``; without ``feeds``, feeds do not wake it.

        ZeroMQ waits for whole milliseconds. The rest is a sleep, so that a verdict is not half a millisecond late
        on average; a message that arrives during the sleep waits less than a millisecond.
        """
        polled = self._polled[feeds]
        whole = int(seconds * 1000)
        end = monotonic() + seconds
        found: list[tuple[Any, int]] = zmq.zmq_poll(polled, whole)
        if not found and (rest := end - monotonic()) > REST_MIN:
            sleep(rest)
            found = zmq.zmq_poll(polled, 0)
        if not found:
            return NOTHING if feeds else FEEDS
        if len(found) == 1 and found[0][0] is self.feeds.socket:
            return FEEDS
        ready = dict(found)
        return Ready(
            not feeds or self.feeds.socket in ready,
            self.control.socket in ready,
            self.events.socket in ready,
            self._mailbox in ready,
            any(each in ready for each in self._others),
        )

    def missing(self) -> list[str]:
        """The paths of sockets that were removed or replaced. Safe from any thread."""
        return [path for path, made in self._made.items() if _identity(path) != made]

    def bind_again(self, paths: list[str]) -> None:
        """Bind these paths once more. OSError and ZMQError: it is not possible.

        The former listener stays: libzmq closes its connections with it, and feeds on their way would be lost.
        """
        sockets = dict(zip(self._ends, (self.feeds.socket, self.control.socket, self.events.socket), strict=True))
        for path in paths:
            if stat.S_ISDIR(_mode(path)):  # libzmq removes only files
                raise IsADirectoryError(f"{path} is a directory")
            sockets[path].bind(self._ends[path])
            os.chmod(path, 0o700)  # umask would change the mode of what other threads make now
            self._made[path] = _identity(path) or (0, 0)

    def close(self) -> None:
        """Unbind everything; the files stay."""
        for each in (self.feeds, self.control, self.events):
            each.close()
        self._context.term()


def _path(endpoint: str) -> str:
    return endpoint.removeprefix("ipc://")


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode; None: there is nothing. A listener's inode is not used again while it is open."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _mode(path: str) -> int:
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0
