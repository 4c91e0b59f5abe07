"""Requests to a supervisor, with replies, and the stream of its events.

For the command line and other tools; a worker that only feeds never loads it. One object belongs to one thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from time import monotonic
from typing import Any

import zmq

from banken.address import Address, option_for, resolve
from banken.errors import RequestFailed, Unreachable, WireError
from banken.protocol.codec import VERSION, pack, unpack
from banken.protocol.limits import DROP_MAX

EVENT_QUEUE_MAX = 100_000
"""Events held for a slow reader; what comes beyond is lost, which the sequence numbers show."""


class Control:
    """Requests to one supervisor.

    ``timeout``: seconds to wait for an answer before ``Unreachable`` is raised.
    """

    def __init__(self, address: str | None = None, timeout: float = 2.0) -> None:
        self.address: Address = resolve(address)
        self.timeout = timeout
        self._numbers = itertools.count(1)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self._socket.connect(self.address.control)

    def request(self, op: str, **args: Any) -> Any:
        """Ask, and wait for the answer. Unreachable: none came in time. RequestFailed: the answer is an error."""
        number = next(self._numbers)
        deadline = monotonic() + self.timeout
        if not self._socket.poll(_left_ms(deadline), zmq.POLLOUT):
            raise self._unreachable()
        self._socket.send(pack([VERSION, number, op, args]))
        while True:
            if not self._socket.poll(_left_ms(deadline), zmq.POLLIN):
                raise self._unreachable()
            reply = unpack_large(self._socket.recv())
            if type(reply) is list and len(reply) == 4 and reply[1] == number:
                _, _, ok, body = reply
                if ok:
                    return body
                raise RequestFailed(str(body))
            # Otherwise it answers an earlier request, whose caller waits no longer.

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close(0)
        self._context.term()

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _unreachable(self) -> Unreachable:
        text = self.address.text
        return Unreachable(f"no supervisor answers at {text}; start one with `banken run{option_for(text)}`")


class Events:
    """The events of one supervisor, from the moment of subscription on. An iterator of dicts.

    ``names``: only those watchdogs' events; None: all, the supervisor's own included.
    """

    def __init__(
        self,
        address: str | None = None,
        names: list[str] | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self.address = resolve(address)
        self._own = context is None
        self._context: zmq.Context[zmq.Socket[bytes]] = context or zmq.Context()
        self.socket = self._context.socket(zmq.SUB)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVHWM, EVENT_QUEUE_MAX)
        self.socket.setsockopt(zmq.MAXMSGSIZE, DROP_MAX)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        if names is None:
            self.socket.setsockopt(zmq.SUBSCRIBE, b"")
        for name in names or ():
            self.subscribe(name)
        self.socket.connect(self.address.events)

    def subscribe(self, name: str) -> None:
        """Receive this watchdog's events too."""
        self.socket.setsockopt(zmq.SUBSCRIBE, topic(name))

    def unsubscribe(self, name: str) -> None:
        """Receive this watchdog's events no longer."""
        self.socket.setsockopt(zmq.UNSUBSCRIBE, topic(name))

    def next(self, timeout: float | None = None) -> dict[str, Any] | None:
        """The next event; None when ``timeout`` seconds pass without one."""
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            if not self.socket.poll(None if deadline is None else _left_ms(deadline), zmq.POLLIN):
                return None
            event = read_event(self.socket)
            if event is not None:
                return event

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while (event := self.next()) is not None:
            yield event

    def close(self) -> None:
        """Give the socket back."""
        self.socket.close(0)
        if self._own:
            self._context.term()

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _left_ms(deadline: float) -> int:
    return max(0, int((deadline - monotonic()) * 1000))


def topic(name: str | None) -> bytes:
    """What an event about ``name`` is published under; None: the supervisor itself.

    The closing zero keeps a subscription to ``worker-1`` from matching ``worker-10``.
    """
    return (name or "").encode() + b"\0"


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


def unpack_large(data: bytes) -> Any:
    """A reply of a supervisor, which may be of any length, unlike a worker's message; None: no msgpack."""
    import msgpack

    try:
        return msgpack.unpackb(data, max_ext_len=0)
    except (ValueError, msgpack.UnpackException):
        return None
