"""JSON that every parser takes, in ASCII."""

from __future__ import annotations

import json
from typing import Any


def to_json(value: Any, **options: Any) -> str:
    """``json.dumps(value, **options)``, but numbers that JSON lacks (infinity) become texts."""
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, **options)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
