"""What goes to a terminal, or to a pipe in its place: nothing that a worker wrote may steer it."""

from __future__ import annotations

import os
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from banken_supervisor.cli.group import Failure
from banken_supervisor.text.sanitize import to_json

if TYPE_CHECKING:
    from rich.text import Text

_BLANKS = dict.fromkeys(map(ord, "\t\n\v\f\r\x85\u2028\u2029"), " ")

# ESC [ parameters letter (colours, cursor); ESC ] title (until BEL or ESC \\).
_escapes = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")


def clean(text: object) -> str:
    """``text`` in one line and without control characters: terminal escapes, bells, direction overrides."""
    spaced = _escapes.sub("", str(text)).translate(_BLANKS)
    if spaced.isascii() and spaced.isprintable():
        return spaced
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf", "Cs"))


def clock(at: float, day: float | None = None) -> str:
    """Wall-clock time for people, to the millisecond, in their zone and with it: ``2026-11-24 18:07:11.123 CET``.
    Without the date where that is the one of ``day``, another such time."""
    try:
        there = time.localtime(at)
    except (OverflowError, ValueError, OSError):  # of a clock that was wrong, or of a peer with a fault
        return f"{at:.6g} s since 1970"
    date = "" if day is not None and there[:3] == time.localtime(day)[:3] else time.strftime("%Y-%m-%d ", there)
    return f"{date}{time.strftime('%H:%M:%S', there)}.{int(at % 1 * 1000):03d} {there.tm_zone}"


def timestamp(at: float) -> str:
    """The same for programs, in UTC, as RFC 3339 has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"


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


def need_terminal(what: str, instead: str) -> None:
    """A Failure unless stdin, stdout and stderr are a terminal that can be drawn on."""
    for stream, name in ((sys.stdin, "stdin"), (sys.stdout, "stdout"), (sys.stderr, "stderr")):
        if stream is None or not stream.isatty():
            raise Failure(f"{what} needs a terminal, and {name} is none; in a script use {instead}")
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        raise Failure(f"{what} cannot draw on this terminal (TERM is dumb or not set); use {instead}")
    encoding = sys.stderr.encoding or ""
    if "utf" not in encoding.lower():
        raise Failure(f"{what} needs a terminal in UTF-8, not {encoding}; use {instead}")
    # The size is the terminal's own: what a shell exports as COLUMNS and LINES stays as it was when it is changed.
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)


LAST_MIN = 24
"""Columns of the terminal that the last cell of a row has beside the others, where it needs so many; else it stands
below them."""

INDENT = 4
"""Columns by which it is indented there."""

LAST_LINES = 6
"""Lines of it; what is longer can be read with a command of its own."""


class Table(NamedTuple):
    """One kind of table: aligned text for pipes; for terminals with colours, and no wider than they are."""

    header: Sequence[str]
    right: Collection[int]
    """columns that are aligned to the right"""
    cells: Callable[[Any], Sequence[str]]
    """one row as texts"""
    colours: Mapping[str, str] = {}
    """of the words in the column ``coloured``"""
    coloured: int = 0

    def print(self, rows: Iterable[Any]) -> None:
        """Print it, for a terminal or for a pipe."""
        if not fancy():
            click.echo("\n".join(self.lines(rows)))
            return
        from rich.console import Console

        console = Console(highlight=False)
        for row in self.styled(rows, console.width):
            console.print(row, soft_wrap=True)

    def lines(self, rows: Iterable[Any]) -> list[str]:
        """Aligned, without colours."""
        table = [self.header, *map(self.cells, rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return [
            "  ".join(
                cell.rjust(width) if place in self.right else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]

    def styled(self, rows: Iterable[Any], width: int) -> list[Text]:
        """The header and each row, of one line or several, for a terminal of so many columns. Only the last cell is
        wrapped: beside the others, or below them where there is too little room."""
        from rich.cells import cell_len
        from rich.text import Text

        table = [self.header, *map(self.cells, rows)]
        widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
        before = sum(widths[:-1]) + 2 * (len(widths) - 1)
        room = width - before
        narrow = room < min(LAST_MIN, widths[-1])
        made = []
        for number, row in enumerate(table):
            whole = Text()
            for place, cell in enumerate(row[:-1]):  # as Text: what workers wrote is no markup
                style = "dim" if number == 0 else self.colours.get(cell, "") if place == self.coloured else ""
                blanks = " " * (widths[place] - cell_len(cell))
                whole.append(blanks + cell if place in self.right else cell + blanks, style).append("  ")
            below = narrow and cell_len(row[-1]) > room
            new_line = "\n" + " " * (INDENT if below else before)
            last = _wrapped(row[-1], max(1, width - INDENT if below else room))
            if below:
                whole.rstrip()
                last = ["", *last] if number else []
            whole.append(new_line.join(last), "dim" if number == 0 else "")
            whole.rstrip()
            made.append(whole)
        return made


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` columns, a bounded number of them."""
    from rich.console import Console
    from rich.text import Text

    lines = [each.plain.rstrip() for each in Text(text).wrap(Console(width=width), width)]
    return (
        lines if len(lines) <= LAST_LINES else [*lines[: LAST_LINES - 1], lines[LAST_LINES - 1][: width - 1] + "…"]
    )
