"""The event socket: events go out to subscribers, subscriptions come in."""

from __future__ import annotations

import zmq

from banken.control import EVENT_QUEUE_MAX
from banken.protocol.limits import NAME_MAX

SUBSCRIPTIONS_PER_TURN = 200

TOPIC_MAX = NAME_MAX + 1
"""Bytes of the longest topic: a name and its zero byte."""

TOPICS_MAX = 100_000
"""Topics that are remembered. Beyond that somebody is taken to listen always."""

_DONTWAIT = int(zmq.DONTWAIT)


class EventSocket:
    """An XPUB socket, bound at construction."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        socket = self.socket = context.socket(zmq.XPUB)
        # Verbose: a second listener's subscription is reported too, for it may need the open incident.
        options = (
            (zmq.LINGER, 100), (zmq.XPUB_VERBOSE, 1),
            (zmq.SNDHWM, EVENT_QUEUE_MAX), (zmq.MAXMSGSIZE, 1 + TOPIC_MAX),
        )  # fmt: skip
        for option, value in options:
            socket.setsockopt(option, value)
        socket.bind(endpoint)
        self._topics: set[bytes] = set()
        self._crowded = False
        """there are more topics than are remembered"""

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody subscribed to any event."""
        return bool(self._topics) or self._crowded

    def publish(self, topic: bytes, body: bytes) -> None:
        """Tell whoever subscribed; a reader that is too slow loses events, never holds them up."""
        self.socket.send_multipart([topic, body], _DONTWAIT)

    def subscriptions(self) -> list[bytes]:
        """Topics that were subscribed to since the last call, a bounded number, repeated ones once."""
        new: dict[bytes, None] = {}
        for _ in range(SUBSCRIPTIONS_PER_TURN):
            try:
                message = self.socket.recv(_DONTWAIT)
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

    def close(self) -> None:
        """Unbind; events on their way have a tenth of a second."""
        self.socket.close(100)
