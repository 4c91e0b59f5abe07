"""``banken status --watch``: the same, again and again, on the whole terminal."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from banken.address import resolve
from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.durations import format_s
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.poller import Snapshot, Source
from banken_supervisor.cli.printing import plural
from banken_supervisor.cli.screen import Screen, need_terminal
from banken_supervisor.cli.status_table import (
    COLOURS,
    HEADER,
    PROGRAMS_COLOURS,
    PROGRAMS_HEADER,
    PROGRAMS_RIGHT,
    RIGHT,
    badness,
    cells,
    program_cells,
    summary_line,
)
from banken_supervisor.cli.tables import rich_table

if TYPE_CHECKING:
    from rich.console import RenderableType

LEAST_S = 1.0
"""Seconds between two looks at the least: a supervisor has better things to do."""


def follow(name: str | None, limit: int | None, every: float, address: str | None) -> None:
    """Until q or Ctrl-C. It goes on while no supervisor answers, and says so."""
    if every < LEAST_S:
        raise click.UsageError(f"--watch looks at most every {format_s(LEAST_S)}, not every {format_s(every)}")
    need_terminal("--watch", "`banken status --json`, or `banken events --json` to follow")
    where = resolve(address).text
    try:
        with Screen() as screen:
            source = Source(where, screen.wake, pattern=name, period=every)
            source.close_looks = False
            source.start()
            try:
                while True:
                    screen.show(page(source.snapshot, where, name, limit, screen.size, every))
                    keys = screen.wait(every)
                    if "q" in keys:
                        return
                    if "suspend" in keys:
                        screen.suspend()
                    alive(source)
            finally:
                source.close()
    except KeyboardInterrupt:
        return


def alive(source: Source) -> None:
    """A Failure if the thread that asks has ended: the view would stand still and look well."""
    if not source.is_alive():
        raise Failure(
            "what asks the supervisor has ended, which must not happen: please report it", exit_codes.NOT_SO
        )


def page(
    snapshot: Snapshot, where: str, name: str | None, limit: int | None, size: tuple[int, int], every: float
) -> RenderableType:
    """What the terminal shows of one snapshot."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    if snapshot.problem:
        since = format_s(max(0.0, monotonic() - snapshot.since))
        stale = "" if snapshot.summary is None else "; below is what was known before"
        parts.append(Text(f"{snapshot.problem} at {where} (for {since}); asking again{stale}", "bold red"))
    if snapshot.summary is not None:
        parts.append(Text.from_ansi(summary_line(snapshot.summary, where, True)))
        rows = sorted(snapshot.rows.values(), key=badness)
        programs = sorted(snapshot.programs, key=lambda row: row["name"])
        if name is not None:
            from fnmatch import fnmatchcase

            programs = [row for row in programs if fnmatchcase(row["name"], name)]
        parts += _tables(rows, programs, limit, size[1] - 6)
        if not rows and not programs and snapshot.complete:
            parts.append(Text("\nnobody is watched" if name is None else f"\nno watchdog is called {name!r}"))
    elif not snapshot.problem:
        parts.append(Text(f"asking {where} …"))
    parts.append(Text(f"\nevery {format_s(every)}; q quits", "dim"))
    return Group(*parts)


def _tables(
    rows: list[dict[str, Any]], programs: list[dict[str, Any]], limit: int | None, lines: int
) -> list[RenderableType]:
    """As many rows as there is room for; the worst come first."""
    from rich.text import Text

    parts: list[RenderableType] = []
    for title, right, all_rows, made, colours in (
        (HEADER, RIGHT, rows, cells, COLOURS),
        (PROGRAMS_HEADER, PROGRAMS_RIGHT, programs, program_cells, PROGRAMS_COLOURS),
    ):
        if not all_rows:
            continue
        room = max(1, lines - 3)
        shown = all_rows[: min(room, limit or room)]
        parts += [Text(), rich_table(title, right, [made(row) for row in shown], colours, wrap=False)]
        if len(shown) < len(all_rows):
            parts.append(Text(f"… and {plural(len(all_rows) - len(shown), 'more', 'more')}", "dim"))
        lines -= len(shown) + 3
    return parts
