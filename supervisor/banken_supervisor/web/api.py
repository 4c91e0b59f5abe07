"""The JSON API, ``/api/v1``. Rows and summaries are the supervisor's own answers (docs/wire.md)."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

import banken
from banken.errors import Unreachable
from banken.protocol.limits import check_name
from banken.protocol.messages import Kind
from banken_supervisor.operator_client.supervisor_client import message
from banken_supervisor.web.backend import backend_of
from banken_supervisor.web.errors import DETAILS, TEXT, Json, Problem
from banken_supervisor.web.journal_reader import history_json, incident_json, incidents_json
from banken_supervisor.web.metrics import question, render
from banken_supervisor.web.parameters import (
    TOKEN,
    Name,
    NoBody,
    OptionalName,
    Pattern,
    PauseBody,
    only_known_keys,
    read_json,
)
from banken_supervisor.web.state_cache import LOOK_MAX

T = TypeVar("T")

ROWS_MAX = 500
INCIDENTS_MAX = 1_000

_RESPONSES: dict[int | str, dict[str, Any]] = {"4XX": DETAILS, "503": {**DETAILS, "description": "no supervisor"}}
router = APIRouter(
    prefix="/api/v1",
    dependencies=[Depends(only_known_keys), *TOKEN],
    default_response_class=Json,
    responses=_RESPONSES,
)


@router.get("/summary", tags=["Supervisor"])
async def summary(request: Request) -> Response:
    """Counts of everything, and whether the supervisor is up."""
    backend = backend_of(request)
    more = {"address": backend.settings.address.text, "web_version": banken.__version__}
    try:
        found = await backend.cache.read_summary()
    except Unreachable as fault:
        return Json({"up": False, "error": str(fault), **more}, 503, {"Retry-After": "2"})
    return Json({**found, "up": True, **more})


@router.get("/watchdogs", tags=["Watchdogs"])
async def watchdogs(
    request: Request,
    name: Pattern = None,
    offset: Annotated[int, Query(ge=0, le=10**9, description="where to begin")] = 0,
    limit: Annotated[
        int, Query(ge=1, le=ROWS_MAX, description=f"at most so many rows, 1 to {ROWS_MAX}")
    ] = ROWS_MAX,
) -> Response:
    """Rows, page by page: `rows`, `next` (the offset of the next page, or null) and `total`."""
    return Json(await backend_of(request).client.request("status", name=name or None, offset=offset, limit=limit))


@router.get("/look", tags=["Watchdogs"])
async def look(
    request: Request,
    names: Annotated[str, Query(description=f"1 to {LOOK_MAX} names, separated by commas")],
    feeds: Annotated[bool, Query(description="with the last feeds, `[age, gap]` in seconds, newest last")] = False,
) -> Response:
    """The rows of these names as they are now, and `gone`: names that are not watched."""
    wanted = tuple(dict.fromkeys(check_name(name) for name in names.split(",") if name))
    if not 0 < len(wanted) <= LOOK_MAX:
        raise Problem(
            400, f"names is a list of 1 to {LOOK_MAX} names, separated by commas; {len(wanted)} were given"
        )
    return Json(await backend_of(request).look(wanted, feeds=feeds))


@router.get("/watchdogs/{name}", tags=["Watchdogs"])
async def watchdog(request: Request, name: Name) -> Response:
    """One row, with its last feeds and a proposed timeout."""
    backend = backend_of(request)
    row, *_ = _known(name, (await backend.look((name,), feeds=True))["rows"])
    proposed = await backend.client.request("suggest", name=name)
    return Json({**row, "suggestion": next(iter(proposed["rows"]), None)})


@router.get("/watchdogs/{name}/history", tags=["Watchdogs"])
async def history(request: Request, name: Name) -> Response:
    """What the journal has of it: uptime, incidents, events."""
    return Json(_known(name, await backend_of(request).journal.read(partial(history_json, name=name))))


_pause_body = {"requestBody": {"content": {"application/json": {"schema": PauseBody.model_json_schema()}}}}


@router.post("/watchdogs/{name}/pause", tags=["Watchdogs"], openapi_extra=_pause_body)
async def pause(request: Request, name: Name) -> Response:
    """Pause it, for a while or until it is resumed."""
    body = await read_json(request, PauseBody)
    return await _act(request, Kind.PAUSE, name, body.seconds or 0.0)


@router.post("/watchdogs/{name}/resume", tags=["Watchdogs"])
async def resume(request: Request, name: Name) -> Response:
    """Resume it, with a whole timeout."""
    await read_json(request, NoBody)
    return await _act(request, Kind.RESUME, name)


@router.post("/watchdogs/{name}/release", tags=["Watchdogs"])
async def release(request: Request, name: Name) -> Response:
    """Stop watching it."""
    await read_json(request, NoBody)
    return await _act(request, Kind.RELEASE, name)


async def _act(request: Request, kind: Kind, name: str, *args: Any) -> Response:
    """Send one message about a watchdog that exists; answers with its row afterwards."""
    backend = backend_of(request)
    # A misspelt name must not become a new watchdog.
    _known(name, (await backend.client.request("status", name=name))["rows"])
    await backend.change("tell", frame=message(kind, name, *args))
    found = await backend.client.request("status", name=name)
    return Json({"row": next(iter(found["rows"]), None)})


@router.get("/groups", tags=["Watchdogs"])
async def groups(request: Request) -> Response:
    """The rows of groups. `group.members` has the names and patterns of their members."""
    backend = backend_of(request)
    await backend.cache.fresh()
    names = sorted(backend.cache.groups)
    rows: list[dict[str, Any]] = []
    for place in range(0, len(names), LOOK_MAX):
        some = names[place : place + LOOK_MAX]
        rows += (await backend.client.request("look", names=some, feeds=False))["rows"]
    return Json({"rows": rows})


@router.get("/programs", tags=["Programs"])
async def programs(request: Request) -> Response:
    """One row for each program of the config."""
    return Json(await backend_of(request).client.request("programs"))


@router.post("/programs/{name}/{command}", tags=["Programs"])
async def program(request: Request, name: Name, command: Literal["start", "stop", "restart"]) -> Response:
    """Start, stop or restart a program."""
    await read_json(request, NoBody)
    return Json(await backend_of(request).change("program", what=command, name=name))


@router.get("/incidents", tags=["Incidents"])
async def incidents(
    request: Request,
    name: OptionalName = None,
    open: Annotated[bool, Query(description="only open ones")] = False,  # noqa: A002  # the name in the URL
    since: Annotated[
        float | None,
        Query(ge=0, lt=1e11, allow_inf_nan=False, description="only those that were open then or later, seconds"),
    ] = None,
    limit: Annotated[
        int, Query(ge=1, le=INCIDENTS_MAX, description=f"at most so many, 1 to {INCIDENTS_MAX:,}")
    ] = 100,
) -> Response:
    """Incidents in the journal, newest first."""
    wanted = partial(incidents_json, open_only=open, since=since, name=name, limit=limit)
    return Json(await backend_of(request).journal.read(wanted))


@router.get("/incidents/{id}", tags=["Incidents"])
async def incident(
    request: Request,
    incident_id: Annotated[str, Path(alias="id", max_length=128, description="the incident's id")],
) -> Response:
    """One incident with its timeline and evidence, as `banken incident ID --json` prints it."""
    found = await backend_of(request).journal.read(partial(incident_json, incident_id=incident_id))
    if found is None:
        raise Problem(404, f"no incident has the id {incident_id!r}; /api/v1/incidents lists them")
    return Json(found)


health = APIRouter(tags=["Health"], default_response_class=PlainTextResponse, responses={"503": TEXT})


@health.get("/-/healthy")
async def healthy() -> Response:
    """200 while this process serves."""
    return PlainTextResponse("healthy\n", headers={"Cache-Control": "no-store"})


@health.get("/-/ready", dependencies=TOKEN, responses={"4XX": TEXT})
async def ready(request: Request) -> Response:
    """200 while the supervisor answers, else 503."""
    found = await backend_of(request).client.request("ping")
    return PlainTextResponse(f"ready: pid {found['pid']}\n", headers={"Cache-Control": "no-store"})


@health.get("/metrics", dependencies=[Depends(only_known_keys), *TOKEN], responses={"4XX": TEXT})
async def metrics(request: Request, names: Pattern = None) -> Response:
    """Counts and histograms for Prometheus (docs/metrics.md).

    `names`: which watchdogs get series of their own; without it all, if there are at most 1,000; empty: none.
    """
    accept, refused = request.headers.get("accept", ""), request.app.state.refusals.total
    try:
        body, media = await backend_of(request).client.request(
            "metrics", lambda answer: render({**answer, "web_refused": refused}, accept), **question(names)
        )
    except Unreachable:
        body, media = render(None, accept)  # banken_up 0
    return Response(body, headers={"Content-Type": media, "Cache-Control": "no-store"})


def _known(name: str, found: T | None) -> T:
    """What was found of this watchdog."""
    if not found:
        raise Problem(404, f"no watchdog is called {name!r}; /api/v1/watchdogs lists them")
    return found
