"""What is wrong with a config file: where, which key, and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from banken.errors import BankenError
from banken_supervisor.text.quoting import quoted
from banken_supervisor.text.sanitize import one_line

FAULTS_MAX = 200
"""Faults reported for one file; one further line counts the rest."""

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
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        bare = part.isascii() and part.replace("-", "").replace("_", "").isalnum()
        text += ("." if text else "") + (part if bare else quoted(part))
    return text
