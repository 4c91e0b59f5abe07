"""The supervisor's sockets. Bytes in, bytes out; what they mean is decided elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from operator import length_hint
from time import monotonic
from typing import Any, NamedTuple

import zmq

from banken.address import Address
from banken.control import EVENT_QUEUE_MAX
from banken.protocol.limits import DROP_MAX, NAME_MAX, REQUEST_MAX
from banken.threads import NO_THREAD, ZMQ_THREADS, available

FEED_QUEUE_MAX = 10_000
"""Feeds held per connection between libzmq's thread and the loop."""

SLICE = 200
"""Feeds between two looks at the clock."""

REQUESTS_PER_TURN = 50
"""So that a flood of requests cannot keep the loop from its feeds."""

PARTS_MAX = 4
"""Parts of one message that are kept; a request has two."""

PARTS_PER_TURN = 1000
"""Parts of one message that are read in one turn: a million of them must not keep the loop from its feeds."""

REPLY_QUEUE_MAX = 100
"""Replies held for an asker that does not read them; further ones are lost. libzmq tells of what was read only when
it is half of that, so that fifty may be on their way to one that does read."""

SUBSCRIPTIONS_PER_TURN = 200

TOPIC_MAX = NAME_MAX + 1
"""Bytes of the longest topic: a name and its zero byte."""

TOPICS_MAX = 100_000
"""Topics that are remembered. Beyond that somebody is taken to listen always."""

REST_MIN = 0.00005
"""Seconds below which no sleep is worth its own cost."""

_MONITOR = "inproc://accepted"

_DONTWAIT = int(zmq.DONTWAIT)
_POLLIN = int(zmq.POLLIN)


class Ready(NamedTuple):
    """What has something to read."""

    feeds: bool
    control: bool
    subscriptions: bool
    mailbox: bool
    others: bool
    """any descriptor given to ``watch``"""


