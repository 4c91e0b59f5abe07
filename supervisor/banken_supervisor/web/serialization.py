"""JSON and server-sent events as bytes. Texts of workers are escaped here, in one place."""

from __future__ import annotations

import json
from typing import Any


def to_json(value: Any) -> str:
    """Compact JSON in ASCII that every parser takes: numbers that JSON lacks (infinity) become texts."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def sse(event: str, data: str, identity: str | None = None) -> bytes:
    """One server-sent event. ``data`` is JSON from ``to_json``: one line, ASCII."""
    head = f"id: {identity}\n" if identity is not None else ""
    return f"{head}event: {event}\ndata: {data}\n\n".encode("ascii")
