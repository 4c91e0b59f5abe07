"""The sockets of a whole simulation: what a worker has of ZeroMQ, and the wire.

A message goes: socket's queue -> (the sender's I/O thread) -> kernel of the host -> (the supervisor's I/O thread)
-> loop. What was not in the kernel when its process died, or its connection was cut, is lost; what was is read, in
order, unless the supervisor dies before. Each connection has a delay of its own, so that messages overtake each
other between connections, never within one.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from math import inf
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import zmq

from .whole_world import Process, World

if TYPE_CHECKING:
    from .whole_sockets import HostSockets

CONNECT_S, TRANSFER_S, DELIVER_S = 0.0002, 0.00003, 0.00005
KERNEL_BYTES = 200_000


class Wire:
    """All connections of the host. ``listener``: the supervisor's sockets, None while there is none."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.listener: HostSockets | None = None
        self.listeners = 0
        """how many there have been"""
        self.refuses = False
        """a process that connects has no descriptor left"""
        self.kernel_bytes = KERNEL_BYTES
        self.doubles = 0
        """so many messages arrive twice from now on"""
        self.is_deaf = False
        """no subscriber reads, and no more events are held for them"""
        self.delay: dict[int, float] = {}
        """by pid: seconds that its I/O thread is late with each message"""
        self.arrived: Callable[[Process, bytes, Link], None] = lambda process, frame, link: None
        self.links: list[Link] = []

    def module(self) -> SimpleNamespace:
        """In the place of ``zmq`` in a worker's modules."""
        names = {name: value for name, value in vars(zmq).items() if not name.startswith("__")}
        made = SimpleNamespace(**names)
        made.Context, made.Socket, made.Poller = lambda: Context(self), Socket, lambda: Poller(self.world)
        return made

    def deafen(self, *, on: bool) -> None:
        """No subscriber reads from now on, or all read again: they are told anew of what was lost to them."""
        self.is_deaf = on
        for link in self.links if not on else ():
            while link.open and link.socket.missed:
                link.listener.events.subscribed(link.socket.missed.popitem()[0])

    def came(self, listener: HostSockets) -> None:
        self.listener = listener
        self.listeners += 1

    def feed_socket(self, address: object) -> tuple[int, int] | None:
        """As in banken.client.sender."""
        return None if self.listener is None else (self.listeners, 0)

    def went(self, listener: HostSockets) -> None:
        """The supervisor's sockets are closed, or it is dead."""
        if self.listener is listener:
            self.listener = None
            for link in self.links:
                link.cut()
            self.links.clear()


class Link:
    """One connection."""

    def __init__(self, socket: Socket, listener: HostSockets) -> None:
        self.socket, self.listener, self.open = socket, listener, True
        self.pipe: deque[bytes] = deque()
        self.taken = 0
        """messages that the sender has handed over on this connection"""
        self.moved = 0
        """of which so many are in the kernel"""
        self.bytes = 0
        self._moving = False

    def put(self, frame: bytes) -> None:
        self.pipe.append(frame)
        self.taken += 1
        self.move_soon()

    def move_soon(self) -> None:
        if not self._moving and self.open:
            self._moving = True
            wire, process = self.socket.wire, self.socket.process
            late = TRANSFER_S + wire.delay.get(process.pid, 0.0)
            wire.world.after(late, lambda: process.do(self._move))

    def _move(self) -> None:
        self._moving = False
        wire = self.socket.wire
        while self.open and self.pipe and self.bytes + len(self.pipe[0]) <= wire.kernel_bytes:
            frame = self.pipe.popleft()
            self.moved += 1
            for _ in range(2 if wire.doubles else 1):
                self.bytes += len(frame)
                self.listener.arrive(frame, self)
            wire.doubles = max(0, wire.doubles - 1)
            wire.arrived(self.socket.process, frame, self)

    def cut(self) -> None:
        """Both ends see the end; what the kernel has is still read, what it has not is lost."""
        if self.open:
            self.open = False
            self.pipe.clear()
            process = self.socket.process
            self.socket.wire.world.after(DELIVER_S, lambda: process.do(lambda: self.socket.lost(self)))


class Context:
    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.linger = -1
        self.sockets: list[Socket] = []
        self.inproc: dict[str, Socket] = {}

    def socket(self, kind: int) -> Socket:
        made = Socket(self, kind)
        self.sockets.append(made)
        return made

    def term(self) -> None:
        """Wait until what was sent has left, as long as each socket lingers."""
        world = self.wire.world
        until = max((each.linger_until for each in self.sockets), default=0.0)
        while any(each.link and each.link.pipe for each in self.sockets) and world.now < until:
            world.sleep(min(0.0005, until - world.now))
        for each in self.sockets:
            if each.link:
                each.link.cut()

    def destroy(self, linger: int = 0) -> None:
        for each in self.sockets:
            each.close(linger)
        self.term()


class Sending:
    """So that ``super(zmq.Socket, socket).send`` finds something."""

    def send(self, frame: bytes, flags: int = 0) -> None:
        raise NotImplementedError


class Carrying(Sending):
    """What a socket sends."""

    kind: int
    link: Link | None
    peer: Socket | None
    early: deque[list[bytes]]
    """what was sent before the peer was there"""
    hwm: int
    wire: Wire

    def send(self, frame: bytes, flags: int = 0) -> None:
        self.wire.world.passes("send")
        if self.kind == zmq.PAIR:
            queue = self.early if self.peer is None else self.peer.queue
            queue.append([frame])
            if self.peer is not None:
                self.peer.wake()
        elif self.link is None or not self.link.open or len(self.link.pipe) >= self.hwm:
            raise zmq.Again
        else:
            self.link.put(frame)


