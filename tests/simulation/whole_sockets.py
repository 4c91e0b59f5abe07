"""The supervisor's sockets in a whole simulation: what the loop has for them (runtime/loop.py)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from banken_supervisor.engine.principal import Principal, Refusal
from banken_supervisor.sources.sockets import FEEDS, NOTHING, Ready

from .whole_net import DELIVER_S, TRANSFER_S, Link, Socket, Wire
from .whole_world import Process

TURN_S = 0.00002
"""Seconds that a turn of the loop takes at least."""


class HostEvents:
    """The event socket."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.listeners: list[Socket] = []
        self.new: dict[bytes, None] = {}
        self.published: Callable[[bytes, bytes], None] = lambda topic, body: None
        self.has_subscribers = True
        self.wake: Callable[[], None] = lambda: None

    def subscribed(self, topic: bytes) -> None:
        def arrive() -> None:
            self.new[topic] = None
            self.wake()

        self._wire.world.after(DELIVER_S, arrive)

    def publish(self, topic: bytes, body: bytes) -> None:
        world = self._wire.world
        world.passes("publish")
        self.published(topic, body)
        for each in self.listeners:
            if each.link and each.link.open and any(topic.startswith(one) for one in each.topics):
                world.after(DELIVER_S, lambda to=each: to.process.do(lambda: to.deliver([topic, body])))

    @property
    def has_subscriptions(self) -> bool:
        return bool(self.new)

    def subscriptions(self) -> list[bytes]:
        found, self.new = list(self.new), {}
        return found


class HostControl:
    """The control socket: nobody asks."""

    has_requests = False

    def requests(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(())


class HostConnections(dict[int, object]):
    """Those of the feed socket: none is refused."""

    def __init__(self) -> None:
        self.refusals: list[Refusal] = []
        self.most = 100


class HostNotify:
    """Nothing in this world speaks by sd_notify."""

    def __init__(self) -> None:
        self.handle: Callable[[object], bool] = lambda datagram: True
        self.fault: Callable[[Exception], None] = lambda error: None

    def look_again(self) -> None:
        pass

    def catch_up(self) -> None:
        pass

    def path(self, name: str) -> str | None:
        return None

    def names(self) -> list[str]:
        return []

    def open(self, name: str, path: str, uid: int | None = None) -> str:
        raise OSError("no sockets of sd_notify here")

    def open_pipe(self, name: str) -> int:
        raise OSError("no pipes here")


class HostSockets:
    """What the loop has for its sockets, see runtime/loop.py. ``woke`` hears of each wait's end."""

    def __init__(self, wire: Wire, process: Process, mailbox: int) -> None:
        self._wire, self._world, self.process = wire, wire.world, process
        self.events, self.control, self.connections = HostEvents(wire), HostControl(), HostConnections()
        self.notify = HostNotify()
        self.events.wake = self.wake
        self._mailbox = mailbox
        self._others: list[int] = []
        self._kernel: deque[tuple[bytes, Link | None]] = deque()
        self._frames: deque[tuple[bytes, Link | None]] = deque()
        """what its I/O thread has taken from the kernel: a source may have such a thread, as libzmq's do"""
        self._moving = False
        self._waker: Callable[[], None] | None = None
        self._feeds_wake = True
        self.closed = False
        process.ended.append(self.close)
        wire.came(self)

    def arrive(self, frame: bytes, link: Link | None = None) -> None:
        """A message is in the kernel."""
        self._kernel.append((frame, link))
        if not self._moving:
            self._moving = True
            self._world.after(TRANSFER_S, lambda: self.process.do(self._move))

    def _move(self) -> None:
        if self.process.resumed == self._world.now:  # after a stop the loop may be quicker
            self._world.after(TRANSFER_S, lambda: self.process.do(self._move))
            return
        self._moving = False
        self._frames.extend(self._kernel)
        self._kernel.clear()
        if self._feeds_wake:
            self.wake()

    def send_barrier(self, frame: bytes) -> None:
        self._world.passes("barrier")
        self._world.after(TRANSFER_S, lambda: self.process.do(lambda: self.arrive(frame)))

    @property
    def have_requests(self) -> bool:
        return self.events.has_subscriptions

    def queue_in(self, waiting: object, refused: object) -> None:
        pass

    def unsent(self) -> int:
        return 0

    def watch(self, descriptor: int) -> None:
        self._others.append(descriptor)

    def wake(self) -> None:
        waker, self._waker = self._waker, None
        if waker is not None:
            self._world.after(TURN_S, waker)

    def wait(self, seconds: float, feeds: bool = True) -> Ready:
        world = self._world
        world.passes("wait")
        self._feeds_wake = feeds
        ready = self._ready(True)
        wait = max(seconds, TURN_S) if ready is NOTHING or (ready is FEEDS and not feeds) else TURN_S
        self._waker = world.wait(world.now + wait)(True)
        world.block()
        self._waker = None
        self._feeds_wake = True
        return self._ready(feeds)

    def _ready(self, feeds: bool) -> Ready:
        world = self._world
        others = any(world.readable[each]() for each in self._others if each in world.readable)
        mailbox, events, fed = world.readable[self._mailbox](), bool(self.events.new), bool(self._frames)
        if not (others or mailbox or events):
            return FEEDS if fed or not feeds else NOTHING
        return Ready(fed or not feeds or events, mailbox, others)

    def drain(
        self, read: Callable[..., None], limit: int, seconds: float, fault: Callable[[Exception], None]
    ) -> tuple[int, bool]:
        frames, count = self._frames, 0
        while frames and count < limit:
            frame, link = frames.popleft()
            count += 1
            self._world.passes("read")
            try:
                read(iter((frame,)), Principal.LOCAL)
            except Exception as raised:
                fault(raised)
            if link is not None:
                link.bytes -= len(frame)
                link.move_soon()
        return count, not frames

    def missing(self) -> list[str]:
        return []

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._frames.clear()
            self._kernel.clear()
            self._wire.went(self)
