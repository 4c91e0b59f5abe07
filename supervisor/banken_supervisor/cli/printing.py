"""What goes to a terminal: nothing that a worker wrote may steer it."""

from __future__ import annotations

import os
import re
import sys
import time
import unicodedata
from typing import Any

import click

from banken_supervisor.text.json_text import to_json

_BLANKS = dict.fromkeys(map(ord, "\t\n\v\f\r\x85\u2028\u2029"), " ")

# ESC [ parameters letter (colours, cursor); ESC ] title (until BEL or ESC \\).
_escapes = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")


def clean(text: object) -> str:
    """``text`` in one line and without control characters: terminal escapes, bells, direction overrides."""
    spaced = _escapes.sub("", str(text)).translate(_BLANKS)
    if spaced.isascii() and spaced.isprintable():
        return spaced
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf", "Cs"))


def clock(at: float, between: str = " ") -> str:
    """Wall-clock time for people, UTC, to the millisecond."""
    return time.strftime(f"%Y-%m-%d{between}%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"


def print_json(value: Any) -> None:
    """One value, for programs."""
    click.echo(to_json(value, indent=2))


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
