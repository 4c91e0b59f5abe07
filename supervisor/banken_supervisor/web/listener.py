"""A listening socket that asks who comes before anything is done for it.

asyncio accepts as many connections as wait, and makes a transport and a protocol for each. From one user of this
host who connects as fast as possible that is more than a web process can do. Here a connection that is one too many
is closed at once, which costs a tenth.
"""

from __future__ import annotations

import contextlib
import os
import socket
from functools import partial
from time import monotonic
from typing import Any

from banken_supervisor.web.peers import Allowed, Connections, peer_of

QUEUE = 1024
"""Connections that may wait for us to accept them."""

TURN_MAX = 64
"""Connections that are accepted, or refused, before other work of the event loop has its turn."""


SEND_BYTES = 131_072
"""Bytes that the kernel keeps for a client that does not read; by itself it keeps megabytes."""


class Listener(socket.socket):
    """Takes over a listening socket."""

    def __init__(self, bound: socket.socket, connections: Connections, allowed: Allowed) -> None:
        super().__init__(fileno=bound.detach())
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)  # each connection inherits it
        self._connections, self._allowed = connections, allowed

    def listen(self, backlog: int = QUEUE) -> None:
        """asyncio's ``backlog`` is also how many it accepts in one turn: it must not shorten the queue."""
        super().listen(QUEUE)

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection that may stay. BlockingIOError: there is none for now."""
        for _ in range(TURN_MAX):
            connected, address = super().accept()
            peer = peer_of(connected, self._allowed, os.geteuid())
            if self._connections.admit(peer.client, monotonic()):
                peer.cut = partial(_end, connected)
                self._connections.add(peer, connected.fileno())
                return connected, address
            connected.close()
        raise BlockingIOError


def _end(connected: socket.socket) -> None:
    """For one that has no transport yet."""
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)
