"""Commands and events for other hosts, on a thread of its own beside the loop.

It passes on what a key may ask to the supervisor's own sockets, as any command of this host would connect to them,
and its answers and events back: so the loop knows nothing of it, and what stops here stops nothing else. Each peer
has a connection of its own there, and with it its turn.

A subscription is taken if the key may hear that topic (``XPUB_MANUAL``). An open connection is not asked again:
where rights have changed all connections are ended (``renew``), and those that may come in are back at once.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

import zmq

from banken.address import Address
from banken.control import ANSWER_MAX, EVENT_QUEUE_MAX
from banken.protocol.limits import DROP_MAX, REQUEST_MAX
from banken_supervisor.engine.principal import KeyHolder
from banken_supervisor.sources.tcp_feeds import HolderOf, Pair, prepare_server, shut
from banken_supervisor.sources.zap import KeyGate

RELAYS_MAX = 64
"""Peers at once that ask; another one takes the place of the one that has asked nothing for the longest time."""

QUEUE_MAX = 10
"""Requests of one peer, and replies to it, that wait."""

SUBSCRIPTION_MAX = 4_096
"""Bytes of a subscription; the messages that exchange the keys have some hundred."""

TOPICS_MAX = 10_000
"""Topics that are listened to; beyond that all events are."""

EVENTS_PER_TURN = 100

REST_S, AGAIN_S = 60.0, 0.05
"""Seconds after which the connection of a silent peer is given back; between two attempts to bind a port."""

BIND_S = 5.0
"""Seconds after which it is a fault that a port is in use that was our own; it is tried again all the same."""

_DONTWAIT = int(zmq.DONTWAIT)

Socket = zmq.Socket[bytes]


@dataclass(frozen=True)
class Rules:
    """What the gateway asks; each is called on its thread.

    ``reply``: to a request that this key may not make, or that is about the key itself; None: it may be made.
    ``welcome``: tell the state of this topic to those that listen. ``refuse``: count this and tell it, by a reason
    in one word, and a text. ``fault``: report an exception.
    """

    holder_of: HolderOf
    reply: Callable[[bytes, KeyHolder], bytes | None]
    welcome: Callable[[bytes], None]
    refuse: Callable[[str, str], None]
    fault: Callable[[Exception], None]


@dataclass
class _Relay:
    socket: Socket
    asked_at: float
    """monotonic"""


@dataclass
class TcpGateway:
    """Bound when ``start`` returns. ``here``: the supervisor's own sockets. ZMQError: a port cannot be bound."""

    _context: zmq.Context[Socket]
    _listen: Sequence[Address]
    _here: Address
    _gate: KeyGate
    _pair: Pair
    _rules: Rules
    _relays: dict[bytes, _Relay] = field(default_factory=dict)
    """by routing id, the one that has asked last at the end"""
    _topics: set[bytes] = field(default_factory=set)
    _commands: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)
    _thread: threading.Thread | None = None
    _bound: tuple[Socket, ...] = ()
    """the two that other hosts connect to; empty while they are bound anew"""
    _bind_by: float = 0.0
    """monotonic time until which a port that is in use is no fault"""

    def start(self) -> None:
        """Bind, and begin."""
        self._events = self._context.socket(zmq.SUB)
        self._wake = self._context.socket(zmq.PAIR)
        try:
            for option, value in ((zmq.LINGER, 0), (zmq.RCVHWM, EVENT_QUEUE_MAX), (zmq.MAXMSGSIZE, DROP_MAX)):
                self._events.setsockopt(option, value)
            self._events.connect(self._here.events)
            self._wake.bind("inproc://tcp-gateway")
            self._bind()
        except BaseException:
            self._events.close(0)
            self._wake.close(0)
            raise
        self._thread = threading.Thread(target=self._run, name="banken-tcp", daemon=True)
        self._thread.start()

    def renew(self) -> None:
        """End all connections: rights have changed. Called on one thread only, as ``close``."""
        self._command("renew")

    def close(self) -> None:
        """End the thread and close what it has."""
        self._command("close")
        if self._thread is not None:
            self._thread.join(2.0)

    def _command(self, what: str) -> None:
        self._commands.put(what)
        with contextlib.suppress(zmq.ZMQError):
            self._wake.send(b"", _DONTWAIT)

    # -- on its thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        wake = self._context.socket(zmq.PAIR)
        wake.connect("inproc://tcp-gateway")
        try:
            while True:
                try:
                    if not self._turn(wake):
                        return
                except zmq.ContextTerminated:
                    return
                except Exception as fault:  # noqa: BLE001  # the next message is independent of it
                    self._rules.fault(fault)
                    sleep(AGAIN_S)
        finally:
            for each in (wake, self._wake, self._events, *self._bound):
                each.close(0)
            self._drop_relays()

    def _turn(self, wake: Socket) -> bool:
        """Handle what has come; False: it is to end."""
        while not self._commands.empty():
            if self._commands.get() == "close":
                return False
            self._unbind()
        if not self._bound and not self._bind_again():
            return True
        poller = zmq.Poller()
        by_socket = {relay.socket: (routing_id, relay) for routing_id, relay in self._relays.items()}
        for each in (wake, self._events, *self._bound, *by_socket):
            poller.register(each, zmq.POLLIN)
        for socket, _ in poller.poll(int(REST_S * 1000)):
            with contextlib.suppress(zmq.Again):  # what was there a moment ago is gone with its connection
                if socket is wake:
                    wake.recv(_DONTWAIT)
                elif socket is self._control:
                    self._ask()
                elif socket is self._publisher:
                    self._subscribe()
                elif socket is self._events:
                    self._publish()
                else:
                    self._answer(*by_socket[socket])
        self._rest()
        return True

    def _ask(self) -> None:
        """Take one request."""
        parts = self._control.recv_multipart(_DONTWAIT, copy=False)
        routing_id, body = parts[0].bytes, parts[-1]
        holder = self._holder(body)
        if holder is None or len(parts) != 2:
            return
        reply = self._rules.reply(body.bytes, holder)
        if reply is not None:
            self._reply(routing_id, reply)
            return
        relay = self._relays.pop(routing_id, None) or self._connect()
        relay.asked_at = monotonic()
        self._relays[routing_id] = relay
        with contextlib.suppress(zmq.Again):  # it asks more than is answered: this one gets no answer
            relay.socket.send(body.bytes, _DONTWAIT)

    def _connect(self) -> _Relay:
        if len(self._relays) >= RELAYS_MAX:
            self._relays.pop(next(iter(self._relays))).socket.close(0)
        socket = self._context.socket(zmq.DEALER)
        for option, value in ((zmq.LINGER, 0), (zmq.SNDHWM, QUEUE_MAX), (zmq.MAXMSGSIZE, ANSWER_MAX)):
            socket.setsockopt(option, value)
        socket.connect(self._here.control)
        return _Relay(socket, 0.0)

    def _answer(self, routing_id: bytes, relay: _Relay) -> None:
        reply = relay.socket.recv(_DONTWAIT)
        if self._relays.get(routing_id) is relay:
            self._reply(routing_id, reply)

    def _reply(self, routing_id: bytes, reply: bytes) -> None:
        with contextlib.suppress(zmq.ZMQError):  # it is gone, or does not read
            self._control.send_multipart([routing_id, reply], _DONTWAIT)

    def _rest(self) -> None:
        """Give back the connections of those that have not asked for long."""
        before = monotonic() - REST_S
        for routing_id, relay in list(self._relays.items()):
            if relay.asked_at > before:
                return
            self._relays.pop(routing_id).socket.close(0)

    def _drop_relays(self) -> None:
        for relay in self._relays.values():
            relay.socket.close(0)
        self._relays.clear()

    def _subscribe(self) -> None:
        """Take one subscription: 1 or 0, then the topic. What nobody says is said for a connection that is gone."""
        frame = self._publisher.recv(_DONTWAIT, copy=False)
        verb, topic = frame.bytes[:1], frame.bytes[1:]
        if verb == b"\0":
            self._publisher.setsockopt(zmq.UNSUBSCRIBE, topic)
            return
        holder = self._holder(frame) if verb == b"\1" else None
        if holder is None:
            return
        if not may_hear(holder, topic):
            name = topic[:-1].decode("utf-8", "replace")
            what = f"of {name!r}" if topic else "of all watchdogs"
            self._rules.refuse("key", f"the key {holder.name!r} may not hear the events {what}")
            return
        self._publisher.setsockopt(zmq.SUBSCRIBE, topic)
        if topic in self._topics:
            self._rules.welcome(topic)  # else its subscription here does that
        elif len(self._topics) < TOPICS_MAX:
            self._topics.add(topic)
            self._events.setsockopt(zmq.SUBSCRIBE, topic)
        else:
            self._events.setsockopt(zmq.SUBSCRIBE, b"")
            self._rules.welcome(topic)

    def _publish(self) -> None:
        """Pass events on, until there are no more; a reader that is too slow loses some."""
        for _ in range(EVENTS_PER_TURN):
            self._publisher.send_multipart(self._events.recv_multipart(_DONTWAIT), _DONTWAIT)

    def _holder(self, frame: Any) -> KeyHolder | None:
        """Who holds the key that this message came with; None: it may not come in any more."""
        try:
            holder = self._rules.holder_of(str(frame.get("User-Id")))
        except zmq.ZMQError:
            holder = None
        if holder is not None and holder.is_allowed:
            holder.seen = monotonic()
            return holder
        shut(frame)
        return None

    def _unbind(self) -> None:
        """End all connections."""
        for socket in self._bound:
            socket.close(0)
        self._bound = ()
        self._drop_relays()
        self._bind_by = monotonic() + BIND_S

    def _bind_again(self) -> bool:
        """Our own sockets may have the ports for a moment longer."""
        try:
            self._bind()
        except zmq.ZMQError as fault:
            if monotonic() > self._bind_by:
                self._bind_by = monotonic() + REST_S
                self._rules.fault(fault)
            sleep(AGAIN_S)
        return bool(self._bound)

    def _bind(self) -> None:
        control, publisher = self._context.socket(zmq.ROUTER), self._context.socket(zmq.XPUB)
        try:
            for option, value in ((zmq.MAXMSGSIZE, REQUEST_MAX), (zmq.SNDHWM, QUEUE_MAX)):
                control.setsockopt(option, value)
            publisher.setsockopt(zmq.MAXMSGSIZE, SUBSCRIPTION_MAX)
            publisher.setsockopt(zmq.XPUB_MANUAL, 1)
            for socket in (control, publisher):
                prepare_server(socket, self._gate, self._pair)
                socket.setsockopt(zmq.LINGER, 0)
            for each in self._listen:
                control.bind(each.control)
                publisher.bind(each.events)
        except BaseException:
            control.close(0)
            publisher.close(0)
            raise
        self._control, self._publisher = self._bound = control, publisher


def may_hear(holder: KeyHolder, topic: bytes) -> bool:
    """Whether a key may subscribe to this topic: a name and its zero byte, or the beginning of several."""
    if holder.control in ("read", "full"):
        return True
    name, end, more = topic.decode("utf-8", "replace").partition("\0")
    return bool(end) and not more and holder.may_use(name)
