"""The sockets of one address, waited for together: its three, and a feed socket for each other user."""

from __future__ import annotations

import os
import select
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic, sleep
from typing import NamedTuple

from banken.address import Address, directory_of_user, resolve
from banken.process_identity import after_fork
from banken.protocol.limits import DROP_MAX, FRAME_MAX
from banken.threads import NO_THREAD, ZMQ_THREADS, available
from banken_supervisor.engine.principal import AnyPrincipal, OtherUser
from banken_supervisor.engine.waiting import Waiting
from banken_supervisor.files.users import close_directory_of_user, open_directory_of_user
from banken_supervisor.sources.connections import Door
from banken_supervisor.sources.control_socket import ControlSocket
from banken_supervisor.sources.event_socket import EventSocket
from banken_supervisor.sources.listener import Listener
from banken_supervisor.sources.notify_sockets import NotifySockets
from banken_supervisor.sources.poller import POLLIN
from banken_supervisor.sources.tcp_feeds import TcpFeeds
from banken_supervisor.sources.zmtp import Terms

FEEDS_TERMS = Terms(b"PULL", frozenset((b"PUSH",)), FRAME_MAX, DROP_MAX, parts=True)
"""What a feed socket takes: each part of a message is a feed of its own."""

REST_MIN = 0.00005
"""Seconds. A shorter sleep costs more than it saves."""


class Ready(NamedTuple):
    """Which sockets and descriptors are readable."""

    feeds: bool
    """or requests, or subscriptions: all that connections say"""
    mailbox: bool
    others: bool
    """any descriptor that was passed to ``watch``"""


NOTHING = Ready(False, False, False)
FEEDS = Ready(True, False, False)
EVERYTHING = Ready(True, True, True)
"""Assumed when waiting failed: everything is tried, nothing blocks."""


