"""JSON and server-sent events as bytes. Texts of workers are escaped here, in one place."""

from __future__ import annotations

from typing import Any

from banken_supervisor.text import json_text


def to_json(value: Any) -> str:
    """Compact JSON in ASCII."""
    return json_text.to_json(value, separators=(",", ":"))


def sse(event: str, data: str, identity: str | None = None) -> bytes:
    """One server-sent event. ``data`` is JSON from ``to_json``: one line, ASCII."""
    head = f"id: {identity}\n" if identity is not None else ""
    return f"{head}event: {event}\ndata: {data}\n\n".encode("ascii")
