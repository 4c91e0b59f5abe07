"""uvicorn's HTTP protocol with time limits for clients that are slow to send or to read."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

REQUEST_S = 10.0
"""Seconds from a connection, or from the first byte of a further request, until the request's head is there."""

OPEN_MAX = 800
"""Connections that may be open at once; further ones are cut. libzmq ends a process that runs out of descriptors,
and often 1,024 are allowed."""

STALL_S = 15.0
"""Seconds that a client may read nothing of a waiting answer; then its connection is cut."""


class TimeLimitedProtocol(H11Protocol):
    """Cuts connections that send no request, and those that do not read their answer."""

    _asking: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > OPEN_MAX:
            self._cut()
            return
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
        super().connection_lost(exc)

    def _cut(self) -> None:
        """At once: an orderly close would wait for ever for a reader that does not read."""
        self.transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