class Socket(Carrying):
    """PUSH, SUB, a PAIR within the process, and the DEALER by which a sender sees that its thread has written."""

    def __init__(self, context: Context, kind: int) -> None:
        self.context, self.kind, self.wire = context, kind, context.wire
        task = self.wire.world.task
        assert task is not None
        self.process = task.process
        self.link: Link | None = None
        self.peer: Socket | None = None
        self.hwm = 1000
        self.closed = False
        self.linger_until = 0.0
        self.queue: deque[list[bytes]] = deque()
        self.early = deque()
        self.topics: dict[bytes, None] = {}
        self.missed: dict[bytes, None] = {}
        """those of its topics of which an event was lost to it"""
        self.linked_at = inf
        self.monitor: Socket | None = None
        self._waiting: list[Callable[[], None]] = []
        self._endpoint = ""
        self._pause = 0.05
        self._random = random.Random(self.process.pid * 1000 + len(context.sockets))

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(0)

    def setsockopt(self, option: int, value: Any) -> None:
        if option == zmq.SNDHWM:
            self.hwm = value
        elif option in (zmq.SUBSCRIBE, zmq.UNSUBSCRIBE):
            has = option == zmq.SUBSCRIBE
            if has:
                self.topics[value] = None
            else:
                self.topics.pop(value, None)
            if self.link and has:
                self.link.listener.events.subscribed(value)

    def bind(self, endpoint: str) -> None:
        self.context.inproc[endpoint] = self

    def connect(self, endpoint: str) -> None:
        world = self.wire.world
        if endpoint.startswith("inproc:"):
            self.peer = self.context.inproc[endpoint]
            self.peer.peer = self
            self.queue.extend(self.peer.early)
        elif self.kind == zmq.DEALER:  # its end is told when the I/O thread has come to it
            late = 1.5 * TRANSFER_S + self.wire.delay.get(self.process.pid, 0.0)
            world.after(late, lambda: self.process.do(self._refused))
        else:
            self._endpoint = endpoint
            world.after(CONNECT_S, lambda: self.process.do(self._try))

    def _refused(self) -> None:
        if self.monitor is not None:
            self.monitor.queue.append([b""])
            self.monitor.wake()

    def _try(self) -> None:
        if self.closed or self.link is not None:
            return
        listener = self.wire.listener
        if listener is None or self.wire.refuses:
            pause, self._pause = self._pause, min(1.0, 2 * self._pause)
            self.wire.world.after(pause * self._random.uniform(1.0, 1.5), lambda: self.process.do(self._try))
            return
        self._pause = 0.05
        self.link = Link(self, listener)
        self.linked_at = self.wire.world.now
        self.wire.links.append(self.link)
        if self.kind == zmq.SUB:
            listener.events.listeners.append(self)
            for topic in self.topics:
                listener.events.subscribed(topic)
        self.wake()

    def lost(self, link: Link) -> None:
        if self.link is link and not self.closed:
            self.link = None
            self.wire.world.after(0.05, lambda: self.process.do(self._try))

    def deliver(self, parts: list[bytes]) -> None:
        """An event arrives at a subscriber."""
        if self.wire.is_deaf:
            if parts[0] in self.topics:
                self.missed[parts[0]] = None
        elif not self.closed:
            self.queue.append(parts)
            self.wake()

    def poll(self, timeout: int | None = None, flags: int = zmq.POLLIN) -> int:
        if flags == zmq.POLLOUT:
            return int(self.link is not None and self.link.open and len(self.link.pipe) < self.hwm)
        world = self.wire.world
        until = inf if timeout is None else world.now + timeout / 1000
        while not self.queue and world.now < until:
            self.wake_with(world.wait(until)(True))
            world.block()
        return int(bool(self.queue))

    def recv_multipart(self) -> list[bytes]:
        return self.queue.popleft()

    def recv(self) -> bytes:
        return self.queue.popleft()[0]

    def get_monitor_socket(self, events: int, address: str) -> Socket:
        self.monitor = Socket(self.context, zmq.PAIR)
        return self.monitor

    def wake_with(self, waker: Callable[[], None]) -> None:
        self._waiting.append(waker)

    def wake(self) -> None:
        for each in self._waiting:
            self.wire.world.after(0.0, each)
        self._waiting.clear()

    def close(self, linger: int = 0) -> None:
        self.closed = True
        self.linger_until = self.wire.world.now + linger / 1000
        if self.link and self.kind == zmq.SUB:
            self.link.cut()


class Poller:
    def __init__(self, world: World) -> None:
        self._world = world
        self.sockets: list[tuple[Socket, int]] = []

    def register(self, socket: Socket, flags: int) -> None:
        self.sockets.append((socket, flags))

    def poll(self, timeout: int | None = None) -> list[tuple[Socket, int]]:
        world = self._world
        until = inf if timeout is None else world.now + timeout / 1000
        while not (ready := [each for each in self.sockets if each[0].queue]) and world.now < until:
            make = world.wait(until)
            for socket, _ in self.sockets:
                socket.wake_with(make(True))
            world.block()
        return ready
