"""uvicorn's HTTP protocol with limits for clients that are slow to send or to read, and for how many there are."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import Any

import h11
from h11._receivebuffer import ReceiveBuffer
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from banken_supervisor.web.peers import Connections, Peer

REQUEST_S = 10.0
"""Seconds from a connection, or from the first byte of a further request, until the request's head is there."""

STALL_S = 15.0
"""Seconds that a client may read nothing of a waiting answer; then its connection is cut."""

HEAD_MAX = 16_384
"""Longest head of a request (address and headers), bytes."""

LINES_MAX = 100
"""Header lines of a request. h11 takes microseconds for each."""

PATH_MAX = 4_096
"""Longest path, bytes. The longest name has 3,072 where each byte is written ``%xx``."""

KEYS_MAX = 50
"""Keys of a query; nothing here takes ten."""

PIECES_MAX = 256
PIECE_BYTES = 256
"""Pieces in which a body may arrive, however small; of more, each has so many bytes on average. Hundreds of single
bytes cost as much time as hundreds of requests."""

_END = re.compile(rb"\n\r?\n")

_LENGTHS = frozenset((b"content-length", b"transfer-encoding"))
"""Both of them: a proxy may go by the one and h11 by the other, and what is a body to it is a request here."""


class _BoundedBuffer(ReceiveBuffer):
    """What h11 has not read yet. h11's own limit binds only a head that is not whole: one that arrives at once is
    read whatever its size. Here a head is measured first; so are the lines after a body in chunks."""

    def maybe_extract_lines(self) -> list[bytearray] | None:
        found = _END.search(self._data, self._multiple_lines_search, HEAD_MAX)
        end = HEAD_MAX if found is None else found.end()
        if found is None and len(self._data) > HEAD_MAX:
            raise h11.RemoteProtocolError(f"the head has more than {HEAD_MAX} bytes", error_status_hint=431)
        if self._data.count(b"\n", 0, end) > LINES_MAX + 2:  # the first line, and the empty one
            raise h11.RemoteProtocolError(f"more than {LINES_MAX} header lines", error_status_hint=431)
        return super().maybe_extract_lines()


class _BoundedConnection(h11.Connection):
    """h11's reading of one connection, with the limits above. What follows the head of a request is not looked at
    before the request is allowed."""

    is_held = is_head = False
    fault = (400, "Invalid HTTP request received.")
    """what the client is told where its request cannot be read"""
    _pieces = _bytes = 0

    def __init__(self) -> None:
        super().__init__(h11.SERVER, HEAD_MAX)
        self._receive_buffer = _BoundedBuffer()

    def next_event(self) -> Any:
        try:
            return self._next_event()
        except h11.RemoteProtocolError as fault:
            if fault.error_status_hint != 400:
                self.fault = (fault.error_status_hint, str(fault))
            raise

    def _next_event(self) -> Any:
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
            self.is_head = event.method == b"HEAD"
            self._pieces = self._bytes = 0
            path, _, query = event.target.partition(b"?")
            if len(path) > PATH_MAX or query.count(b"&") >= KEYS_MAX:
                said = f"the path has more than {PATH_MAX} bytes, or the query more than {KEYS_MAX} keys"
                raise h11.RemoteProtocolError(said, error_status_hint=414)
            if {name for name, _ in event.headers} >= _LENGTHS:
                raise h11.RemoteProtocolError("a body of two lengths")
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
        self.conn = _BoundedConnection()

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
        status, said = self.conn.fault
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = b"" if self.conn.is_head else said.encode()
            headers = [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"%d" % len(body)),
                (b"connection", b"close"),
            ]
            response = h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode())
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()
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
