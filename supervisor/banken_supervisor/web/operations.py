"""Everything that can be asked, as data: the routes and the OpenAPI document are made of this list."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from banken.errors import Unreachable
from banken_supervisor.web import api, badges, metrics, openapi, pings, stream
from banken_supervisor.web.openapi import Operation
from banken_supervisor.web.problems import Json

_PING = ("GET", "POST")
_TEXT = "text/plain"
_NO_WATCHDOG = ((404, "no watchdog is called so"),)
_NO_PROGRAM = ((404, "no program is called so"), (413, "the body is too long"))
_ACTING = ((404, "no watchdog is called so"), (409, "the supervisor said no"), (413, "the body is too long"))
_PINGED = (
    (404, "the supervisor takes no names that nobody declared, and nobody declared this one"),
    (409, "the supervisor said no"),
    (408, "the body did not arrive in time"),
)
_DECLARES = (
    ("timeout", "string", "declares the watchdog, as `banken feed --timeout` does: 30s, 2m, 25h"),
    ("interval", "string", "with timeout: how often its callback runs again"),
    ("grace", "string", "with timeout: what is allowed before the first feed"),
)
_BODY = "A body (text, its first 10,000 bytes) becomes the status, cut at 1,024 characters."
_NO_JOURNAL = ((404, "the supervisor keeps no journal"),)


async def _document(request: Request) -> Response:
    return Json(openapi.document(OPERATIONS))


async def _page(request: Request) -> Response:
    return HTMLResponse(openapi.page(openapi.document(OPERATIONS)))


async def _metrics(request: Request) -> Response:
    accept, asker = request.headers.get("accept", ""), api.backend_of(request).asker
    question = metrics.question(request.query_params.get("names"))
    try:
        body, media = await asker.ask("metrics", lambda answer: metrics.render(answer, accept), **question)
    except Unreachable:
        body, media = metrics.render(None, accept)  # banken_up 0
    return Response(body, headers={"Content-Type": media, "Cache-Control": "no-store"})


OPERATIONS: tuple[Operation, ...] = (
    Operation("/api/v1/summary", api.summary, "Supervisor", "Counts of everything, and whether it is up"),
    Operation(
        "/api/v1/stream",
        stream.stream,
        "Supervisor",
        "Everything, and then what changes, as server-sent events",
        media="text/event-stream",
        about="hello {up, session, summary}; rows {rows, complete}, all of them, in pieces; event, each of the "
        "supervisor's events (docs/wire.md); changed {rows, gone, summary}, those that events named, "
        "summary null while there is more; down {error}; up {session, summary}, after which hello and rows come "
        "anew. A reader that is too slow is disconnected, and begins again.",
        faults=((503, "200 streams are open already"),),
    ),
    Operation(
        "/api/v1/watchdogs",
        api.watchdogs,
        "Watchdogs",
        "Rows, page by page: rows, next (the offset of the next page, or null) and total",
        query=(
            ("name", "string", "a name, or a pattern with * ? ["),
            ("offset", "integer", "where to begin"),
            ("limit", "integer", "at most so many rows; 500 is the most"),
        ),
    ),
    Operation(
        "/api/v1/look",
        api.look,
        "Watchdogs",
        "The rows of these names as they are now, and `gone`: those not watched",
        query=(
            ("names", "string", "1 to 200 names, separated by commas"),
            ("feeds", "integer", "1: with the last feeds of each, [age, gap] in seconds, the newest last"),
        ),
    ),
    Operation(
        "/api/v1/watchdogs/{name}",
        api.watchdog,
        "Watchdogs",
        "One row, with its last feeds and a proposed timeout",
        faults=_NO_WATCHDOG,
    ),
    Operation(
        "/api/v1/watchdogs/{name}/history",
        api.history,
        "Watchdogs",
        "What the journal keeps of it: uptime, incidents, events",
        faults=((404, "nothing is known of such a watchdog, or there is no journal"),),
    ),
    Operation(
        "/api/v1/watchdogs/{name}/pause",
        api.pause,
        "Watchdogs",
        "Do not judge it, for a while or until it is resumed",
        ("POST",),
        body=(("seconds", "number", "for how long; without it, until it is resumed"),),
        faults=_ACTING,
        token=True,
    ),
    Operation(
        "/api/v1/watchdogs/{name}/resume",
        api.resume,
        "Watchdogs",
        "Judge it again, with a whole timeout",
        ("POST",),
        faults=_ACTING,
        token=True,
    ),
    Operation(
        "/api/v1/watchdogs/{name}/release",
        api.release,
        "Watchdogs",
        "Watch it no longer",
        ("POST",),
        faults=_ACTING,
        token=True,
    ),
    Operation("/api/v1/groups", api.groups, "Watchdogs", "The rows that stand for groups"),
    Operation("/api/v1/programs", api.programs, "Programs", "One row for each program of the config"),
    *(
        Operation(
            f"/api/v1/programs/{{name}}/{what}",
            api.program,
            "Programs",
            f"{what.capitalize()} it",
            ("POST",),
            faults=_NO_PROGRAM,
            token=True,
        )
        for what in ("start", "stop", "restart")
    ),
    Operation(
        "/api/v1/incidents",
        api.incidents,
        "Incidents",
        "Incidents of the journal, the newest first",
        query=(
            ("open", "integer", "1: only those that are open"),
            ("since", "number", "only those that were open at this time or later, seconds since 1970"),
            ("name", "string", "only those of this watchdog"),
            ("limit", "integer", "at most so many; 100 unless said, 1,000 is the most"),
        ),
        faults=_NO_JOURNAL,
    ),
    Operation(
        "/api/v1/incidents/{id}",
        api.incident,
        "Incidents",
        "One incident whole: its timeline and the evidence, as `banken incident ID --json` prints it",
        faults=((404, "no incident is called so"),),
    ),
    Operation(
        "/ping/{name}",
        pings.success,
        "Pings",
        "Alive",
        _PING,
        about=_BODY,
        query=_DECLARES,
        media=_TEXT,
        faults=_PINGED,
    ),
    Operation(
        "/ping/{name}/start",
        pings.start,
        "Pings",
        "A job has begun: alive, and its timeout runs from here",
        _PING,
        about=f"{_BODY} Without one the status is `started`.",
        query=_DECLARES,
        media=_TEXT,
        faults=_PINGED,
    ),
    Operation(
        "/ping/{name}/fail",
        pings.fail,
        "Pings",
        "A job has failed: a verdict at once",
        _PING,
        about="A body (text, its first 10,000 bytes) becomes the reason, cut at 4,096 characters.",
        query=_DECLARES,
        media=_TEXT,
        faults=_PINGED,
    ),
    Operation(
        "/ping/{name}/{status}",
        pings.ended,
        "Pings",
        "A job has ended with this exit status: 0 is alive, everything else has failed",
        _PING,
        about="A body becomes the status, or is added to the reason.",
        query=_DECLARES,
        media=_TEXT,
        faults=_PINGED,
    ),
    Operation(
        "/badge/{file}",
        badges.badge,
        "Others",
        "The state of one watchdog as a small picture",
        media="image/svg+xml",
    ),
    Operation(
        "/metrics",
        _metrics,
        "Others",
        "Counts and histograms for Prometheus, docs/metrics.md",
        query=(("names", "string", "a pattern: which watchdogs get series of their own; all, up to 1,000"),),
        media=_TEXT,
    ),
    Operation("/-/healthy", api.healthy, "Others", "200 while this process serves", media=_TEXT),
    Operation("/-/ready", api.ready, "Others", "200 while the supervisor answers", media=_TEXT),
    Operation("/api/v1/openapi.json", _document, "Others", "This list as an OpenAPI document"),
    Operation("/api/", _page, "Others", "This list as a page", media="text/html"),
)
