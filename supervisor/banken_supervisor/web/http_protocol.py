"""uvicorn's HTTP protocol with limits for clients that are slow to send or to read, and for how many there are."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from banken_supervisor.web.peers import Connections, Peer

REQUEST_S = 10.0
"""Seconds from a connection, or from the first byte of a further request, until the request's head is there."""

STALL_S = 15.0
"""Seconds that a client may read nothing of a waiting answer; then its connection is cut."""

PIECES_MAX = 256
PIECE_BYTES = 256
"""Pieces in which a body may arrive, however small; of more, each has so many bytes on average. Hundreds of single
bytes cost as much time as hundreds of requests."""


class _BoundedConnection(h11.Connection):
    """h11's reading of one connection, with ``PIECES_MAX``. What follows the head of a request is not looked at
    before the request is allowed."""

    is_held = False
    _pieces = _bytes = 0

    def next_event(self) -> Any:
        if self.is_held:
            return h11.NEED_DATA
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._pieces += 1
            self._bytes += len(event.data)
            if self._pieces > PIECES_MAX and self._bytes < PIECE_BYTES * self._pieces:
                raise h11.RemoteProtocolError("a body in too many pieces")
        elif isinstance(event, h11.Request):
            self.is_held = True
            self._pieces = self._bytes = 0
        return event


class BoundedProtocol(H11Protocol):
    """Cuts connections that send no request, those that do not read their answer, and those that are too many."""

    peer: Peer
    conn: _BoundedConnection
    _asking: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, open_ones: Connections, **more: Any) -> None:
        super().__init__(*args, **more)
        self._open = open_ones
        self.conn = _BoundedConnection(h11.SERVER, self.config.h11_max_incomplete_event_size or 16_384)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = self._open.take(transport.get_extra_info("socket").fileno())
        self.peer.cut = self._cut
        self.peer.go_on = self._go_on
        self.app_state = {**self.app_state, "peer": self.peer}
        self._asking = self.loop.call_later(REQUEST_S, self._cut)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle
        if self._asking is None and (cycle is None or cycle.response_complete):
            self._asking = self.loop.call_later(REQUEST_S, self._cut)  # a further request, and not whole yet

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            _cancel(self._asking)
            self._asking = None

    def _go_on(self) -> None:
        self.conn.is_held = False
        self.handle_events()

    def send_400_response(self, msg: str) -> None:
        """Also in the middle of a body, whose request is being served: its own answer would be one too many."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            msg = "" if cycle.scope["method"] == "HEAD" else msg  # whose answer has no body
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self._cut()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALL_S, self._cut)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._stalled)
        self._stalled = None

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._asking)
        _cancel(self._stalled)
        self._open.remove(self.peer)
        super().connection_lost(exc)

    def _cut(self) -> None:
        """At once: an orderly close would wait for ever for a reader that does not read."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None:
            cycle.disconnected = True  # what is written after this is for nobody
        self.transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
