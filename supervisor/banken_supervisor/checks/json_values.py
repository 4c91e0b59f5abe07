"""Values in JSON: found by a path, compared with what is expected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from banken_supervisor.text.quoting import quoted
from banken_supervisor.text.sanitize import from_json

PATH_MAX = 200

_MISSING = object()

_part = re.compile(r"(?:^|\.)([^.\[\]\s]+)|\[(\d{1,6})\]", re.ASCII)
_comparison = re.compile(r"\s*(<=|>=|<|>)\s*(-?\d{1,15}(?:\.\d{1,9})?)\s*", re.ASCII)


def path_of(text: str) -> list[str | int]:
    """The steps of ``$.queues[0].waiting``; ``$.`` may be left out. ValueError."""
    given = text.removeprefix("$").removeprefix(".") if text.startswith("$") else text
    steps: list[str | int] = []
    place = 0
    while place < len(given) and (found := _part.match(given, place)):
        steps.append(found[1] if found[1] is not None else int(found[2]))
        place = found.end()
    if place < len(given) or not steps or len(text) > PATH_MAX:
        raise ValueError(f'{quoted(text)} is no path; allowed is one such as "status.db" or "queues[0].waiting"')
    return steps


def judge(body: bytes, expected: Mapping[str, Any]) -> str | None:
    """What is wrong with the values in the body; None: nothing."""
    try:
        document = from_json(body)
    except ValueError:
        begins = quoted(body[:60].decode("utf-8", "backslashreplace"))
        return f"JSON was expected, and the body is none; it begins with {begins}" if body else "the body is empty"
    for path, wanted in expected.items():
        found: Any = document
        step: Any
        for step in path_of(path):
            try:
                found = found[step] if isinstance(found, (dict, list)) else _MISSING
            except (KeyError, IndexError, TypeError):
                found = _MISSING
        if found is None or found is _MISSING:
            what = "is null" if found is None else "is not there"
            return f"{path}: {_shown(wanted)} was expected, and it {what}"
        if not _fits(found, wanted):
            return f"{path}: {_shown(wanted)} was expected, {_shown(found)} came"
    return None


def _fits(found: Any, wanted: Any) -> bool:
    compared = _comparison.fullmatch(wanted) if isinstance(wanted, str) else None
    if compared is not None and isinstance(found, (int, float)) and not isinstance(found, bool):
        return compare(found, compared[1], float(compared[2]))
    if isinstance(wanted, bool) or isinstance(found, bool):
        return found is wanted
    return bool(found == wanted)


def compare(found: float, operator: str, limit: float) -> bool:
    """``found < limit``, or another of the four."""
    return {"<": found < limit, "<=": found <= limit, ">": found > limit, ">=": found >= limit}[operator]


def _shown(value: Any) -> str:
    return quoted(value) if isinstance(value, (str, int, float, bool)) else quoted(str(value))
