"""``banken status --watch``: the same, again and again, on the whole terminal."""

from __future__ import annotations

from contextlib import suppress
from fnmatch import fnmatchcase
from itertools import accumulate
from time import monotonic
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from banken_supervisor.cli.places import Places, program_severity
from banken_supervisor.cli.poller import Snapshot, Source
from banken_supervisor.cli.status_table import PROGRAMS, WATCHDOGS, summary_line
from banken_supervisor.cli.terminal_app import EndingApp
from banken_supervisor.text.durations import format_s


class WatchApp(EndingApp):
    """Shows what its source finds. ``fault`` says after the end what made it end, where that was a fault."""

    ENABLE_COMMAND_PALETTE = False
    CSS = "Screen { overflow: hidden; } Static { text-wrap: nowrap; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
    ]

    def __init__(self, where: str, name: str | None, limit: int | None, every: float) -> None:
        super().__init__(ansi_color=True)
        self.fault = ""
        self._asked = where, name, limit, every
        self._page = Static()
        self._places = Places(), Places(program_severity, "running")
        self._source = Source(where, self._changed, pattern=name, period=every)
        self._source.close_looks = False

    def _changed(self) -> None:
        with suppress(RuntimeError):  # after the end nobody listens
            self.call_later(self._show)

    def compose(self) -> ComposeResult:
        """One text, over the whole screen."""
        yield self._page

    def on_mount(self) -> None:
        """Begin to ask."""
        self._source.start()
        self.set_interval(self._asked[-1], self._show)

    def on_unmount(self) -> None:
        """End the thread that asks."""
        self._source.close()

    def on_resize(self) -> None:
        """Show as much as there is room for now."""
        self._show()

    def _show(self) -> None:
        if self._source.ident is not None and not self._source.is_alive():
            self.fault = "what asks the supervisor has ended, which must not happen: please report it"
            self.exit(return_code=1)
        self._page.update(
            page(self._source.snapshot, self._places, *self._asked, columns=self.size.width, lines=self.size.height)
        )


def page(
    snapshot: Snapshot,
    places: tuple[Places, Places],
    where: str,
    name: str | None,
    limit: int | None,
    every: float,
    *,
    columns: int,
    lines: int,
) -> RenderableType:
    """What the terminal shows of one snapshot: as many rows as there is room for, the worst first.

    ``places``: those of the watchdogs, and those of the programs.
    """
    parts: list[RenderableType] = []
    if snapshot.problem:
        since = format_s(max(0.0, monotonic() - snapshot.since))
        stale = "" if snapshot.summary is None else "; below is what was known before"
        parts.append(Text(f"{snapshot.problem} at {where} (for {since}); asking again{stale}", "bold red"))
    if snapshot.summary is not None:
        known = snapshot.rows.values() if snapshot.complete and name is None else None
        parts.append(Text.from_ansi(summary_line(snapshot.summary, where, True, known)))
        watchdogs = places[0].sort(snapshot.rows.values(), snapshot.at)
        programs = places[1].sort(snapshot.programs, snapshot.at)
        if name is not None:
            programs = [row for row in programs if fnmatchcase(row["name"], name)]
        lines -= 6
        for kind, rows in ((WATCHDOGS, watchdogs), (PROGRAMS, programs)):
            if rows:
                room = max(1, lines - 3)
                head, *texts = kind.styled(rows[: min(room, limit or room)], columns)
                heights = list(accumulate(each.plain.count("\n") + 1 for each in texts))
                shown = max(1, sum(height <= room for height in heights))
                parts += [Text(), head, *texts[:shown]]
                if shown < len(rows):
                    parts.append(Text(f"… and {len(rows) - shown:,} more", "dim"))
                lines -= heights[shown - 1] + 3
        if not watchdogs and not programs and snapshot.complete:
            parts.append(Text("\nnobody is watched" if name is None else f"\nno watchdog is called {name!r}"))
    elif not snapshot.problem:
        parts.append(Text(f"asking {where} …"))
    parts.append(Text(f"\nevery {format_s(every)}; q quits", "dim"))
    return Group(*parts)
