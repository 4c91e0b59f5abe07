"""``GET /api/v1/stream``: everything, and then what changes, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from banken.errors import RequestFailed, Unreachable
from banken_supervisor.web.backend import Backend
from banken_supervisor.web.hub import LISTENERS_MAX, Listener
from banken_supervisor.web.problems import Problem
from banken_supervisor.web.texts import sse

KEEP_ALIVE_S = 15
PAUSE_S = 0.002
"""Between two pieces of the rows: a long list is not to hold up everybody else."""

RETRY_MS = 1000
"""What a browser is told to wait before it connects again."""


async def stream(request: Request) -> Response:
    """Everything, and then what changes."""
    backend: Backend = request.app.state.backend
    listener = None if request.method == "HEAD" else backend.hub.join()
    if listener is None and request.method != "HEAD":
        raise Problem(503, f"{LISTENERS_MAX} streams are open already", retry_after="10")
    return EventSourceResponse(
        _told(backend, listener or Listener()),
        ping=KEEP_ALIVE_S,
        ping_message_factory=lambda: ServerSentEvent(comment="still here", sep="\n"),
        sep="\n",
    )


async def _told(backend: Backend, listener: Listener) -> AsyncIterator[bytes]:
    mirror = backend.mirror
    try:
        yield f"retry: {RETRY_MS}\n\n".encode("ascii")
        while not listener.ended:
            listener.anew = False
            if mirror.up:
                async for piece in _greeted(backend, listener):
                    yield piece
            else:
                yield sse("hello", mirror.greeting())
            while listener.steady:
                await listener.wait()
                while piece := listener.take():
                    yield piece
    finally:
        backend.hub.leave(listener)


async def _greeted(backend: Backend, listener: Listener) -> AsyncIterator[bytes]:
    """``hello`` and all rows. Before each piece of them what waits is told: a row is never older than the last."""
    mirror = backend.mirror
    try:
        await mirror.ask_summary()
        yield sse("hello", mirror.greeting())
        await mirror.fresh()
    except Unreachable:
        yield sse("hello", mirror.greeting())  # it is down; `up` will follow
        return
    except RequestFailed:
        listener.end()  # nothing would follow; the browser comes again
        return
    for rows in mirror.chunks():
        while waiting := listener.take():
            yield waiting
        if not listener.steady:
            return
        yield sse("rows", rows)
        await asyncio.sleep(PAUSE_S)
