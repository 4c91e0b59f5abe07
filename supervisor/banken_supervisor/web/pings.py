"""Ping URLs: any program that can fetch a URL can feed. ``/ping/NAME[/start|/fail|/EXIT_STATUS]``.

``/p/KEY…``, with the key of one name, is the same for that name (security.py).

GET, HEAD and POST do the same. The beginning of a body becomes the status text, for a failure the reason: a ping
with too long a body is still a proof of life. The feed claims no process, so it takes the name from no worker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from banken.protocol.limits import REASON_MAX, STATUS_MAX, check_text
from banken.protocol.messages import DEFAULT_INTERVAL, Declaration, Kind, declare
from banken_supervisor.operator_client.supervisor_client import message
from banken_supervisor.text.durations import parse
from banken_supervisor.web.backend import backend_of
from banken_supervisor.web.errors import TEXT, Problem
from banken_supervisor.web.parameters import TOKEN, Name, only_known_keys, read_body

BODY_MAX = 10_000
"""Bytes of a body that are used; the rest is dropped."""

DRAIN_MAX = 1024 * 1024
"""Bytes that are read and dropped before the answer; for a longer body the connection is closed."""

STATUS_HIGHEST = 255

router = APIRouter(
    tags=["Pings"],
    dependencies=[Depends(only_known_keys), *TOKEN],
    default_response_class=PlainTextResponse,
    responses={"4XX": TEXT, "503": {**TEXT, "description": "no supervisor"}},
)

Seconds = Annotated[str | None, Query(description="a duration: 30s, 2m, 25h")]


async def _declaration(
    timeout: Seconds = None,  # noqa: ASYNC109  # the name in the URL
    interval: Seconds = None,
    grace: Seconds = None,
) -> Declaration | None:
    """What the query declares, as ``banken feed --timeout`` does."""
    if timeout is None:
        if interval is not None or grace is not None:
            raise Problem(400, "interval and grace need timeout: together they declare the watchdog")
        return None
    every = DEFAULT_INTERVAL if interval is None else parse(interval, "interval")
    return declare(parse(timeout, "timeout"), every, None if grace is None else parse(grace, "grace"))


Declared = Annotated[Declaration | None, Depends(_declaration)]
Endpoint = Callable[..., Awaitable[Response]]


def _ping(path: str) -> Callable[[Endpoint], Endpoint]:
    """A route for GET and one for POST: each has its own id in the document."""
    return lambda endpoint: router.post(path)(router.get(path)(endpoint))


@_ping("/ping/{name}")
async def success(request: Request, name: Name, declared: Declared) -> Response:
    """Alive. `timeout`, `interval` and `grace` declare the watchdog, as `banken feed --timeout` does.

    The first 10,000 bytes of a body become the status, cut at 1,024 characters.
    """
    return await _feed(request, name, await _text(request), declared)


@_ping("/ping/{name}/start")
async def start(request: Request, name: Name, declared: Declared) -> Response:
    """A job has begun: alive, and its timeout runs from here. Without a body the status is `started`."""
    return await _feed(request, name, await _text(request) or "started", declared)


@_ping("/ping/{name}/fail")
async def fail(request: Request, name: Name, declared: Declared) -> Response:
    """A job has failed: a verdict at once. A body becomes the reason, cut at 4,096 characters."""
    return await _fail(request, name, await _text(request) or "a ping said so", declared)


@_ping("/ping/{name}/{status}")
async def ended(
    request: Request,
    name: Name,
    declared: Declared,
    status: Annotated[str, Path(description=f"the exit status, 0 to {STATUS_HIGHEST}")],
) -> Response:
    """A job has ended with this exit status: 0 is alive, everything else has failed.

    A body becomes the status, or is added to the reason.
    """
    if not status.isascii() or not status.isdecimal() or len(status) > 3 or int(status) > STATUS_HIGHEST:
        raise Problem(404, f"after the name comes nothing, start, fail or an exit status, 0 to {STATUS_HIGHEST}")
    text = await _text(request)
    said = f"exit status {int(status)}"
    if int(status) == 0:
        return await _feed(request, name, text or said, declared)
    return await _fail(request, name, f"{said}\n{text}".rstrip(), declared)


async def _text(request: Request) -> str:
    if request.method != "POST":
        return ""
    body, _ = await read_body(request, BODY_MAX, DRAIN_MAX)
    return body.decode("utf-8", "replace").strip()


async def _feed(request: Request, name: str, text: str, declared: Declaration | None) -> Response:
    if text:
        return await _send(request, name, declared, Kind.NOTE, None, check_text(text, "status", STATUS_MAX))
    return await _send(request, name, declared, Kind.FEED)


async def _fail(request: Request, name: str, text: str, declared: Declaration | None) -> Response:
    return await _send(request, name, declared, Kind.FAIL, check_text(text, "reason", REASON_MAX))


async def _send(request: Request, name: str, declared: Declaration | None, kind: Kind, *args: Any) -> Response:
    await backend_of(request).change("tell", frame=message(kind, name, *args, declaration=declared))
    headers = {"Cache-Control": "no-store"}
    if request.method == "POST" and int(request.headers.get("content-length", "0")) > BODY_MAX + DRAIN_MAX:
        headers["Connection"] = "close"  # the rest of the body would come
    return PlainTextResponse("OK\n", headers=headers)
