"""The control socket: requests come in, each gets one reply."""

from __future__ import annotations

from collections.abc import Iterator

import zmq

from banken.protocol.limits import REQUEST_MAX

REQUESTS_PER_TURN = 50
"""So that a flood of requests cannot keep the loop from its feeds."""

PARTS_MAX = 4
"""Parts of one message that are kept; a request has two."""

PARTS_PER_TURN = 1000
"""Parts of one message that are read in one turn: a million of them must not keep the loop from its feeds."""

REPLY_QUEUE_MAX = 100
"""Replies held for an asker that does not read them; further ones are lost. libzmq tells of what was read only when
it is half of that, so that fifty may be on their way to one that does read."""

_DONTWAIT = int(zmq.DONTWAIT)


class ControlSocket:
    """A ROUTER socket, bound at construction."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        socket = self.socket = context.socket(zmq.ROUTER)
        for option, value in ((zmq.LINGER, 100), (zmq.MAXMSGSIZE, REQUEST_MAX), (zmq.SNDHWM, REPLY_QUEUE_MAX)):
            socket.setsockopt(option, value)
        socket.bind(endpoint)
        self._parts: list[bytes] = []
        """of the request that is being read"""

    def requests(self) -> Iterator[tuple[bytes, bytes]]:
        """(routing id, request) of what has been asked, a bounded number; what is no request is left out.

        A request is two parts: the asker's routing id, which libzmq adds, and one body. One of many more parts is
        read over several calls: where it ends is known only when its last part has come.
        """
        parts = self._parts
        for _ in range(REQUESTS_PER_TURN):
            for _ in range(PARTS_PER_TURN):
                try:
                    part = self.socket.recv(_DONTWAIT)
                except zmq.Again:
                    return
                more = self.socket.getsockopt(zmq.RCVMORE)
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
        """Answer one asker; one that is gone, or does not read, gets nothing."""
        try:
            self.socket.send_multipart([routing_id, body], _DONTWAIT)
        except zmq.ZMQError:
            return

    def close(self) -> None:
        """Unbind."""
        self.socket.close(0)
