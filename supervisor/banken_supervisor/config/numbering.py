"""``{i}``: the number of a program's process, in the texts of its table."""

from __future__ import annotations

import re
from typing import Any

PLACE = "{i}"
"""Stands in a program's name, command, env, env_file, cwd, log and check for the process's number, counted from 0.

``{{i}}`` stands for the text ``{i}`` itself."""

_place = re.compile(r"\{\{i\}\}|\{i\}")


def numbers_in(text: str) -> bool:
    """Whether the number of the process stands in it, not only the text ``{{i}}``."""
    return PLACE in _place.findall(text)


def filled(text: str, number: int) -> str:
    """``text`` of a process with this number."""
    return _place.sub(lambda found: str(number) if found[0] == PLACE else PLACE, text)


def filled_whole(value: Any, number: int) -> Any:
    """A value as tomllib gives it, with all its texts filled."""
    if isinstance(value, str):
        return filled(value, number)
    if isinstance(value, list):
        return [filled_whole(each, number) for each in value]
    if isinstance(value, dict):
        return {key: filled_whole(each, number) for key, each in value.items()}
    return value


def texts_in(value: Any) -> list[str]:
    """All texts in such a value."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in texts_in(each)]
