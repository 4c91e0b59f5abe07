"""What is answered when something cannot be done, and bodies that are read with a limit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from banken.errors import Refused, RequestFailed, Unreachable
from banken.model import check_name
from banken_supervisor.journal import JournalError
from banken_supervisor.web.asker import Busy
from banken_supervisor.web.texts import to_json

BODY_MAX = 65_536
"""Longest body of a request to the API, bytes."""

BODY_S = 10.0
"""Seconds that a client has for its body."""


class Problem(Exception):
    """An answer that is no success: its status, and a text that says what was wrong and what is allowed."""

    def __init__(self, status: int, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Json(Response):
    """A JSON answer; never kept by a cache. A text is JSON already."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, headers: dict[str, str] | None = None) -> None:
        super().__init__(content, status_code, {"Cache-Control": "no-store", **(headers or {})})

    def render(self, content: Any) -> bytes:
        return (content if isinstance(content, str) else to_json(content)).encode("ascii")


def answer_for(path: str, status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """A fault as the API says it (JSON), or as everything else does (a line of text)."""
    if path.startswith("/api/"):
        return Json({"error": text}, status, headers)
    return PlainTextResponse(text + "\n", status, {"Cache-Control": "no-store", **(headers or {})})


def as_problem(fault: Exception) -> Problem:
    """Our own errors as an answer."""
    if isinstance(fault, Problem):
        return fault
    if isinstance(fault, Busy):
        return Problem(503, str(fault), retry_after="1")
    if isinstance(fault, Unreachable):
        return Problem(503, str(fault), retry_after="2")
    if isinstance(fault, RequestFailed):
        text = str(fault)
        unknown = ("nobody declared", "no watchdog is called", "no program is called")
        return Problem(404 if text.startswith(unknown) else 409, text)
    if isinstance(fault, Refused):
        return Problem(400, str(fault))
    if isinstance(fault, JournalError):
        return Problem(503, f"the journal cannot be read: {fault}")
    raise fault


async def on_fault(request: Request, fault: Exception) -> Response:
    """The handler of all of them."""
    problem = as_problem(fault)
    return answer_for(request.url.path, problem.status, problem.text, problem.headers)


async def on_http(request: Request, fault: Exception) -> Response:
    """What the router itself refuses: a path that leads nowhere, a method that is not allowed."""
    assert isinstance(fault, HTTPException)
    headers = dict(fault.headers or {})
    texts = {
        404: "there is nothing here; /api/ lists what can be asked. A / within a name is written %2F",
        405: f"{request.method} is not allowed here; allowed: {headers.get('Allow', 'nothing')}",
    }
    return answer_for(request.url.path, fault.status_code, texts.get(fault.status_code, fault.detail), headers)


HANDLERS: dict[Any, Callable[[Request, Exception], Coroutine[Any, Any, Response]]] = {
    Problem: on_fault,
    Unreachable: on_fault,
    RequestFailed: on_fault,
    Refused: on_fault,
    JournalError: on_fault,
    HTTPException: on_http,
}


def name_of(request: Request) -> str:
    """The name in the path; a Problem if nothing can be called so."""
    return check_name(request.path_params["name"].replace("%2F", "/"))


def number_in(request: Request, key: str, default: int, least: int, most: int) -> int:
    """A whole number of the query."""
    text = request.query_params.get(key)
    if text is None or text == "":
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 12 or not least <= int(text) <= most:
        raise Problem(400, f"{key} is a whole number from {least} to {most}")
    return int(text)


def flag_in(request: Request, key: str) -> bool:
    """A yes or no of the query."""
    text = request.query_params.get(key, "0").lower()
    if text not in ("0", "1", "true", "false", ""):
        raise Problem(400, f"{key} is 0 or 1")
    return text in ("1", "true")


async def read_body(request: Request, keep: int, drain: int = 0) -> tuple[bytes, bool]:
    """(the first ``keep`` bytes, whether there was more); of more, up to ``drain`` bytes are read and dropped."""
    kept = bytearray()
    size = 0
    try:
        async with asyncio.timeout(BODY_S):
            async for some in request.stream():
                kept += some[: keep - len(kept)]
                size += len(some)
                if size > keep + drain:
                    break
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {BODY_S:g} s", connection="close") from None
    except ClientDisconnect:
        raise Problem(400, "the client went away") from None
    return bytes(kept), size > keep


async def json_body(request: Request, allowed: dict[str, str]) -> dict[str, Any]:
    """The body, an object with the keys in ``allowed`` (each with what it is) or none at all."""
    body, more = await read_body(request, BODY_MAX, BODY_MAX)
    if more:
        raise Problem(413, f"a body has at most {BODY_MAX} bytes", connection="close")
    if not body.strip():
        return {}
    said = "; ".join(f"{key}: {what}" for key, what in allowed.items()) or "no keys"
    try:
        found = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Problem(400, f"the body is no JSON; it is an object ({said}), or empty") from None
    if type(found) is not dict or not found.keys() <= allowed.keys():
        raise Problem(400, f"the body is an object with {said}")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)
