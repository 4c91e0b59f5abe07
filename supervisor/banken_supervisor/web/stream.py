"""``GET /api/v1/stream``: all rows, and then what changes, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from banken.errors import RequestFailed, Unreachable
from banken_supervisor.web.backend import Backend, backend_of
from banken_supervisor.web.broadcaster import SUBSCRIBERS_MAX, Subscriber, sse
from banken_supervisor.web.errors import DETAILS, Problem
from banken_supervisor.web.parameters import TOKEN, only_known_keys

KEEP_ALIVE_S = 15
PAUSE_S = 0.002
"""Between two pieces of the rows, so that a long list does not delay other requests."""

RETRY_MS = 1000
"""Milliseconds that a browser waits before it connects again."""


class EventStream(EventSourceResponse):
    """Its media type, for the OpenAPI document."""

    media_type = "text/event-stream"


router = APIRouter(
    tags=["Supervisor"], dependencies=[Depends(only_known_keys), *TOKEN], default_response_class=EventStream
)


@router.get("/api/v1/stream", responses={"4XX": DETAILS, "503": {**DETAILS, "description": "200 streams are open"}})
async def stream(request: Request) -> Response:
    """All rows, and then what changes, as server-sent events.

    `hello` {up, session, summary}; `rows` {rows, complete}: all of them, in pieces; `event`: each of the
    supervisor's events (docs/wire.md); `changed` {rows, gone, summary}: the rows that events named, summary null
    while there are more; `down` {error}; `up` {session, summary}, after which hello and rows come again. A reader
    that is too slow is disconnected, and begins again.
    """
    backend = backend_of(request)
    subscriber = backend.broadcaster.subscribe()
    if subscriber is None:
        raise Problem(503, f"{SUBSCRIBERS_MAX} streams are open already", retry_after="10")
    return EventStream(
        _pieces(backend, subscriber),
        ping=KEEP_ALIVE_S,
        ping_message_factory=lambda: ServerSentEvent(comment="still here", sep="\n"),
        sep="\n",
    )


async def _pieces(backend: Backend, subscriber: Subscriber) -> AsyncIterator[bytes]:
    cache = backend.cache
    try:
        yield f"retry: {RETRY_MS}\n\n".encode("ascii")
        while not subscriber.ended:
            subscriber.restart = False
            if cache.up:
                async for piece in _beginning(backend, subscriber):
                    yield piece
            else:
                yield sse("hello", cache.greeting())
            while subscriber.steady:
                await subscriber.wait()
                while piece := subscriber.take():
                    yield piece
    finally:
        backend.broadcaster.subscribers.discard(subscriber)


async def _beginning(backend: Backend, subscriber: Subscriber) -> AsyncIterator[bytes]:
    """``hello`` and all rows. Queued changes go before each piece, so that a row is never older than its last."""
    cache = backend.cache
    try:
        await cache.read_summary()
        yield sse("hello", cache.greeting())
        await cache.fresh()
    except Unreachable:
        yield sse("hello", cache.greeting())  # it is down; `up` will follow
        return
    except RequestFailed:
        subscriber.end()  # nothing would follow; the browser connects again
        return
    for rows in cache.chunks():
        while waiting := subscriber.take():
            yield waiting
        if not subscriber.steady:
            return
        yield sse("rows", rows)
        await asyncio.sleep(PAUSE_S)
