"""``GET /metrics``, for Prometheus. ``metrics.py`` has no route, since ``banken metrics`` needs no web server."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from banken.errors import Unreachable
from banken_supervisor.web.backend import backend_of
from banken_supervisor.web.errors import TEXT
from banken_supervisor.web.metrics import question, render
from banken_supervisor.web.parameters import Pattern

router = APIRouter(tags=["Health"], default_response_class=PlainTextResponse, responses={"4XX": TEXT})


@router.get("/metrics")
async def metrics(request: Request, names: Pattern = None) -> Response:
    """Counts and histograms for Prometheus (docs/metrics.md).

    `names`: which watchdogs get series of their own; without it all, if there are at most 1,000; empty: none.
    """
    accept = request.headers.get("accept", "")
    try:
        body, media = await backend_of(request).client.request(
            "metrics", lambda answer: render(answer, accept), **question(names)
        )
    except Unreachable:
        body, media = render(None, accept)  # banken_up 0
    return Response(body, headers={"Content-Type": media, "Cache-Control": "no-store"})
