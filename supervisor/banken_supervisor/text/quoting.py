"""Values of a config file, and options of an action, as messages show them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from banken.protocol.limits import shorten
from banken_supervisor.text.sanitize import line, one_line

_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (int, "the number"),
    (float, "the number"),
    (str, "a text"),
    (list, "an array"),
    (dict, "a table"),
)


def quoted(value: object, longest: int = 60) -> str:
    """``value`` as it might stand in the file, in one line and cut: texts in double quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + one_line(shorten(value, longest).replace("\\", "\\\\").replace('"', '\\"')) + '"'
    if isinstance(value, int) and value.bit_length() > 256:
        return "a number of more than 77 digits"
    return line(repr(value), longest)


def kind_of(value: object) -> str:
    """What kind of thing ``value`` is, in the words of TOML, with the value where it is a number."""
    for kind, word in _KINDS:
        if isinstance(value, kind):
            return f"{word} ({quoted(value)})" if kind in (bool, int, float) else word
    return "nothing" if value is None else "a date or time" if hasattr(value, "isoformat") else "another type"


def suggestion(word: str, known: Iterable[str]) -> str:
    """``did you mean NAME?`` where one of ``known`` looks like ``word``, else empty."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"did you mean {near[0]}?" if near else ""


def unknown_key(key: str, allowed: Iterable[str]) -> str:
    """The message about a key that a table does not have."""
    names = sorted(allowed)
    hint = suggestion(key, names)
    return f"unknown key; {hint}{' ' if hint else ''}allowed: {', '.join(names) or 'none'}"
