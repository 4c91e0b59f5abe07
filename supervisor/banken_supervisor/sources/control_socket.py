"""The control socket: requests come in, each gets one reply.

An asker is read only while none of its requests waits and it has read its last reply: so no more of it is kept than
what one read brings, and one reply.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from banken.protocol.limits import REQUEST_MAX
from banken_supervisor.sources.connections import Connection, Connections, Door
from banken_supervisor.sources.zmtp import Terms, frame

TERMS = Terms(b"ROUTER", frozenset((b"DEALER",)), REQUEST_MAX, REQUEST_MAX)

REQUESTS_PER_TURN = 50
"""So that a flood of requests cannot keep the loop from its feeds."""

REPLIES_MAX = 64 * 1024 * 1024
"""Bytes of replies and events, of all, that wait to be read. Beyond it the asker with the most is closed."""


class ControlSocket:
    """Bound at construction."""

    def __init__(self, connections: Connections, path: str) -> None:
        self._connections = connections
        self._waiting: dict[Connection, deque[bytes]] = {}
        """requests to be answered, whose turn comes first"""
        self._unread: dict[Connection, deque[bytes]] = {}
        """the same of those that have not read their last reply"""
        self.door = Door(path, TERMS, handler=self)
        connections.open(self.door)

    @property
    def has_requests(self) -> bool:
        """Whether requests can be answered now."""
        return bool(self._waiting)

    def requests(self) -> Iterator[tuple[Connection, bytes]]:
        """(asker, request) of what has been asked, a bounded number, one of each asker in turn. A request of
        several parts is an empty one."""
        for _ in range(REQUESTS_PER_TURN):
            connection = next(iter(self._waiting), None)
            if connection is None:
                return
            bodies = self._waiting.pop(connection)
            try:
                yield connection, bodies.popleft()
            finally:
                if connection.unsent:
                    self._unread[connection] = bodies
                else:
                    self._go_on(connection, bodies)

    def reply(self, asker: Connection, body: bytes) -> None:
        """Answer one asker; one that is gone gets nothing."""
        self._connections.write(asker, frame(body))
        if self._connections.unsent > REPLIES_MAX and self._unread:
            most = max(self._unread, key=lambda each: len(each.unsent))
            self._connections.refuse("replies", f"{most} is closed: it does not read its replies")
            self._connections.close(most)

    def take(self, connection: Connection, messages: list[bytes]) -> None:
        """Requests have come."""
        self._waiting[connection] = deque(messages)
        self._connections.read(connection, on=False)

    def sent(self, connection: Connection) -> None:
        """It has read its reply."""
        bodies = self._unread.pop(connection, None)
        if bodies is not None:
            self._go_on(connection, bodies)

    def gone(self, connection: Connection) -> None:
        """It is closed."""
        self._waiting.pop(connection, None)
        self._unread.pop(connection, None)

    def _go_on(self, connection: Connection, bodies: deque[bytes]) -> None:
        if bodies:
            self._waiting[connection] = bodies
        else:
            self._connections.read(connection, on=True)
