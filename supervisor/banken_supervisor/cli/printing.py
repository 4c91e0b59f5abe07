"""What goes to a terminal: nothing that a worker wrote may steer it."""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from typing import Any

_BLANKS = dict.fromkeys(map(ord, "\t\n\v\f\r\x85\u2028\u2029"), " ")

# ESC [ parameters letter (colours, cursor); ESC ] title (until BEL or ESC \\).
_escapes = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")


def clean(text: object) -> str:
    """``text`` in one line and without control characters: terminal escapes, bells, direction overrides."""
    spaced = _escapes.sub("", str(text)).translate(_BLANKS)
    if spaced.isascii() and spaced.isprintable():
        return spaced
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf", "Cs"))


def to_json(value: Any, **options: Any) -> str:
    """JSON that every parser takes: numbers that JSON lacks (infinity) become texts."""
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


def fancy() -> bool:
    """Whether stdout is a terminal that takes colours, and nobody asked for none (https://no-color.org)."""
    return (
        sys.stdout is not None
        and sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


def plural(count: int, one: str, many: str | None = None) -> str:
    """``1 verdict``, ``1,200 verdicts``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
