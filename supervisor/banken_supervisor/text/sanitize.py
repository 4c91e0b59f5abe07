"""Limits on text and data that come from elsewhere: a worker, a command's output, a server's answer.

They may hold lone surrogates, which msgpack refuses, control characters, which a terminal obeys, or megabytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

from banken.protocol.limits import shorten

TEXT_MAX = 8192
"""Characters of a text for people."""

DATA_MAX = 512 * 1024
"""Characters and items, together, of the data of one outcome. Evidence has at most half of that."""

DEPTH_MAX = 16

LINE_MAX = 500
"""Characters of one line of a message to people."""

LINES_MAX = 20
"""Lines of a program's output that say why it died."""


ODD = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What calculating with a value of another kind raises."""


def text(value: str, longest: int = TEXT_MAX, *, keep_end: bool = False) -> str:
    """``value`` as Unicode that can be encoded, at most ``longest`` characters: its beginning, or its end."""
    if len(value) > longest:
        value = "…" + value[len(value) - longest + 1 :] if keep_end else shorten(value, longest)
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")


def one_line(value: str) -> str:
    """``value`` with everything escaped that a terminal would not print as it stands."""
    if value.isprintable():
        return value
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in value)


def line(value: str, longest: int = LINE_MAX) -> str:
    """``value`` as one line that can be shown anywhere, cut to ``longest`` characters, escapes included."""
    return shorten(one_line(shorten(value, longest)), longest)


def last_lines(value: str, most: int = LINES_MAX) -> list[str]:
    """The last lines of an output that are not empty, each as one line that can be shown anywhere."""
    found = [each for each in value.splitlines() if each.strip()]
    return [line(each) for each in found[-most:]]


def to_json(value: Any, **options: Any) -> str:
    """JSON that every parser takes: numbers that JSON lacks (infinity) become texts."""
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, **options)


def from_json(written: str | bytes) -> Any:
    """What others wrote as JSON. ValueError: it is none, or lies too deep within itself."""
    try:
        return json.loads(written)
    except RecursionError:
        raise ValueError("its lists or maps lie too deep within each other") from None


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def plain(data: Mapping[Any, Any], room: int = DATA_MAX) -> dict[str, Any]:
    """``data`` as msgpack and JSON take it, at most ``room`` characters and items.

    What does not fit is left out; ``cut`` is then True in the answer.
    """
    budget = _Budget(room)
    found: dict[str, Any] = budget.mapping(data, 0)
    if budget.cut:
        found["cut"] = True
    return found


class _Budget:
    """Copies data as long as there is room."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.cut = False

    def value(self, value: Any, depth: int) -> Any:
        self.room -= 1
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value) if -(2**63) <= value < 2**64 else self.text(hex(value))
        if isinstance(value, float):
            return float(value) if isfinite(value) else repr(float(value))
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, (bytes, bytearray)):
            return self.text(bytes(value[: self.room]).decode("utf-8", "backslashreplace"))
        if depth >= DEPTH_MAX:
            self.cut = True
            return "…"
        if isinstance(value, Mapping):
            return self.mapping(value, depth + 1)
        if isinstance(value, (Sequence, set, frozenset)):
            return [self.value(each, depth + 1) for each in self._fitting(value)]
        return self.text(f"<{type(value).__name__}>")

    def text(self, value: str) -> str:
        longest = max(1, self.room)
        self.cut = self.cut or len(value) > longest
        value = text(str(value), longest)
        self.room -= len(value)
        return value

    def mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        return {
            self.text(key if isinstance(key, str) else repr(key)): self.value(each, depth)
            for key, each in self._fitting(value.items())
        }

    def _fitting(self, items: Iterable[Any]) -> Iterable[Any]:
        for each in items:
            if self.room <= 0:
                self.cut = True
                return
            yield each


def redact(data: Any, hidden: Iterable[str]) -> Any:
    """``data`` (plain) with *** in place of everything that is ``hidden``."""
    # The longest first: one may hold another.
    return _redact(data, sorted({each for each in hidden if each}, key=len, reverse=True))


def _redact(data: Any, secrets: list[str]) -> Any:
    if isinstance(data, str):
        for each in secrets:
            data = data.replace(each, "***")
        return data
    if isinstance(data, dict):
        return {_redact(key, secrets): _redact(each, secrets) for key, each in data.items()}
    if isinstance(data, list):
        return [_redact(each, secrets) for each in data]
    return data
