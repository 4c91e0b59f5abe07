"""The sockets of one address, polled together: its three, and a feed socket for each other user."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic, sleep
from typing import Any, NamedTuple

import zmq

from banken.address import Address, directory_of_user, resolve
from banken.threads import NO_THREAD, ZMQ_THREADS, available
from banken_supervisor.engine.principal import OtherUser
from banken_supervisor.files.users import close_directory_of_user, open_directory_of_user
from banken_supervisor.sources.zmq_control import ControlSocket
from banken_supervisor.sources.zmq_events import EventSocket
from banken_supervisor.sources.zmq_feeds import FeedSource, Read

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
        self._address = address
        self._made: dict[str, tuple[int, int]] = {}
        """by path: device and inode of each socket, as it was bound"""
        self._bind_again: dict[str, Callable[[], None]] = {}
        """by path"""
        self.accepted: zmq.Socket[bytes] = self._context.socket(zmq.PAIR)
        """says which connections are made to ``feeds``"""
        before = os.umask(0o077)  # the sockets' own mode follows it
        try:
            self.feeds = FeedSource(self._context, address.feed, accepted=self.accepted)
            self.control = ControlSocket(self._context, address.control)
            self.events = EventSocket(self._context, address.events)
            for socket, end in zip(
                (self.feeds.socket, self.control.socket, self.events.socket), address[1:4], strict=True
            ):
                self._bound(_path(end), partial(_bind_privately, socket, end))
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
        self._sources = [self.feeds]
        """those that the loop reads"""
        self.drain = self.feeds.drain
        """reads every feed socket, as FeedSource.drain does; complete: all are empty"""
        self._users: dict[int, FeedSource] | None = {}
        """bound for other users, some of which the loop may not read yet; None: closed"""
        self._users_lock = threading.Lock()

    def bind_for(self, user: OtherUser) -> FeedSource | None:
        """A feed socket for this user, in a directory of its own beside the address; None: there is one already, or
        all is closed. ``read`` makes the loop read it; what is sent until then waits.

        From any thread, not the loop's if that can be: it uses the disk. OSError, ZMQError: it is not possible.
        """
        assert self._address.directory is not None
        end = resolve(directory_of_user(self._address.directory, user.uid))
        with self._users_lock:
            if self._users is None or user.uid in self._users:
                return None
            close_directory_of_user(end.text, user.uid)
            source = self._users[user.uid] = FeedSource(self._context, end.feed, user)
            try:
                open_directory_of_user(end.text, user.uid)
            except BaseException:
                self._users.pop(user.uid).close()
                raise

        def again() -> None:
            close_directory_of_user(end.text, user.uid)
            source.socket.bind(end.feed)
            open_directory_of_user(end.text, user.uid)

        self._bound(_path(end.feed), again)
        return source

    def read(self, source: FeedSource) -> None:
        """The loop reads this one too, from now on."""
        self._sources.append(source)
        self._polled[True].insert(0, (source.socket, _POLLIN))
        self.drain = self._drain_all

    @property
    def feed_sockets(self) -> int:
        """How many the loop reads."""
        return len(self._sources)

    def send_barrier(self, frame: bytes) -> None:
        """Send the loop a message through every feed socket that it reads (engine/barrier.py)."""
        for source in self._sources:
            source.send_barrier(frame)

    def _drain_all(
        self, read: Read, limit: int, seconds: float, fault: Callable[[Exception], None]
    ) -> tuple[int, bool]:
        given, complete, share = 0, True, len(self._sources)
        for source in self._sources:
            count, is_empty = source.drain(read, limit // share, seconds / share, fault)
            given += count
            complete &= is_empty
        return given, complete

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
        fed = sum(source.socket in ready for source in self._sources)
        if fed == len(ready):
            return FEEDS
        return Ready(
            not feeds or fed > 0,
            self.control.socket in ready,
            self.events.socket in ready,
            self._mailbox in ready,
            any(each in ready for each in self._others),
        )

    def missing(self) -> list[str]:
        """The paths of sockets that were removed or replaced. Safe from any thread."""
        return [path for path, made in list(self._made.items()) if _identity(path) != made]

    def bind_again(self, paths: list[str]) -> None:
        """Bind these paths once more. OSError and ZMQError: it is not possible.

        The former listener stays: libzmq closes its connections with it, and feeds on their way would be lost.
        """
        for path in paths:
            if stat.S_ISDIR(_mode(path)):  # libzmq removes only files
                raise IsADirectoryError(f"{path} is a directory")
            self._bind_again[path]()
            self._made[path] = _identity(path) or (0, 0)

    def close(self) -> None:
        """Unbind everything; the files stay."""
        with self._users_lock:
            users, self._users = self._users or {}, None
        for source in (self.feeds, *users.values()):
            source.close()
        self.control.close()
        self.events.close()
        self.accepted.close(0)
        self._context.term()

    def _bound(self, path: str, again: Callable[[], None]) -> None:
        self._bind_again[path] = again
        self._made[path] = _identity(path) or (0, 0)


def _bind_privately(socket: zmq.Socket[bytes], endpoint: str) -> None:
    """In a directory that nobody else may enter."""
    socket.bind(endpoint)
    os.chmod(_path(endpoint), 0o700)  # umask would change the mode of what other threads make now


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
