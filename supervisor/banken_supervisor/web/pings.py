"""Ping URLs: whatever can fetch an address can feed. ``/ping/NAME`` with ``/start``, ``/fail`` or ``/EXIT_STATUS``.

GET, HEAD and POST say the same. A body becomes the status text, for a failure the reason: its beginning, as a ping
with too long a log is still a proof of life. The feed is anonymous: it stands in no worker's way.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from banken.model import DEFAULT_INTERVAL, REASON_MAX, STATUS_MAX, Declaration, check_text
from banken.port import declare
from banken.wire import Kind, Message, encode
from banken_supervisor.durations import parse
from banken_supervisor.web.api import backend_of
from banken_supervisor.web.problems import Problem, name_of, read_body

BODY_MAX = 10_000
"""Bytes of a body that are looked at; the rest is dropped."""

DRAIN_MAX = 1024 * 1024
"""Bytes that are dropped before the answer; of a longer body the rest is not taken, and the connection closed."""

STATUS_HIGHEST = 255


async def success(request: Request) -> Response:
    """Alive."""
    text, longer = await _text(request)
    return await _feed(request, text, longer)


async def start(request: Request) -> Response:
    """A job has begun: alive, and its timeout runs from here."""
    text, longer = await _text(request)
    return await _feed(request, text or "started", longer)


async def fail(request: Request) -> Response:
    """A job has failed: a verdict at once."""
    text, longer = await _text(request)
    return await _fail(request, text or "a ping said so", longer)


async def ended(request: Request) -> Response:
    """A job has ended with an exit status: 0 feeds, everything else is a failure."""
    word = request.path_params["status"]
    if not word.isascii() or not word.isdecimal() or len(word) > 3 or int(word) > STATUS_HIGHEST:
        raise Problem(404, f"after the name comes nothing, start, fail or an exit status, 0 to {STATUS_HIGHEST}")
    text, longer = await _text(request)
    said = f"exit status {int(word)}"
    if int(word) == 0:
        return await _feed(request, text or said, longer)
    return await _fail(request, f"{said}\n{text}".rstrip(), longer)


async def _text(request: Request) -> tuple[str, bool]:
    """(the body as text, whether the connection is to be closed because more would come)."""
    if request.method != "POST":
        return "", False
    body, _ = await read_body(request, BODY_MAX, DRAIN_MAX)
    longer = int(request.headers.get("content-length", "0")) > BODY_MAX + DRAIN_MAX
    return body.decode("utf-8", "replace").strip(), longer


async def _feed(request: Request, text: str, longer: bool) -> Response:
    if text:
        return await _tell(request, Kind.NOTE, None, check_text(text, "status", STATUS_MAX), longer=longer)
    return await _tell(request, Kind.FEED, longer=longer)


async def _fail(request: Request, text: str, longer: bool) -> Response:
    return await _tell(request, Kind.FAIL, check_text(text, "reason", REASON_MAX), longer=longer)


async def _tell(request: Request, kind: Kind, *args: Any, longer: bool) -> Response:
    frame = encode(Message(kind, name_of(request), None, 0.0, _declared(request), args))
    await backend_of(request).tell("tell", frame=frame)
    headers = {"Cache-Control": "no-store"} | ({"Connection": "close"} if longer else {})
    return PlainTextResponse("OK\n", headers=headers)


def _declared(request: Request) -> Declaration | None:
    """What the query declares, as ``banken feed --timeout`` does."""
    query = request.query_params
    if "timeout" not in query:
        if "interval" in query or "grace" in query:
            raise Problem(400, "interval and grace go with timeout: together they declare the watchdog")
        return None
    timeout = parse(query["timeout"], "timeout")
    interval = parse(query["interval"], "interval") if "interval" in query else DEFAULT_INTERVAL
    return declare(timeout, interval, parse(query["grace"], "grace") if "grace" in query else None)
