"""Requests to a supervisor, with replies, and the stream of its events.

For the command line and other tools; a worker that only feeds never loads it. One object belongs to one thread.
"""

from __future__ import annotations

import itertools
import os
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import zmq

from banken.address import Address, option_for, resolve_all
from banken.errors import RequestFailed, Unreachable, WireError
from banken.protocol import answers
from banken.protocol.codec import VERSION, pack, unpack
from banken.protocol.limits import DROP_MAX

if TYPE_CHECKING:
    from banken.keys import Key

ANSWER_MAX = 16 * 1024 * 1024
"""Longest answer, bytes; a longer one ends the connection."""

ANSWER_ITEMS_MAX = 50_000
"""Most elements of one list, or one map, in an answer: a config may have 10,000 programs."""

BAD_EVENTS_MAX = 1_000
"""Messages without an event that are passed over at once."""

EVENT_QUEUE_MAX = 100_000
"""Events held for a slow reader; what comes beyond is lost, which the sequence numbers show."""


class _Connection:
    """Sockets for one supervisor, or for several; a context manager. ``context``: another's, which is left open.
    ``key``: this process's key, or its file, which tcp needs; None: ``$BANKEN_KEY``.

    AddressRefused: there are only feeds at this address. KeyRefused.
    """

    def __init__(
        self,
        address: str | None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        key: str | os.PathLike[str] | Key | None = None,
    ) -> None:
        # Of one socket for several addresses that on this host comes first: what tcp needs is set after it.
        found = sorted(resolve_all(address), key=lambda each: each.directory is None)
        self.addresses: list[Address] = [each.whole() for each in found]
        self.address = self.addresses[0]
        """of several, the one that answered last"""
        self.text = ",".join(each.text for each in self.addresses)
        self._own = context is None
        self._context: zmq.Context[zmq.Socket[bytes]] = context or zmq.Context()
        self._sockets: list[zmq.Socket[bytes]] = []
        self._key = key

    def _make(self, kind: zmq.SocketType, options: dict[zmq.SocketOption, int]) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        self._sockets.append(socket)
        for option, value in options.items():
            socket.setsockopt(option, value)
        return socket

    def _connect(self, socket: zmq.Socket[bytes], address: Address, endpoint: str) -> None:
        if address.directory is None:
            from banken import tcp

            tcp.prepare(socket, address, tcp.given_key(self._key))
        socket.connect(endpoint)

    def close(self) -> None:
        """Give the sockets back."""
        for socket in self._sockets:
            socket.close(0)
        if self._own:
            self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Control(_Connection):
    """Requests to one supervisor; of several to the first that can be reached.

    ``timeout``: seconds to wait for an answer before ``Unreachable`` is raised.
    """

    def __init__(
        self, address: str | None = None, timeout: float = 2.0, key: str | os.PathLike[str] | Key | None = None
    ) -> None:
        super().__init__(address, key=key)
        options = {zmq.LINGER: 0, zmq.IMMEDIATE: 1, zmq.RECONNECT_IVL: 20, zmq.MAXMSGSIZE: ANSWER_MAX}
        self.timeout = timeout
        self._numbers = itertools.count(1)
        try:
            for each in self.addresses:
                socket = self._make(zmq.DEALER, options)
                self._connect(socket, each, each.control)
        except BaseException:
            self.close()
            raise
        self.socket: zmq.Socket[bytes] | None = self._sockets[0] if len(self._sockets) == 1 else None
        """where requests go; None: the first that is connected"""

    def request(self, op: str, **args: Any) -> Any:
        """Ask, and wait for the answer. Unreachable: none came in time. RequestFailed: the answer is an error.

        AnswerNotUnderstood, which is a RequestFailed: it is not what a supervisor answers.
        """
        number = next(self._numbers)
        deadline = monotonic() + self.timeout
        socket = self.socket = self._wait(zmq.POLLOUT, deadline)
        socket.send(pack([VERSION, number, op, args]))
        while True:
            self._wait(zmq.POLLIN, deadline)
            reply = read_reply(socket.recv())
            if reply is not None and reply[1] == number:
                _, _, ok, body = reply
                if ok is True:
                    return answers.checked(op, body)
                raise RequestFailed(answers.reason(body))
            # Otherwise it answers an earlier request, whose caller waits no longer, or is nothing that can be read.
            if monotonic() > deadline:
                raise self._unreachable()

    def _wait(self, event: zmq.PollEvent, deadline: float) -> zmq.Socket[bytes]:
        """The socket that is ready."""
        poller = zmq.Poller()
        for each in self._sockets if self.socket is None else [self.socket]:
            poller.register(each, event)
        for ready, _ in poller.poll(_left_ms(deadline)):
            self.address = self.addresses[self._sockets.index(ready)]
            return ready  # type: ignore[no-any-return]
        raise self._unreachable()

    def _unreachable(self) -> Unreachable:
        if len(self._sockets) > 1:
            self.socket = None  # the next request may find another one
            return Unreachable(f"no supervisor answers at any of {self.text}")
        if (directory := self.address.directory) is None:
            return Unreachable(
                f"no supervisor answers at {self.text}: it does not run, or does not let this key in, which "
                "`banken keys allow NAME` and `banken reload` do there"
            )
        try:
            os.stat(self.address.control.removeprefix("ipc://"))
        except PermissionError:
            return Unreachable(
                f"you may not enter {directory}: only its supervisor's own user may; run this as that user, or root"
            )
        except OSError:  # it is not there
            pass
        return Unreachable(
            f"no supervisor answers at {self.text}; start one with `banken run{option_for(self.text)}`"
        )


