"""Where daemons say what they know of themselves as for systemd (sd_notify(3)): a socket for each name.

One socket for all would not do: it would have to know the sender by its pid, and the sender may have ended by then,
may be a helper, or may run in a container; and its queue is short (``net.unix.max_dgram_qlen``, often 10): one that
floods it would block all others. So the socket is the name, whoever sends.

A thread reads all of them at once, whatever the loop does, notes when each datagram came, and queues what it says
for the loop. A plain feed replaces one that still waits, and who sends more datagrams a second than may be read, or
has too many descriptors here (which come with BARRIER=1), waits in the kernel: that holds up itself alone.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic, sleep

from banken.threads import NO_THREAD, start_daemon
from banken_supervisor.sources.notify_datagram import Datagram, bind, fitting, receive
from banken_supervisor.sources.notify_door import Awaited, Door, Pipe, WaitingDescriptors, make_pipe
from banken_supervisor.sources.notify_fields import PLAIN_FEED
from banken_supervisor.sources.poller import POLLIN, make_poller

SUPPORTED = hasattr(socket, "SO_PASSCRED") and hasattr(os, "eventfd")

QUEUE_MAX = 1_000
"""Datagrams of one socket that wait for the loop; beyond that they wait in the kernel."""

PORTION = 100
"""Datagrams that are read from one socket before the others have their turn."""

CATCH_UP_S = 0.02
"""Seconds that ``catch_up`` takes, at most."""

READY_MAX = 64
"""Sockets that are looked at in one turn of the thread."""

REST_S = 0.02
"""Seconds until a socket is read again that was read too often, or of which too much waits."""


class NotifySockets:
    """Opened and closed from any thread; drained by the loop's. Without one that is open it costs nothing.

    ``bound`` and ``unbound`` are told the path of each, and how it is bound again; ``unmade`` of an awaited one.
    ``handle`` gets each datagram on the loop's thread, whose descriptors are closed afterwards; False: not now.
    """

    def __init__(
        self,
        bound: Callable[[str, Callable[[], None]], None] = lambda path, again: None,
        unbound: Callable[[str], None] = lambda path: None,
        unmade: Callable[[str, Callable[[], None]], None] = lambda path, again: None,
    ) -> None:
        self.handle: Callable[[Datagram], bool] = lambda datagram: True
        self.fault: Callable[[Exception], None] = lambda error: None
        """is told of an exception of ``handle``, which costs one datagram"""
        self._bound, self._unbound = bound, unbound
        self._lock = threading.RLock()
        self._doors: dict[str, Door] = {}
        self.awaited = Awaited(self.open, unmade, unbound)
        self._by_fd: dict[int, Door | Pipe] = {}
        self._pipes: dict[str, Pipe] = {}
        """the newest of each name"""
        self._lines: deque[Pipe] = deque()
        """those whose line waits; a name may have a pipe and no socket"""
        self._descriptors = WaitingDescriptors()
        self._turns: deque[str] = deque()
        """names of which something waits"""
        self._thread: threading.Thread | None = None
        self._resting = 0
        """how many sockets rest"""
        self._closed = self._has_news = False
        self._poller = make_poller() if SUPPORTED else None
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) if SUPPORTED else -1
        self._news = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) if SUPPORTED else -1
        if self._poller is not None:
            self._poller.register(self._wake, POLLIN)

    def fileno(self) -> int:
        """Readable when there is something for ``drain``; -1: this system has no such sockets."""
        return self._news

    def open(self, name: str, path: str, uid: int | None = None) -> str:
        """Bind the socket of this name, unless that is done; its path. ``path``: where it is to be; if that is too
        long for a socket, a shorter one beside it. ``uid``: the user that may send; None: this process's.

        OSError: it is not possible.
        """
        if not SUPPORTED:
            raise OSError("this system does not tell who sends a datagram")
        path = fitting(path)
        door = self._doors.get(name)
        if door is not None and door.path == path:
            return path
        door = Door(name, path, bind(path, uid))
        self.close_one(name)  # of another path; not before: it stays if this one cannot be bound
        with self._lock:
            if self._closed:
                door.socket.close()
                raise OSError("the supervisor ends")
            self._doors[name] = self._by_fd[door.socket.fileno()] = door
            assert self._poller is not None
            try:
                self._poller.register(door.socket.fileno(), POLLIN)
                self._start()
            except OSError:
                self._remove(name)
                raise
        self._bound(path, lambda: self._bind_again(name, path, uid))
        return path

    def close_one(self, name: str) -> None:
        """Unbind the socket of this name, if there is one, and await none."""
        with self._lock:
            self.awaited.drop(name)
            door = self._doors.get(name)
            if door is not None:
                self._unbound(door.path)
                self._remove(name)

    def open_pipe(self, name: str) -> int:
        """A pipe to which a program writes a line when it is ready: the end for its process, which the caller
        closes. ``handle`` gets it as READY. OSError.
        """
        if not SUPPORTED:
            raise OSError("this system has no epoll and eventfd")
        ours, its = make_pipe()
        with self._lock:
            try:
                self._start()
                assert self._poller is not None
                self._poller.register(ours, POLLIN)
            except OSError:
                os.close(ours)
                os.close(its)
                raise
            self._close_pipe(name)
            self._pipes[name] = self._by_fd[ours] = Pipe(name, ours)  # a line of the former one counts no more
        return its

    def path(self, name: str) -> str | None:
        """Where the socket of this name is; None: there is none."""
        door = self._doors.get(name)
        return None if door is None else door.path

    def names(self) -> list[str]:
        """Whose sockets are open, or awaited."""
        return [*self._doors, *self.awaited.paths]

    # -- the loop's thread ----------------------------------------------------------------------------

    def look_again(self) -> None:
        """What was not to be taken may be taken now."""
        if self._turns or self._lines:
            self._tell_loop()

    def catch_up(self) -> None:
        """Handle what has reached the kernel by now, of each name in turn: before a verdict, and before the end of
        a process. Where that is too much, ``waits`` says of whom."""
        until = monotonic() + CATCH_UP_S
        if self._poller is not None and self._by_fd:
            with self._lock:
                ready = {self._by_fd.get(each) for each, _ in self._poller.poll(0, len(self._by_fd) + 1)}
                for source in ready:
                    if isinstance(source, Pipe):
                        self._read_pipe(source)
                for door in self._doors.values():
                    door.behind = door in ready or door.rests
                doors = {each for each in self._doors.values() if each.behind}
            while doors and monotonic() < until:
                with self._lock:
                    for door in doors:
                        self._read(door, limited=False)
                self.drain(max(0.0, until - monotonic()))
                doors = {each for each in doors if each.behind}
        self.drain(max(0.0, until - monotonic()))

    def waits(self, name: str) -> int:
        """How many datagrams of this name are known to wait."""
        door, pipe = self._doors.get(name), self._pipes.get(name)
        lines = int(pipe is not None and pipe.line is not None)
        return lines if door is None else lines + len(door.queue) + door.behind

    def drain(self, seconds: float) -> int:
        """Handle what waits, of each name in turn, for at most so long. How many there were."""
        if not self._has_news:
            return 0
        self._has_news = False
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._news)
        count, until = 0, monotonic() + seconds
        for _ in range(len(self._lines)):  # at most one of each start of a program
            pipe = self._lines.popleft()
            if pipe.line is None or self._pipes.get(pipe.name) is not pipe:
                continue
            if self._give(pipe.line):
                pipe.line = None
                count += 1
            else:
                self._lines.append(pipe)
        deferred = []
        while self._turns:
            name = self._turns.popleft()
            door = self._doors.get(name)
            if door is None or not door.queue:
                continue
            with self._lock:
                datagram = door.queue.popleft()
            if not self._give(datagram):
                with self._lock:
                    if self._doors.get(name) is not door:  # it was closed meanwhile
                        self._descriptors.close(door, datagram)
                    else:
                        door.queue.appendleft(datagram)
                        deferred.append(name)
                continue
            if datagram.descriptors:
                with self._lock:
                    self._descriptors.close(door, datagram)
            count += 1
            if door.queue:
                self._turns.append(name)
            if monotonic() >= until and self._turns:
                self._tell_loop()
                break
        self._turns.extend(deferred)
        return count

    def close(self) -> None:
        """Close all; the files stay for the next supervisor, whose own replace them."""
        with self._lock:
            self._closed = True
            for door in self._doors.values():
                self._drop(door)
            self._doors.clear()
            for name in list(self._pipes):
                self._close_pipe(name)
        if self._thread is not None:
            self._signal(self._wake)
            self._thread.join(1.0)
        if self._poller is not None:
            self._poller.close()
            for each in (self._wake, self._news):
                os.close(each)
            self._poller = None

    # -- inside -------------------------------------------------------------------------------------

    def _give(self, datagram: Datagram) -> bool:
        """Have it handled; False: it is not to be taken now."""
        try:
            return self.handle(datagram)
        except Exception as error:  # noqa: BLE001  # the next one is independent of it
            self.fault(error)
            return True

    def _bind_again(self, name: str, path: str, uid: int | None) -> None:
        """OSError: that is not possible, and all is as before."""
        with self._lock:
            door = self._doors.get(name)
            if self._poller is None or door is None or door.path != path:
                return
            made = bind(path, uid)
            try:
                self._poller.register(made.fileno(), POLLIN)
            except OSError:
                made.close()
                raise
            for _ in range(QUEUE_MAX // PORTION):  # what was sent to the former one
                self._read(door, limited=False)
                if not door.behind:
                    break
            self._poller.unregister(door.socket.fileno())
            del self._by_fd[door.socket.fileno()]
            door.socket.close()
            door.socket, door.rests, door.behind = made, False, False
            self._by_fd[made.fileno()] = door

    def _remove(self, name: str) -> None:
        door = self._doors.pop(name)
        self._drop(door)
        with contextlib.suppress(OSError):
            os.unlink(door.path)

    def _drop(self, door: Door) -> None:
        if self._poller is not None:
            with contextlib.suppress(OSError, KeyError):
                self._poller.unregister(door.socket.fileno())
        self._by_fd.pop(door.socket.fileno(), None)
        door.socket.close()
        for datagram in door.queue:
            self._descriptors.close(door, datagram)
        door.queue.clear()

    def _close_pipe(self, name: str) -> None:
        pipe = self._pipes.get(name)
        if pipe is not None and pipe.end >= 0:
            if self._poller is not None:
                self._poller.unregister(pipe.end)
            del self._by_fd[pipe.end]
            os.close(pipe.end)
            pipe.end = -1

    def _start(self) -> None:
        """OSError: no thread is to be had."""
        if self._thread is None:
            self._thread = start_daemon(self._run, "banken-notify")
            if self._thread is None:
                raise OSError(NO_THREAD)

    def _tell_loop(self) -> None:
        self._signal(self._news)
        self._has_news = True  # in this order: else the loop might find nothing to read, and be woken for ever

    def _signal(self, descriptor: int) -> None:
        with contextlib.suppress(OSError):  # closed
            os.eventfd_write(descriptor, 1)

    # -- on the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        assert self._poller is not None
        rests = False
        while not self._closed:
            try:
                ready = self._poller.poll(REST_S if rests else -1, READY_MAX)
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
                with self._lock:
                    rests = self._turn([descriptor for descriptor, _ in ready])
            except (OSError, ValueError, MemoryError):  # closed meanwhile, or the system is short of something
                sleep(REST_S)

    def _turn(self, ready: list[int]) -> bool:
        """Read what can be read. Whether one rests."""
        if self._closed:
            return False
        for descriptor in ready:
            source = self._by_fd.get(descriptor)
            if isinstance(source, Pipe):
                self._read_pipe(source)
            elif source is not None:
                self._read(source, limited=True)
        return self._end_rests()

    def _end_rests(self) -> bool:
        """Whether one rests still."""
        assert self._poller is not None
        now, resting = monotonic(), 0
        for door in self._doors.values():
            may_be_read = door.rests and len(door.queue) < QUEUE_MAX and self._descriptors.leave_room(door)
            if may_be_read and door.earn(now, self._resting) > PORTION:
                door.rests = False
                self._poller.modify(door.socket.fileno(), POLLIN)
            resting += door.rests
        self._resting = resting
        return resting > 0

    def _read_pipe(self, pipe: Pipe) -> None:
        if pipe.read():
            self._close_pipe(pipe.name)
        if pipe.line is not None:
            self._lines.append(pipe)
            self._tell_loop()

    def _queue(self, door: Door, datagram: Datagram) -> None:
        door.queue.append(datagram)
        if len(door.queue) == 1:
            self._turns.append(door.name)
            self._tell_loop()

    def _read(self, door: Door, *, limited: bool) -> None:
        """Read a portion; ``limited``: within its rate."""
        allowed = min(PORTION, QUEUE_MAX - len(door.queue))
        if limited:
            allowed = min(allowed, int(door.earn(monotonic(), self._resting)))
        room = door.behind = True
        for _ in range(allowed):
            if not (room := self._descriptors.leave_room(door)):
                break
            datagram = receive(door.name, door.socket)
            if datagram is None:
                door.behind = False
                return
            door.tokens -= 1
            self._descriptors.add(door, datagram)
            last = door.queue[-1] if door.queue else None
            if last is not None and last.said is PLAIN_FEED is datagram.said and last.pid == datagram.pid:
                door.queue[-1] = datagram
            else:
                self._queue(door, datagram)
        if limited and (allowed < PORTION or not room) and not door.rests:
            assert self._poller is not None
            door.rests = True
            self._poller.modify(door.socket.fileno(), 0)
