"""JSON and server-sent events. Texts of workers are escaped here, in one place."""

from __future__ import annotations

from functools import partial

from banken_supervisor.text import sanitize

to_json = partial(sanitize.to_json, separators=(",", ":"))
"""Compact JSON in ASCII that every parser takes."""


def sse(event: str, data: str, identity: str | None = None) -> bytes:
    """One server-sent event. ``data`` is JSON from ``to_json``: one line, ASCII."""
    head = f"id: {identity}\n" if identity is not None else ""
    return f"{head}event: {event}\ndata: {data}\n\n".encode("ascii")
