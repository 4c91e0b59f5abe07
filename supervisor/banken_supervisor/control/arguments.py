"""Arguments of requests, checked."""

from __future__ import annotations

from typing import Any

from banken_supervisor.control.key_rights import shown
from banken_supervisor.engine.patterns import Matcher, matcher

PATTERN_MAX = 256
"""Characters of a pattern: twice the longest name."""

STARS_MAX = 16
BRACKETS_MAX = 32
"""Number of each in one pattern: every star scans the rest of the name again. Within these limits a pattern costs
at most about ten microseconds per name."""

OFFSET_MAX = 2**31 - 1
"""Far more than the number of watchdogs."""


class RequestRefused(Exception):
    """The text goes to the client, ``reason`` to the counters."""

    def __init__(self, text: str, reason: str = "request") -> None:
        super().__init__(text)
        self.reason = reason


def integer_of(args: dict[str, Any], key: str, least: int, most: int, default: int) -> int:
    """An argument that is an integer within bounds."""
    value = args.get(key, default)
    if type(value) is not int or not least <= value <= most:
        raise RequestRefused(f"{key} must be an integer from {least} to {most}, not {shown(value)}")
    return value


def pattern_of(args: dict[str, Any]) -> str | None:
    """The argument ``name``: a name or a pattern; None: all."""
    pattern = args.get("name")
    if pattern is not None and type(pattern) is not str:
        raise RequestRefused(f"name must be a string, not {shown(pattern)}")
    return pattern


def matcher_of(pattern: str | None) -> Matcher:
    """Whether a name matches; None: all do."""
    if pattern is None:
        return lambda name: True
    for found, most, what in (
        (len(pattern), PATTERN_MAX, "characters"),
        (pattern.count("*"), STARS_MAX, "stars"),
        (pattern.count("["), BRACKETS_MAX, "brackets"),
    ):
        if found > most:
            raise RequestRefused(f"a pattern may have at most {most} {what}, not {found}")
    return matcher(pattern)
