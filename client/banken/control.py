"""Requests to a supervisor, with replies, and the stream of its events.

For the command line and other tools; a worker that only feeds never loads it. One object belongs to one thread.
"""

from __future__ import annotations

import itertools
import os
from time import monotonic
from typing import Any, NoReturn, Self

import zmq

from banken.address import Address, option_for, resolve
from banken.errors import RequestFailed, Unreachable, WireError
from banken.protocol import answers
from banken.protocol.codec import VERSION, pack, unpack
from banken.protocol.limits import DROP_MAX

ANSWER_MAX = 16 * 1024 * 1024
"""Longest answer, bytes; a longer one ends the connection."""

ANSWER_ITEMS_MAX = 50_000
"""Most elements of one list, or one map, in an answer: a config may have 10,000 programs."""

BAD_EVENTS_MAX = 1_000
"""Messages without an event that are passed over at once."""

EVENT_QUEUE_MAX = 100_000
"""Events held for a slow reader; what comes beyond is lost, which the sequence numbers show."""


class _Connection:
    """A socket for one supervisor; a context manager. ``context``: another's, which is left open.

    AddressRefused: there are only feeds at this address.
    """

    def __init__(
        self,
        address: str | None,
        kind: zmq.SocketType,
        options: dict[zmq.SocketOption, int],
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self.address: Address = resolve(address).whole()
        self._own = context is None
        self.socket: zmq.Socket[bytes] = (context or zmq.Context()).socket(kind)
        for option, value in options.items():
            self.socket.setsockopt(option, value)

    def close(self) -> None:
        """Give the socket back."""
        self.socket.close(0)
        if self._own:
            self.socket.context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Control(_Connection):
    """Requests to one supervisor.

    ``timeout``: seconds to wait for an answer before ``Unreachable`` is raised.
    """

    def __init__(self, address: str | None = None, timeout: float = 2.0) -> None:
        options = {zmq.LINGER: 0, zmq.IMMEDIATE: 1, zmq.RECONNECT_IVL: 20, zmq.MAXMSGSIZE: ANSWER_MAX}
        super().__init__(address, zmq.DEALER, options)
        self.timeout = timeout
        self._numbers = itertools.count(1)
        self.socket.connect(self.address.control)

    def request(self, op: str, **args: Any) -> Any:
        """Ask, and wait for the answer. Unreachable: none came in time. RequestFailed: the answer is an error.

        AnswerNotUnderstood, which is a RequestFailed: it is not what a supervisor answers.
        """
        number = next(self._numbers)
        deadline = monotonic() + self.timeout
        self._wait(zmq.POLLOUT, deadline)
        self.socket.send(pack([VERSION, number, op, args]))
        while True:
            self._wait(zmq.POLLIN, deadline)
            reply = read_reply(self.socket.recv())
            if reply is not None and reply[1] == number:
                _, _, ok, body = reply
                if ok is True:
                    return answers.checked(op, body)
                raise RequestFailed(answers.reason(body))
            # Otherwise it answers an earlier request, whose caller waits no longer, or is nothing that can be read.
            if monotonic() > deadline:
                self._give_up()

    def _wait(self, event: zmq.PollEvent, deadline: float) -> None:
        if not self.socket.poll(_left_ms(deadline), event):
            self._give_up()

    def _give_up(self) -> NoReturn:
        text, directory = self.address.text, self.address.directory
        try:
            os.stat(self.address.control.removeprefix("ipc://"))
        except PermissionError:
            raise Unreachable(
                f"you may not enter {directory}: only its supervisor's own user may; run this as that user, or root"
            ) from None
        except OSError:  # it is not there
            pass
        raise Unreachable(f"no supervisor answers at {text}; start one with `banken run{option_for(text)}`")


class Events(_Connection):
    """The events of one supervisor, from the moment of subscription on, as dicts.

    ``names``: only those watchdogs' events; None: all, the supervisor's own included.
    """

    def __init__(
        self,
        address: str | None = None,
        names: list[str] | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        options = {zmq.LINGER: 0, zmq.RCVHWM: EVENT_QUEUE_MAX, zmq.MAXMSGSIZE: DROP_MAX}
        options |= {zmq.RECONNECT_IVL: 50, zmq.RECONNECT_IVL_MAX: 1000}
        super().__init__(address, zmq.SUB, options, context)
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