class Sockets:
    """Binds ``address`` (a directory that is already locked) when it is created.

    ``connected`` gets the pid of each process that has connected to feed. RuntimeError: the system cannot start
    threads.
    """

    def __init__(self, address: Address, mailbox: int, connected: Callable[[int], None] = lambda pid: None) -> None:
        if not available(ZMQ_THREADS):
            raise RuntimeError(f"the sockets need threads: {NO_THREAD}")
        self.listener = Listener(connected)
        self._address = address
        self._made: dict[str, tuple[int, int]] = {}
        """by path: device and inode of each socket, as it was bound"""
        self._never_made: set[str] = set()
        """of these, what could not be bound so far"""
        self._bind_again: dict[str, Callable[[], None]] = {}
        """by path"""
        self.connections = self.listener.connections
        self._tcp: TcpFeeds | None = None
        self._barrier = b""
        """what is to be given out when all has been read"""
        self._users: dict[int, Door] | None = {}
        """bound for other users, some of which the loop may not read yet; None: closed"""
        self._users_lock = threading.Lock()
        before = os.umask(0o077)  # the sockets' own mode follows it
        try:
            door = Door(_path(address.feed), FEEDS_TERMS)
            self.connections.open(door)
            self.control = ControlSocket(self.connections, _path(address.control))
            self.events = EventSocket(self.connections, _path(address.events))
            for each in (door, self.control.door, self.events.door):
                self._bound(each.path, partial(self._open_again, each))
        except BaseException:
            self.listener.close()
            raise
        finally:
            os.umask(before)
        self.notify = NotifySockets(self._bound, self._unbound, self._unmade)
        self._mailbox = mailbox
        self._own = {self.listener.fileno(), self.notify.fileno()}
        self._polls = {True: select.poll(), False: select.poll()}
        """with the listener, and without"""
        self._polls[True].register(self.listener.fileno(), POLLIN)
        if self.notify.fileno() >= 0:
            self._polls[True].register(self.notify.fileno(), POLLIN)
        for poll in self._polls.values():
            poll.register(mailbox, POLLIN)
        after_fork(self)

    def queue_in(self, waiting: Waiting, refused: Counter[str]) -> None:
        """Messages that are read may wait there, by the process that has the connection. Where many do, or many are
        none of banken's, it is not read: they wait in the kernel, and then with their sender. ``refused``: how many
        of all were, by reason."""
        waiting.speaker, waiting.elsewhere = self.listener.speaker_pid, self.notify.waits
        self.listener.garbage = lambda: refused["garbage"] + refused["shape"]
        self.listener.rests = lambda connection: (
            connection.door.terms is FEEDS_TERMS and waiting.is_full(connection.door.principal, connection.pid)
        )

    def read_tcp(self, feeds: TcpFeeds) -> None:
        """Read these, too, from now on."""
        self._tcp = feeds
        self._own.add(feeds.fileno())
        self._polls[True].register(feeds.fileno(), POLLIN)

    def drain(
        self,
        read: Callable[[Iterator[bytes], AnyPrincipal], None],
        limit: int,
        seconds: float,
        fault: Callable[[Exception], None],
    ) -> tuple[int, bool]:
        """As ``Listener.drain``, of all sources."""
        count, complete = self.notify.drain(seconds / 2), True  # what is left concerns nobody else (``waits``)
        if self._tcp is not None:
            given, is_all = self._tcp.drain(read, limit, seconds / 2, fault)
            count, complete = count + given, complete and is_all
            if self._tcp.has_passed:
                self._tcp.has_passed = False
                self.listener.send_barrier(self._barrier)
        given, is_all = self.listener.drain(read, limit, seconds, fault)
        return count + given, complete and is_all

    def send_barrier(self, frame: bytes) -> None:
        """As ``Listener.send_barrier``, when what came by all other sources has been read. Of sd_notify that is
        done at once; where it is too much, whose it is waits for its verdict."""
        self._barrier = frame
        self.notify.catch_up()
        if self._tcp is not None:
            self._tcp.send_barrier()
        else:
            self.listener.send_barrier(frame)

    def bind_for(self, user: OtherUser) -> Door | None:
        """A feed socket for this user, in a directory of its own beside the address; None: there is one already, or
        all is closed. ``read`` makes the loop read it; who connects until then waits.

        From any thread, not the loop's if that can be: it uses the disk. OSError: it is not possible.
        """
        assert self._address.directory is not None
        end = resolve(directory_of_user(self._address.directory, user.uid))
        with self._users_lock:
            if self._users is None or user.uid in self._users:
                return None
            close_directory_of_user(end.text, user.uid)
            door = self._users[user.uid] = Door(_path(end.feed), FEEDS_TERMS, user)
            try:
                open_directory_of_user(end.text, user.uid)
            except BaseException:
                self._users.pop(user.uid).socket.close()
                raise

        def again() -> None:
            close_directory_of_user(end.text, user.uid)
            self.connections.open_again(door)
            open_directory_of_user(end.text, user.uid)

        self._bound(door.path, again)
        return door

    def read(self, door: Door) -> None:
        """The loop reads this one too, from now on."""
        self.connections.open(door)

    @property
    def have_requests(self) -> bool:
        """Whether requests or subscriptions have come."""
        return self.control.has_requests or self.events.has_subscriptions

    def watch(self, descriptor: int) -> None:
        """Also wake up when this descriptor is readable."""
        for poll in self._polls.values():
            poll.register(descriptor, POLLIN)

    def unsent(self) -> int:
        """Bytes that wait to be sent, of all connections."""
        return self.connections.unsent

    def wait(self, seconds: float, feeds: bool = True) -> Ready:
        """Sleep until something can be read, at most ``seconds``; without ``feeds``, no connection wakes it.

        The system waits for whole milliseconds. The rest is a sleep, so that a verdict is not half a millisecond
        late on average; a message that arrives during the sleep waits less than a millisecond.
        """
        poll = self._polls[feeds].poll
        now = monotonic()
        is_behind = self._tcp is not None and self._tcp.is_behind  # its descriptor does not say so
        due = 0.0 if self.have_requests or is_behind else self.listener.patience(now)
        if is_due := due < seconds or is_behind:
            seconds = max(0.0, due)
        whole = int(seconds * 1000)
        end = now + seconds
        found = poll(whole)
        if not found and (rest := end - monotonic()) > REST_MIN:
            sleep(rest)
            found = poll(0)
        if not found:
            return NOTHING if feeds and not is_due else FEEDS
        ready = {descriptor for descriptor, _ in found}
        others = ready - self._own
        if not others:
            return FEEDS
        mailbox = self._mailbox in others
        return Ready(not feeds or is_due or len(others) < len(ready), mailbox, len(others) > mailbox)

    def missing(self) -> list[str]:
        """The paths of sockets that were removed or replaced. Safe from any thread."""
        return [path for path, made in list(self._made.items()) if _identity(path) != made]

    def never_made(self, path: str) -> bool:
        """Whether this one could not be bound so far, as against one that was removed."""
        return path in self._never_made

    def bind_again(self, paths: list[str]) -> tuple[list[str], dict[str, str]]:
        """Bind these paths once more, on the loop's thread; connections stay. Those that are bound, and why others
        cannot be bound now, by path: they stay missing."""
        bound, faults = [], {}
        for path in paths:
            again = self._bind_again.get(path)
            if again is None:  # it was closed meanwhile
                continue
            try:
                again()
                self._made[path] = _identity(path) or (0, 0)
            except OSError as fault:  # the others are independent of it
                faults[path] = fault.strerror or str(fault)
            else:
                self._never_made.discard(path)
                bound.append(path)
        return bound, faults

    def close(self) -> None:
        """Unbind everything; the files stay."""
        with self._users_lock:
            users, self._users = self._users or {}, None
        self.notify.close()
        self.listener.close()
        for door in users.values():
            door.socket.close()

    def _forked(self) -> None:
        """In a forked child: close its copies. When this process has ended they would keep connections open, and
        workers would feed into these instead of the next supervisor. Pollers are left alone: both have the same."""
        for connection in self.connections.by_descriptor.values():
            connection.socket.close()
        for door in (*self.connections.doors.values(), *(self._users or {}).values()):
            door.socket.close()

    def _open_again(self, door: Door) -> None:
        self.connections.open_again(door)
        os.chmod(door.path, 0o700)

    def _bound(self, path: str, again: Callable[[], None]) -> None:
        self._bind_again[path] = again
        self._made[path] = _identity(path) or (0, 0)

    def _unmade(self, path: str, again: Callable[[], None]) -> None:
        self._never_made.add(path)
        self._bind_again[path] = again
        self._made[path] = (0, 0)  # whatever is there

    def _unbound(self, path: str) -> None:
        self._never_made.discard(path)
        self._made.pop(path, None)
        self._bind_again.pop(path, None)


def _path(endpoint: str) -> str:
    return endpoint.removeprefix("ipc://")


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode; None: there is nothing, or nothing that can be reached. A listener's inode is not used
    again while it is open."""
    try:
        found = os.lstat(path)
    except OSError:  # binding it again tells why: the way there is a file, a loop, or closed
        return None
    return found.st_dev, found.st_ino
