"""Which of an incident's facts say something to people, and the line that says most of a long reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from banken_supervisor.text.durations import NEVER_S

_AT_ONCE = ("exited", "failed", "too-fast")
"""Causes that no deadline is passed for."""

_UNFED = ("too-few", "failed", "too-fast")
"""Causes that silence has nothing to do with."""

LEAST_S = 0.0005
"""A silence that is shorter is none."""

_TRACEBACK = "Traceback (most recent call last):"


def gist(reason: str) -> str:
    """One line: of a traceback the exception's type and message, of any other text the first line."""
    lines = [line for line in reason.splitlines() if line.strip()]
    if not lines:
        return ""
    heads = [number for number, line in enumerate(lines) if line == _TRACEBACK]
    if not heads and not reason.startswith("…"):  # one that was cut begins so, without its head
        return lines[0]
    below = lines[heads[-1] + 1 :] if heads else lines[1:]
    return next((line for line in below if not line.startswith(" ")), lines[-1])


def telling(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event without what would mislead: a deadline that nobody had, a timeout that means "never"."""
    cause = event.get("cause")
    return {key: value for key, value in event.items() if not _idle(key, value, cause)}


def _idle(key: str, value: Any, cause: object) -> bool:
    if key == "late":
        return cause in _AT_ONCE
    if not isinstance(value, (int, float)):
        return False
    if key == "silence":
        return cause in _UNFED or value < LEAST_S
    return key in ("timeout", "grace") and value >= NEVER_S
