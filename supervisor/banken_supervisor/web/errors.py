"""Answers to requests that cannot be served: problem details (RFC 9457) under /api/, a line of text elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from banken.errors import Refused, RequestFailed, Unreachable
from banken.protocol.limits import shorten
from banken_supervisor.journal import JournalError
from banken_supervisor.text import sanitize
from banken_supervisor.web.supervisor_client import Busy

to_json = partial(sanitize.to_json, separators=(",", ":"))
"""Compact JSON in ASCII that every parser takes: texts of workers are escaped here."""

DETAILS = {
    "description": "`detail` says what was given and what is allowed; `errors` has it for each parameter",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "properties": {
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "errors": {"type": "array", "items": {"type": "object"}},
                },
                "required": ["title", "status", "detail"],
            }
        }
    },
}
"""An error under /api/ in the OpenAPI document."""

TEXT = {**DETAILS, "content": {"text/plain": {"schema": {"type": "string"}}}}
"""An error elsewhere."""


class Problem(HTTPException):
    """A request that cannot be served: an HTTP status, and a text that says what was wrong and what is allowed."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(status, detail, {name.replace("_", "-"): value for name, value in headers.items()})


class Json(JSONResponse):
    """A JSON answer, never cached. A str is JSON already."""

    def __init__(self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content, status_code, {"Cache-Control": "no-store", **(headers or {})})

    def render(self, content: Any) -> bytes:
        return (content if isinstance(content, str) else to_json(content)).encode("ascii")


def answer(
    path: str,
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: list[dict[str, str]] | None = None,
) -> Response:
    """An error as the API says it, or as everything else does."""
    headers = {"Cache-Control": "no-store", **(headers or {})}
    if not path.startswith("/api/"):
        return PlainTextResponse(detail + "\n", status, headers)
    details: dict[str, Any] = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    if errors:
        details["errors"] = errors
    return Json(details, status, {**headers, "Content-Type": "application/problem+json"})


async def _on_own(request: Request, fault: Exception) -> Response:
    status, headers = _STATUSES.get(type(fault), (400, {}))
    if isinstance(fault, RequestFailed):
        unknown = ("nobody declared", "no watchdog is called", "no program is called")
        status = 404 if str(fault).startswith(unknown) else 409
    return answer(request.url.path, status, str(fault), headers)


_STATUSES: dict[type[Exception], tuple[int, dict[str, str]]] = {
    Busy: (503, {"Retry-After": "1"}),
    Unreachable: (503, {"Retry-After": "2"}),
    JournalError: (503, {}),
}


async def _on_invalid(request: Request, fault: Exception) -> Response:
    """Parameters or a body that FastAPI or pydantic does not accept."""
    assert isinstance(fault, RequestValidationError)
    found = [_described(each) for each in fault.errors()]
    detail = "; ".join(f"{each['where']}: {each['allowed']} (given: {each['given']})" for each in found)
    return answer(request.url.path, 400, detail, errors=found)


def _described(error: Mapping[str, Any]) -> dict[str, str]:
    place: Iterable[Any] = error["loc"]
    allowed = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    given = "nothing" if error["type"] == "missing" else shorten(repr(error.get("input")))
    return {"where": " ".join(map(str, place)), "given": given, "allowed": allowed}


async def _on_http(request: Request, fault: Exception) -> Response:
    """A Problem, or what the router refuses: an unknown path, a method that is not allowed."""
    assert isinstance(fault, HTTPException)
    path, headers, detail = request.url.path, dict(fault.headers or {}), str(fault.detail)
    if isinstance(fault, Problem):
        return answer(path, fault.status_code, detail, headers)
    if fault.status_code == 404:
        detail = "nothing is served at this path; /api/ lists all paths. A / within a name is written %2F"
    elif fault.status_code == 405:
        # A ping has a route for each method; the router names the first one only. Every GET is a HEAD, too.
        methods = "GET, POST" if path.startswith("/ping/") else headers.get("Allow", "")
        headers["Allow"] = methods.replace("GET", "GET, HEAD")
        detail = f"{request.method} is not allowed here; allowed: {headers['Allow']}"
    return answer(path, fault.status_code, detail, headers)


HANDLERS: dict[Any, Callable[[Request, Exception], Coroutine[Any, Any, Response]]] = {
    **dict.fromkeys((Unreachable, RequestFailed, Refused, JournalError), _on_own),
    RequestValidationError: _on_invalid,
    HTTPException: _on_http,
}
