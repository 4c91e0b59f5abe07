"""``/badge/NAME.svg``: the state of one watchdog as a small picture, for other pages."""

from __future__ import annotations

from html import escape
from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from banken.errors import RequestFailed, Unreachable
from banken.protocol.limits import check_name
from banken_supervisor.web.backend import backend_of
from banken_supervisor.web.errors import TEXT
from banken_supervisor.web.parameters import TOKEN

COLOURS = {
    "alive": "#2e7d32",
    "running": "#2e7d32",
    "idle": "#2e7d32",
    "waiting": "#9a6700",
    "paused": "#57606a",
    "expired": "#b42318",
    "given-up": "#7a1f1a",
}
"""All dark enough for white letters."""

UNKNOWN = "#6e7781"

_WIDE = 6.6
"""About how wide a letter of 11 pixels is; ``textLength`` makes every browser keep to it."""


class Svg(Response):
    """A picture."""

    media_type = "image/svg+xml"


router = APIRouter(tags=["Badges"], default_response_class=Svg, dependencies=TOKEN, responses={"4XX": TEXT})


@router.get("/badge/{file}")
async def badge(
    request: Request, file: Annotated[str, Path(description="the watchdog's name and `.svg`")]
) -> Response:
    """The state of one watchdog as a small picture. It also says `unknown` or `no supervisor`."""
    name = check_name(unquote(file.removesuffix(".svg")))
    try:
        rows = (await backend_of(request).look((name,), feeds=False))["rows"]
        state = rows[0]["state"] if rows else "unknown"
    except (Unreachable, RequestFailed):
        state = "no supervisor"
    return Svg(
        drawn(name, state),
        headers={
            "Cache-Control": "no-cache, max-age=0",
            # An SVG that is opened by itself is a document: it has nothing to load and nothing to run.
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        },
    )


def drawn(label: str, state: str) -> str:
    """The picture. Any text is safe in it."""
    label = label if len(label) <= 64 else label[:63] + "…"
    left, right = round(len(label) * _WIDE) + 12, round(len(state) * _WIDE) + 12
    whole, title = left + right, escape(f"{label}: {state}")
    colour = COLOURS.get(state, UNKNOWN)

    def text(words: str, middle: float, width: int) -> str:
        return f'<text x="{middle:g}" y="14" textLength="{width - 12}">{escape(words)}</text>'

    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="20" role="img" aria-label="{title}">'
        f'<title>{title}</title><clipPath id="r"><rect width="{whole}" height="20" rx="3"/></clipPath>'
        f'<g clip-path="url(#r)"><rect width="{left}" height="20" fill="#3d444d"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{colour}"/></g>'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f"{text(label, left / 2, left)}{text(state, left + right / 2, right)}</g></svg>"
    )