class Events(_Connection):
    """The events of one supervisor or of several, from the moment of subscription on, as dicts.

    ``names``: only those watchdogs' events; None: all, the supervisor's own included.
    """

    def __init__(
        self,
        address: str | None = None,
        names: list[str] | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        key: str | os.PathLike[str] | Key | None = None,
    ) -> None:
        super().__init__(address, context, key)
        options = {zmq.LINGER: 0, zmq.RCVHWM: EVENT_QUEUE_MAX, zmq.MAXMSGSIZE: DROP_MAX}
        options |= {zmq.RECONNECT_IVL: 50, zmq.RECONNECT_IVL_MAX: 1000}
        try:
            self.socket = self._make(zmq.SUB, options)
            if names is None:
                self.socket.setsockopt(zmq.SUBSCRIBE, b"")
            for name in names or ():
                self.subscribe(name)
            self.connect()
        except BaseException:
            self.close()
            raise

    def connect(self) -> None:
        """Connect, again after ``disconnect``."""
        for each in self.addresses:
            self._connect(self.socket, each, each.events)

    def disconnect(self) -> None:
        """End the connections for now."""
        for each in self.addresses:
            self.socket.disconnect(each.events)

    def subscribe(self, name: str) -> None:
        """Receive this watchdog's events too."""
        self.socket.setsockopt(zmq.SUBSCRIBE, topic(name))

    def unsubscribe(self, name: str) -> None:
        """Receive this watchdog's events no longer."""
        self.socket.setsockopt(zmq.UNSUBSCRIBE, topic(name))

    def next(self, timeout: float) -> dict[str, Any] | None:
        """The next event; None when ``timeout`` seconds pass without one."""
        deadline = monotonic() + timeout
        for _ in range(BAD_EVENTS_MAX):
            if not self.socket.poll(_left_ms(deadline), zmq.POLLIN):
                break
            if (event := answers.event(read_event(self.socket))) is not None:
                return event
        return None


def _left_ms(deadline: float) -> int:
    return max(0, int((deadline - monotonic()) * 1000))


def topic(name: str | None) -> bytes:
    """What an event about ``name`` is published under; None: the supervisor itself.

    The closing zero keeps a subscription to ``worker-1`` from matching ``worker-10``.
    """
    return (name or "").encode() + b"\0"


def read_reply(data: bytes) -> list[Any] | None:
    """The parts of a reply: version, number, whether it is an answer, and the answer or why there is none; None: it
    is no reply."""
    try:
        reply = unpack(data, ANSWER_MAX, ANSWER_ITEMS_MAX)
    except WireError:
        return None
    return reply if type(reply) is list and len(reply) == 4 else None


def read_event(socket: zmq.Socket[bytes]) -> dict[str, Any] | None:
    """One event from a SUB socket that has a message; None if the message is no event."""
    parts = socket.recv_multipart()
    if len(parts) != 2:
        return None
    try:
        event = unpack(parts[1], DROP_MAX)
    except WireError:
        return None
    return event if type(event) is dict else None
