"""A feed socket: one-way messages of processes that may enter its directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, repeat
from operator import length_hint
from time import monotonic

import zmq

from banken.protocol.limits import DROP_MAX
from banken_supervisor.engine.principal import OtherUser, Principal

FEED_QUEUE_MAX = 10_000
"""Feeds held per connection between libzmq's thread and the loop."""

SLICE = 200
SLICE_MAX = 2_000
SLICE_S = 0.001
"""Feeds between two looks at the clock: few, and twice as many each time while they take less than a millisecond.
Those that need decoding take a hundred times longer than those that are known."""

Read = Callable[[Iterator[bytes], Principal | OtherUser], None]
"""Takes messages of one principal: all that the iterator gives."""

_MONITOR = "inproc://accepted"

_DONTWAIT = int(zmq.DONTWAIT)
_POLLIN = int(zmq.POLLIN)
_EVENTS = int(zmq.EVENTS)


class FeedSource:
    """A PULL socket, bound at construction.

    ``principal``: who speaks here, by the source's own knowledge and not by what a message claims. ``accepted``: a
    PAIR socket that is to say which connections are made (processes/peer_credentials.py).
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        principal: Principal | OtherUser = Principal.LOCAL,
        accepted: zmq.Socket[bytes] | None = None,
    ) -> None:
        self.principal = principal
        socket = self.socket = context.socket(zmq.PULL)
        for option, value in ((zmq.LINGER, 100), (zmq.MAXMSGSIZE, DROP_MAX), (zmq.RCVHWM, FEED_QUEUE_MAX)):
            socket.setsockopt(option, value)
        if accepted is not None:  # before the first connection
            socket.monitor(_MONITOR, zmq.EVENT_ACCEPTED | zmq.EVENT_MONITOR_STOPPED)
            accepted.setsockopt(zmq.RCVHWM, 0)  # a full queue would hold up libzmq's thread
            accepted.connect(_MONITOR)
        socket.bind(endpoint)
        self._prober = context.socket(zmq.PUSH)
        self._prober.setsockopt(zmq.LINGER, 0)
        self._prober.connect(endpoint)
        self._receive = socket.recv
        self._get = socket.get

    def drain(self, read: Read, limit: int, seconds: float, fault: Callable[[Exception], None]) -> tuple[int, bool]:
        """Let ``read`` take at most ``limit`` feeds, and no more after ``seconds``. How many there were, and
        whether they were all.

        ``fault`` gets what ``read`` raises; the feed that did it is lost, and those behind it are read.
        """
        try:
            first = self._receive(_DONTWAIT)
        except zmq.Again:
            return 0, True
        # To ask whether there is another one costs 1 µs; to try and get an exception, 7 µs.
        if not int(self._get(_EVENTS)) & _POLLIN:
            try:
                read(iter((first,)), self.principal)
            except Exception as raised:  # noqa: BLE001  # the next one is independent of it
                fault(raised)
            return 1, True
        given, portion = 0, SLICE
        looked = monotonic()
        until = looked + seconds
        while given < limit:
            some = min(portion, limit - given)
            flags = repeat(_DONTWAIT, some if given else some - 1)
            frames: Iterator[bytes] = map(self._receive, flags)
            try:
                read(frames if given else chain((first,), frames), self.principal)
            except zmq.Again:
                return given + some - length_hint(flags) - 1, True
            except Exception as raised:  # noqa: BLE001  # the next one is independent of it
                fault(raised)
                some = max(1, some - length_hint(flags))
            given += some
            before, looked = looked, monotonic()
            if looked >= until:
                break
            portion = min(2 * portion, SLICE_MAX) if looked - before < SLICE_S else SLICE
        return given, False

    def send_barrier(self, frame: bytes) -> None:
        """Send the loop a message the way that feeds go. When it comes back, all that the kernel had before has
        been read (engine/barrier.py)."""
        try:
            self._prober.send(frame, _DONTWAIT)
        except zmq.Again:
            return  # it counts as lost, and the barrier sends another

    def stop_monitor(self) -> None:
        """Report no connection any more: a reader of ``accepted`` finds the end."""
        if not self.socket.closed:
            self.socket.monitor(None, 0)

    def close(self) -> None:
        """Unbind."""
        for socket in (self.socket, self._prober):
            socket.close(0)
