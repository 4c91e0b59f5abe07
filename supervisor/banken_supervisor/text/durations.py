"""Durations as people write and read them: ``30s``, ``2m30s``, ``500ms``."""

from __future__ import annotations

import re

from banken.errors import DurationRefused
from banken.protocol.limits import check_seconds, shorten

UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
"""Seconds in each allowed unit."""

NEVER_S = 365 * 86400.0
"""A timeout of this many seconds or more means: never."""

_PART = r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|m|h|d)"
_whole = re.compile(rf"\s*(?:{_PART}\s*)+", re.ASCII)
_part = re.compile(_PART, re.ASCII)
_number = re.compile(r"\s*(?:\d+(?:\.\d*)?|\.\d+)\s*", re.ASCII)

ALLOWED = "a number of seconds, or numbers with the units ms, s, m, h, d, such as 500ms, 30s, 2m30s, 1h"


def parse(text: str, what: str = "duration", *, zero: bool = False) -> float:
    """Parse a duration into seconds. DurationRefused says what is allowed. ``zero=True`` also allows 0."""
    if _number.fullmatch(text):
        return check_seconds(float(text), what, zero=zero)
    if not _whole.fullmatch(text.lower()):
        raise DurationRefused(f"{shorten(text)!r} is no duration; allowed is {ALLOWED}")
    total = sum(float(number) * UNITS_S[unit] for number, unit in _part.findall(text.lower()))
    return check_seconds(round(total, 6), what, zero=zero)


def format_s(seconds: float) -> str:
    """Short, for a table or a sentence: ``2.3 ms``, ``0.42 s``, ``29.4 s``, ``2m30s``, ``1h05m``, ``3d04h``."""
    if seconds < 0:
        return "-" + format_s(-seconds)
    if 0.0001 <= seconds < 0.00995:
        return f"{seconds * 1000:.1f}".removesuffix(".0") + " ms"
    if round(seconds, 2) < 10:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + " s"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for size, name, smaller, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size}{name}" + (f"{rest:02d}{below}" if rest else "")
    raise AssertionError(f"{seconds} s have no unit")
