"""The supervisor's ZeroMQ sockets. Bytes in, bytes out; nothing is interpreted here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, repeat
from operator import length_hint
from time import monotonic, sleep
from typing import Any, NamedTuple

import zmq

from banken.address import Address
from banken.control import EVENT_QUEUE_MAX
from banken.model import NAME_MAX
from banken.threads import NO_THREAD, ZMQ_THREADS, available
from banken.wire import DROP_MAX, REQUEST_MAX

FEED_QUEUE_MAX = 10_000
"""Feeds queued per connection between libzmq's thread and the loop."""

SLICE = 200
SLICE_MAX = 2_000
SLICE_S = 0.001
"""Feeds between two checks of the clock: few at first, and twice as many each time while they take less than a
millisecond. A feed that must be decoded takes a hundred times longer than a known one."""

REQUESTS_PER_TURN = 50
"""A limit, so that a flood of requests cannot delay feeds."""

PARTS_MAX = 4
"""Parts of one message that are stored; a request has two."""

PARTS_PER_TURN = 1000
"""Parts of one message that are read in one turn: a message of a million parts must not delay feeds."""

REPLY_QUEUE_MAX = 100
"""Replies queued for a client that does not read them; further ones are lost. libzmq reports progress only after
half of them, so up to fifty may be under way to a client that does read."""

SUBSCRIPTIONS_PER_TURN = 200

TOPIC_MAX = NAME_MAX + 1
"""Bytes of the longest topic: a name and its zero byte."""

TOPICS_MAX = 100_000
"""Topics that are remembered. With more, events are always published, as if all were subscribed."""

REST_MIN = 0.00005
"""Seconds. A shorter sleep costs more than it saves."""

_MONITOR = "inproc://accepted"

_DONTWAIT = int(zmq.DONTWAIT)
_POLLIN = int(zmq.POLLIN)
_EVENTS = int(zmq.EVENTS)


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
        # One I/O thread: the probe of the barrier (engine/barrier.py) is valid only if it passes through the same
        # thread as the feeds.
        if not available(ZMQ_THREADS):
            raise RuntimeError(f"the sockets need threads: {NO_THREAD}")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self.accepted: zmq.Socket[bytes] = self._context.socket(zmq.PAIR)
        """reports connections to the feed socket (processes/peer_credentials.py)"""
        before = os.umask(0o077)  # it sets the mode of the sockets
        try:
            self._feeds = self._bind(zmq.PULL, address.feed, {zmq.RCVHWM: FEED_QUEUE_MAX}, monitor=True)
            asking = {zmq.MAXMSGSIZE: REQUEST_MAX, zmq.SNDHWM: REPLY_QUEUE_MAX}
            self._control = self._bind(zmq.ROUTER, address.control, asking)
            # Verbose: also report further subscriptions to the same topic: each subscriber gets the open incident.
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
        self._get = self._feeds.get
        rest: list[tuple[Any, int]] = [(self._control, _POLLIN), (self._events, _POLLIN), (mailbox, _POLLIN)]
        self._polled = {True: [(self._feeds, _POLLIN), *rest], False: list(rest)}
        self._parts: list[bytes] = []
        """parts of the request that is being read"""
        self._topics: set[bytes] = set()
        self._too_many_topics = False
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
            self.accepted.setsockopt(zmq.RCVHWM, 0)  # a full queue would block libzmq's thread
            self.accepted.connect(_MONITOR)
        socket.bind(endpoint)
        return socket

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
        if len(found) == 1 and found[0][0] is self._feeds:
            return FEEDS
        ready = dict(found)
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
        """Let ``read`` take at most ``limit`` feeds, for about ``seconds``. Returns (number of feeds, whether the
        socket is empty).

        ``fault`` is called with an exception of ``read``; that feed is lost, and the following ones are read.
        """
        try:
            first = self._receive(_DONTWAIT)
        except zmq.Again:
            return 0, True
        # To query whether there is another one costs 1 µs; an exception from recv costs 7 µs.
        if not int(self._get(_EVENTS)) & _POLLIN:
            try:
                read(iter((first,)))
            except Exception as raised:
                if fault is None:
                    raise
                fault(raised)
            return 1, True
        return self._drain_many(first, read, limit, seconds, fault)

    def _drain_many(
        self,
        first: bytes,
        read: Callable[[Iterator[bytes]], None],
        limit: int,
        seconds: float,
        fault: Callable[[Exception], None] | None,
    ) -> tuple[int, bool]:
        given, portion = 0, SLICE
        checked = monotonic()
        until = checked + seconds
        while given < limit:
            some = min(portion, limit - given)
            flags = repeat(_DONTWAIT, some if given else some - 1)
            frames: Iterator[bytes] = map(self._receive, flags)
            try:
                read(frames if given else chain((first,), frames))
            except zmq.Again:
                return given + some - length_hint(flags) - 1, True
            except Exception as raised:
                if fault is None:
                    raise
                fault(raised)
                some = max(1, some - length_hint(flags))
            given += some
            before, checked = checked, monotonic()
            if checked >= until:
                break
            portion = min(2 * portion, SLICE_MAX) if checked - before < SLICE_S else SLICE
        return given, False

    def probe(self, frame: bytes) -> None:
        """Send the loop a message on the same path as the feeds of workers."""
        try:
            self._prober.send(frame, _DONTWAIT)
        except zmq.Again:
            return  # it counts as lost, and the barrier sends another one

    def requests(self) -> Iterator[tuple[bytes, bytes]]:
        """A limited number of (routing id, request). The request is empty if the message does not have two parts.

        A request has two parts: the client's routing id, which libzmq adds, and a body. A message of very many
        parts is read over several calls.
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
            routing_id, body = parts[0], parts[1] if len(parts) == 2 else b""
            parts.clear()
            yield routing_id, body

    def reply(self, routing_id: bytes, body: bytes) -> None:
        """Send a reply. It is dropped if the client is gone or does not read."""
        try:
            self._control.send_multipart([routing_id, body], _DONTWAIT)
        except zmq.ZMQError:
            return

    @property
    def has_subscribers(self) -> bool:
        """Whether there is a subscription to any event."""
        return bool(self._topics) or self._too_many_topics

    def publish(self, topic: bytes, body: bytes) -> None:
        """Send an event to its subscribers. A subscriber that is too slow loses events and delays nothing."""
        self._events.send_multipart([topic, body], _DONTWAIT)

    def subscriptions(self) -> list[bytes]:
        """Topics of new subscriptions since the last call: a limited number, each once."""
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
                    self._too_many_topics = True
                new[topic] = None
            elif message[:1] == b"\x00":
                self._topics.discard(topic)
        return list(new)

    def stop_monitor(self) -> None:
        """Stop reporting connections: a reader of ``accepted`` gets the end mark."""
        if not self._feeds.closed:
            self._feeds.monitor(None, 0)

    def close(self) -> None:
        """Unbind everything; events under way get 0.1 s. ``accepted`` must not be in use any more."""
        for socket in (self._feeds, self._control, self._prober, self.accepted):
            socket.close(0)
        self._events.close(100)
        self._context.term()
