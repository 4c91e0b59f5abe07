"""uvicorn's HTTP protocol with limits for clients that are slow to send or to read, and for how many there are."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from banken_supervisor.web.peers import Allowed, Connections, Peer, peer_of

REQUEST_S = 10.0
"""Seconds from a connection, or from the first byte of a further request, until the request's head is there."""

STALL_S = 15.0
"""Seconds that a client may read nothing of a waiting answer; then its connection is cut."""

PIECES_MAX = 4_000
"""Pieces in which a body may arrive: each costs as much time as a whole request, however small it is."""


class _BoundedConnection(h11.Connection):
    """h11's reading of one connection, with ``PIECES_MAX``."""

    _pieces = 0

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._pieces += 1
            if self._pieces > PIECES_MAX:
                raise h11.RemoteProtocolError(f"a body in more than {PIECES_MAX} pieces")
        elif isinstance(event, h11.Request):
            self._pieces = 0
        return event


class BoundedProtocol(H11Protocol):
    """Cuts connections that send no request, those that do not read their answer, and those that are too many."""

    peer: Peer
    _asking: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, open_ones: Connections, allowed: Allowed, **more: Any) -> None:
        super().__init__(*args, **more)
        self._open, self._allowed = open_ones, allowed
        self.conn = _BoundedConnection(h11.SERVER, self.config.h11_max_incomplete_event_size or 16_384)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connected: socket.socket = transport.get_extra_info("socket")
        self.peer = peer_of(connected, self._allowed, os.geteuid())
        self.peer.cut = self._cut
        self.app_state = {**self.app_state, "peer": self.peer}
        self._asking = self.loop.call_later(REQUEST_S, self._cut)
        self._open.add(self.peer)

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
        self.transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
