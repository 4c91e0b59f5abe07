"""The one table of the suite, on the screen and in docs/reliability.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .catalogue import FAULTS, PROMISES
from .seen import Seen

KILLS_TEST = "tests/process/test_kill_restore.py::test_nothing_is_lost_or_doubled_and_nobody_convicted"
OTHERS = {
    "kill-9": (4, "kill -9 at random moments, beside one attack or another, and the next supervisor", KILLS_TEST),
    "soak": (
        1,
        "100 processes for hours, one fault or another each minute",
        "tests/faults/test_faults.py::test_a_short_round_breaks_no_promise",
    ),
}
"""Rows that are no fault of the catalogue: promise, what is done, test."""

HEAD = ("promise", "fault", "test", "rounds", "worst figure", "verdict")
BEGIN, END = "<!-- faults: begin -->\n", "<!-- faults: end -->\n"

_name = re.compile(r"^`([\w-]+)`")


@dataclass
class Row:
    """What became of one fault."""

    name: str
    seen: Seen
    not_tried: str = ""
    """why"""
    figure: str = ""
    """instead of what ``seen`` has"""

    @property
    def verdict(self) -> str:
        """In a word."""
        return "not tried" if self.not_tried else "broken" if self.seen.wrong else "kept"

    def cells(self) -> tuple[str, ...]:
        """As in ``HEAD``."""
        promise, what, test = about(self.name)
        figure = self.not_tried or self.figure or figures(self.seen)
        return (
            f"{promise}: {PROMISES[promise]}", f"`{self.name}`: {what}", f"`{test}`", str(self.seen.rounds), figure,
            self.verdict,
        )  # fmt: skip


def about(name: str) -> tuple[int, str, str]:
    """Promise, what is done, and test of a row."""
    if name in OTHERS:
        return OTHERS[name]
    fault = FAULTS[name]
    return fault.promise, fault.what, fault.test


def figures(seen: Seen) -> str:
    """The worst of each thing that was measured."""
    parts = [f"{len(seen.wrong)} wrong of {seen.announced:,} verdicts"]
    if seen.late:
        parts.append(f"verdict {_seconds(max(seen.late))} late")
    if seen.deeds:
        parts.append(f"first action {_seconds(max(seen.deeds))}")
    if seen.calm:
        parts.append(f"calm {_seconds(max(seen.calm))}")
    if seen.back:
        parts.append(f"clients back in {_seconds(max(seen.back))}")
    if seen.more >= 2**20:
        parts.append(f"+{seen.more / 2**20:.0f} MB")
    if seen.stops:
        parts.append(f"SIGTERM {_seconds(max(seen.stops))}")
    return "; ".join(parts)


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1.0 else f"{value:.1f} s"


def shown(rows: Iterable[Row]) -> str:
    """For a terminal: without the tests, and with what is wrong below."""
    rows = sorted(rows, key=order)
    cells = [[each for column, each in enumerate(row.cells()) if column != 2] for row in rows]
    lines = [[each for column, each in enumerate(HEAD) if column != 2], *cells]
    widths = [min(70, max(len(line[column]) for line in lines)) for column in range(len(lines[0]))]
    text = [
        "  ".join(each[:width].ljust(width) if column != 3 else each.ljust(width)
                  for column, (each, width) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in lines
    ]  # fmt: skip
    text += [f"{row.name}: {each}" for row in rows for each in row.seen.wrong[:10]]
    return "\n".join(text)


def order(row: Row) -> tuple[int, int]:
    """By promise, and then as in the catalogue."""
    names = [*FAULTS, *OTHERS]
    return about(row.name)[0], names.index(row.name)


def written(page: str, rows: Sequence[Row], how: str) -> str:
    """The page with these rows in its table; others that it has stay. ``how``: what made them.

    ValueError: the page has no place for the table.
    """
    before, begin, rest = page.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no lines {BEGIN.strip()} and {END.strip()}")
    kept = {name: line for line in inside.splitlines() if (name := name_of(line))}
    kept |= {row.name: _line(row.cells()) for row in rows}
    lines = [kept[name] for name in sorted(kept, key=lambda name: order(Row(name, Seen())))]
    table = "\n".join([how, "", _line(HEAD), "|" + "---|" * len(HEAD), *lines])
    return f"{before}{begin}{table}\n{end}{after}"


def name_of(line: str) -> str:
    """The fault of a line of the table; empty: it is another line."""
    cells = [each.strip() for each in line.strip("|").split("|")]
    found = _name.match(cells[1]) if len(cells) == len(HEAD) else None
    return found[1] if found else ""


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(each.replace("|", "\\|") for each in cells) + " |"


def write(path: Path, rows: Sequence[Row], how: str) -> None:
    """Into the page at ``path``."""
    path.write_text(written(path.read_text(encoding="utf-8"), rows, how), encoding="utf-8")