class Sockets:
    """Binds ``address`` (a directory that is already locked) at construction.

    RuntimeError: the system gives no threads.
    """

    def __init__(self, address: Address, mailbox: int) -> None:
        # One I/O thread: the probe proves that everything sent before it has been read only if both take the
        # same thread (core/hold.py).
        if not available(ZMQ_THREADS):
            raise RuntimeError(f"the sockets need threads: {NO_THREAD}")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self.accepted: zmq.Socket[bytes] = self._context.socket(zmq.PAIR)
        """tells of connections to the feed socket (peers.py)"""
        before = os.umask(0o077)  # the sockets' own mode follows it
        try:
            self._feeds = self._bind(zmq.PULL, address.feed, {zmq.RCVHWM: FEED_QUEUE_MAX}, monitor=True)
            asking = {zmq.MAXMSGSIZE: REQUEST_MAX, zmq.SNDHWM: REPLY_QUEUE_MAX}
            self._control = self._bind(zmq.ROUTER, address.control, asking)
            # Verbose: a second listener's subscription is told too, for it may need the open incident.
            publishing = {zmq.XPUB_VERBOSE: 1, zmq.SNDHWM: EVENT_QUEUE_MAX, zmq.MAXMSGSIZE: 1 + TOPIC_MAX}
            self._events = self._bind(zmq.XPUB, address.events, publishing)
            self._prober = self._context.socket(zmq.PUSH)
            self._prober.setsockopt(zmq.LINGER, 0)
            self._prober.connect(address.feed)
        except BaseException:
            self._context.destroy(0)
            raise
        finally:
            os.umask(before)
        self._mailbox = mailbox
        self._receive = self._feeds.recv
        rest: list[tuple[Any, int]] = [(self._control, _POLLIN), (self._events, _POLLIN), (mailbox, _POLLIN)]
        self._polled = {True: [(self._feeds, _POLLIN), *rest], False: list(rest)}
        self._parts: list[bytes] = []
        """of the request that is being read"""
        self._topics: set[bytes] = set()
        self._crowded = False
        self._others: list[int] = []

    def _bind(
        self, kind: int, endpoint: str, options: Mapping[Any, int], *, monitor: bool = False
    ) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 100)
        socket.setsockopt(zmq.MAXMSGSIZE, DROP_MAX)
        for option, value in options.items():
            socket.setsockopt(option, value)
        if monitor:  # before the first connection
            socket.monitor(_MONITOR, zmq.EVENT_ACCEPTED | zmq.EVENT_MONITOR_STOPPED)
            self.accepted.setsockopt(zmq.RCVHWM, 0)  # a full queue would hold up libzmq's thread
            self.accepted.connect(_MONITOR)
        socket.bind(endpoint)
        return socket

    def watch(self, descriptor: int) -> None:
        """Wake up for this one too, when it can be read."""
        self._others.append(descriptor)
        for polled in self._polled.values():
            if (descriptor, _POLLIN) not in polled:
                polled.append((descriptor, _POLLIN))

    def wait(self, seconds: float, *, feeds: bool = True) -> Ready:
        """Sleep until something can be read, at most ``seconds``; without ``feeds``, feeds do not wake it.

        ZeroMQ waits whole milliseconds. The rest of the last one is slept through, so that a deadline in it is not
        met late by half a millisecond on average; what arrives meanwhile waits as long at the most.
        """
        whole = int(seconds * 1000)
        end = time.monotonic() + seconds
        ready: dict[Any, int] = dict(zmq.zmq_poll(self._polled[feeds], whole))
        if not ready and (rest := end - time.monotonic()) > REST_MIN:
            time.sleep(rest)
            ready = dict(zmq.zmq_poll(self._polled[feeds], 0))
        return Ready(
            not feeds or self._feeds in ready,
            self._control in ready,
            self._events in ready,
            self._mailbox in ready,
            any(each in ready for each in self._others),
        )

    def drain(
        self,
        read: Callable[[Iterator[bytes]], None],
        limit: int,
        seconds: float,
        fault: Callable[[Exception], None] | None = None,
    ) -> tuple[int, bool]:
        """Let ``read`` take at most ``limit`` feeds, and no more after ``seconds``. How many there were, and
        whether they were all.

        The clock is looked at once in ``SLICE`` feeds: those that need decoding take a hundred times longer.
        ``fault`` is told what ``read`` raises; the feed that did it is lost, and those behind it are read.
        """
        given = 0
        until = monotonic() + seconds
        while given < limit:
            some = min(SLICE, limit - given)
            flags = repeat(_DONTWAIT, some)
            try:
                read(map(self._receive, flags))
            except zmq.Again:
                return given + some - length_hint(flags) - 1, True
            except Exception as raised:
                if fault is None:
                    raise
                fault(raised)
                some = max(1, some - length_hint(flags))
            given += some
            if monotonic() >= until:
                break
        return given, False

    def probe(self, frame: bytes) -> None:
        """Send the loop a message the way every worker's feeds go."""
        try:
            self._prober.send(frame, _DONTWAIT)
        except zmq.Again:
            return  # it counts as lost, and the hold sends another

    def requests(self) -> Iterator[tuple[bytes, bytes]]:
        """(who, request) of what has been asked, a bounded number; what is no request is left out.

        A request is two parts: the asker's routing id, which libzmq adds, and one body. One of many more parts is
        read over several calls: where it ends is known only when its last part has come.
        """
        parts = self._parts
        for _ in range(REQUESTS_PER_TURN):
            for _ in range(PARTS_PER_TURN):
                try:
                    part = self._control.recv(_DONTWAIT)
                except zmq.Again:
                    return
                more = self._control.getsockopt(zmq.RCVMORE)
                if len(parts) < PARTS_MAX:
                    parts.append(part)
                if not more:
                    break
            else:
                return
            who, body = parts[0], parts[1] if len(parts) == 2 else b""
            parts.clear()
            yield who, body

    def reply(self, who: bytes, body: bytes) -> None:
        """Answer one asker; one that is gone, or does not read, gets nothing."""
        try:
            self._control.send_multipart([who, body], _DONTWAIT)
        except zmq.ZMQError:
            return

    @property
    def listened_to(self) -> bool:
        """Whether anybody subscribed to any event."""
        return bool(self._topics) or self._crowded

    def publish(self, topic: bytes, body: bytes) -> None:
        """Tell whoever subscribed; a reader that is too slow loses events, never holds them up."""
        self._events.send_multipart([topic, body], _DONTWAIT)

    def subscriptions(self) -> list[bytes]:
        """Topics that were subscribed to since the last call, a bounded number, repeated ones once."""
        new: dict[bytes, None] = {}
        for _ in range(SUBSCRIPTIONS_PER_TURN):
            try:
                message = self._events.recv(_DONTWAIT)
            except zmq.Again:
                break
            topic = message[1:]
            if message[:1] == b"\x01":
                if len(self._topics) < TOPICS_MAX:
                    self._topics.add(topic)
                else:
                    self._crowded = True
                new[topic] = None
            elif message[:1] == b"\x00":
                self._topics.discard(topic)
        return list(new)

    def stop_monitor(self) -> None:
        """Tell of no connection any more: whoever reads ``accepted`` finds the end."""
        if not self._feeds.closed:
            self._feeds.monitor(None, 0)

    def close(self) -> None:
        """Unbind everything; events on their way have a tenth of a second. Nobody reads ``accepted`` any more."""
        for socket in (self._feeds, self._control, self._prober, self.accepted):
            socket.close(0)
        self._events.close(100)
        self._context.term()
