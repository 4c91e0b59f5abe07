"""What is wrong with a config file: where, which key, and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from banken.errors import BankenError

FAULTS_MAX = 200
"""Faults told about one file; how many more there are is said in one further line."""

KeyPath = tuple[str | int, ...]
"""Where in the file: keys, and places in arrays counted from 0."""


class Problem(NamedTuple):
    """A fault before its line is known."""

    path: KeyPath
    text: str
    line: int | None = None
    """where it is known already (syntax)"""


class Fault(NamedTuple):
    """One thing that is wrong. ``str()`` of it is one line for people."""

    file: str
    line: int | None
    """counted from 1; None: the file as a whole"""
    key: str
    """such as ``watchdog[2].ladder[0].signal``, counted from 0; empty: the file as a whole"""
    text: str
    """what was wrong and what is allowed"""

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return one_line(": ".join(part for part in (where, self.key, self.text) if part))


class ConfigFaults(BankenError, ValueError):
    """A config file that cannot be used. ``faults`` has all that is wrong with it, in the order of the file."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))

    def __reduce__(self) -> tuple[type[ConfigFaults], tuple[tuple[Fault, ...]]]:
        return type(self), (self.faults,)


def dotted(path: KeyPath) -> str:
    """``watchdog[2].ladder[0].signal``, with keys quoted where TOML would want that."""
    told = ""
    for part in path:
        if isinstance(part, int):
            told += f"[{part}]"
            continue
        bare = part.isascii() and part.replace("-", "").replace("_", "").isalnum()
        told += ("." if told else "") + (part if bare else quoted(part))
    return told


def quoted(value: object, longest: int = 60) -> str:
    """``value`` as it might stand in the file, in one line and cut: texts in double quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = value if len(value) <= longest else value[: longest - 1] + "…"
        return '"' + one_line(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'
    if isinstance(value, int) and value.bit_length() > 256:
        return "a number of more than 77 digits"
    text = one_line(repr(value))
    return text if len(text) <= longest else text[: longest - 1] + "…"


def one_line(text: str) -> str:
    """``text`` with everything escaped that a terminal would not print as it stands."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
