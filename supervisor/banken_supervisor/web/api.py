"""The answers of ``/api/v1``. Rows and summaries are the supervisor's own words; docs/web.md and the OpenAPI
document list them."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

import banken
from banken.errors import Unreachable
from banken.model import check_name, check_seconds
from banken.wire import Kind, Message, encode
from banken_supervisor.web.backend import Backend
from banken_supervisor.web.mirror import LOOK_MAX
from banken_supervisor.web.problems import Json, Problem, flag_in, json_body, name_of, number_in
from banken_supervisor.web.texts import to_json

ROWS_MAX = 500
INCIDENTS_MAX = 1_000
PATTERN_MAX = 256


def backend_of(request: Request) -> Backend:
    """What the application shares."""
    backend: Backend = request.app.state.backend
    return backend


async def summary(request: Request) -> Response:
    """Counts of everything, and whether the supervisor is up."""
    backend = backend_of(request)
    more = {"address": backend.settings.address.text, "web_version": banken.__version__}
    try:
        found = await backend.mirror.ask_summary()
    except Unreachable as fault:
        return Json({"up": False, "error": str(fault), **more}, 503, {"Retry-After": "2"})
    return Json({**found, "up": True, **more})


async def watchdogs(request: Request) -> Response:
    """Rows, page by page."""
    pattern = request.query_params.get("name") or None
    if pattern is not None and len(pattern) > PATTERN_MAX:
        raise Problem(400, f"a pattern has at most {PATTERN_MAX} characters")
    offset = number_in(request, "offset", 0, 0, 10**9)
    limit = number_in(request, "limit", ROWS_MAX, 1, ROWS_MAX)
    return Json(await backend_of(request).asker.ask("status", to_json, name=pattern, offset=offset, limit=limit))


async def watchdog(request: Request) -> Response:
    """One row whole."""
    backend, name = backend_of(request), name_of(request)
    found = await backend.look((name,), feeds=True)
    if not found["rows"]:
        raise _unknown(name)
    proposed = await backend.asker.ask("suggest", name=name)
    return Json({**found["rows"][0], "suggestion": next(iter(proposed["rows"]), None)})


async def look(request: Request) -> Response:
    """Rows of the names given."""
    names = tuple(dict.fromkeys(filter(None, request.query_params.get("names", "").split(","))))
    if not 0 < len(names) <= LOOK_MAX:
        raise Problem(400, f"names is a list of 1 to {LOOK_MAX} names, separated by commas")
    for name in names:
        check_name(name)
    return Json(await backend_of(request).look(names, feeds=flag_in(request, "feeds")))


async def history(request: Request) -> Response:
    """What the journal keeps of one watchdog."""
    name = name_of(request)
    found = await backend_of(request).records.history(name)
    if found is None:
        raise _unknown(name)
    return Json(found)


async def pause(request: Request) -> Response:
    """Do not judge it for a while."""
    body = await json_body(request, {"seconds": "a number of seconds; without it, until it is resumed"})
    seconds = body.get("seconds")
    return await _told(request, Kind.PAUSE, 0.0 if seconds is None else check_seconds(seconds, "seconds"))


async def resume(request: Request) -> Response:
    """Judge it again."""
    await json_body(request, {})
    return await _told(request, Kind.RESUME)


async def release(request: Request) -> Response:
    """Watch it no longer."""
    await json_body(request, {})
    return await _told(request, Kind.RELEASE)


async def _told(request: Request, kind: Kind, *args: Any) -> Response:
    """Tell the supervisor one thing about a watchdog that there is; the row as it is then."""
    backend, name = backend_of(request), name_of(request)
    known = await backend.asker.ask("status", name=name)
    if not known["rows"]:  # a misspelt name must not become a new watchdog
        raise _unknown(name)
    await backend.tell("tell", frame=encode(Message(kind, name, None, 0.0, None, args)))
    found = await backend.asker.ask("status", name=name)
    return Json({"row": next(iter(found["rows"]), None)})


async def programs(request: Request) -> Response:
    """One row for each program."""
    return Json(await backend_of(request).asker.ask("programs"))


async def program(request: Request) -> Response:
    """Start, stop or restart one program."""
    await json_body(request, {})
    what = request.url.path.rpartition("/")[2]
    return Json(await backend_of(request).tell("program", what=what, name=name_of(request)))


async def groups(request: Request) -> Response:
    """The rows that stand for groups."""
    backend = backend_of(request)
    await backend.mirror.fresh()
    names = sorted(backend.mirror.groups)
    rows: list[dict[str, Any]] = []
    for place in range(0, len(names), LOOK_MAX):
        rows += (await backend.asker.ask("look", names=names[place : place + LOOK_MAX], feeds=False))["rows"]
    return Json({"rows": rows})


async def incidents(request: Request) -> Response:
    """Incidents of the journal."""
    query = request.query_params
    name = query.get("name") or None
    limit = number_in(request, "limit", 100, 1, INCIDENTS_MAX)
    since: float | None = None
    if query.get("since"):
        try:
            since = float(query["since"])
        except ValueError:
            since = float("nan")
        if not 0 <= since < 1e11:
            raise Problem(400, "since is a time in seconds since 1970 (UTC)")
    if name is not None:
        check_name(name)
    return Json(
        await backend_of(request).records.incidents(
            open_only=flag_in(request, "open"), since=since, name=name, limit=limit
        )
    )


async def incident(request: Request) -> Response:
    """The story of one incident."""
    wanted = request.path_params["id"]
    found = await backend_of(request).records.incident(wanted) if len(wanted) <= 128 else None
    if found is None:
        raise Problem(404, "no incident is called so; /api/v1/incidents lists them")
    return Json(found)


async def healthy(request: Request) -> Response:
    """This process serves."""
    return PlainTextResponse("healthy\n", headers={"Cache-Control": "no-store"})


async def ready(request: Request) -> Response:
    """The supervisor answers."""
    try:
        found = await backend_of(request).asker.ask("ping")
    except Unreachable as fault:
        raise Problem(503, str(fault), retry_after="2") from None
    return PlainTextResponse(f"ready: pid {found['pid']}\n", headers={"Cache-Control": "no-store"})


def _unknown(name: str) -> Problem:
    return Problem(404, f"no watchdog is called {name!r}")
