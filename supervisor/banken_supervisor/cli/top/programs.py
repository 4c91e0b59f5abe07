"""The list of programs that the supervisor started."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from banken_supervisor.cli.poller import Snapshot
from banken_supervisor.cli.printing import clean
from banken_supervisor.cli.top import text
from banken_supervisor.cli.top.columns import Column, for_names
from banken_supervisor.cli.top.order import fits
from banken_supervisor.cli.top.table import Columns, RowTable
from banken_supervisor.text.durations import format_s

COLUMNS = (
    Column("STATE", 10),
    Column("PROGRAM", 16, 32),
    Column("PID", 7, right=True),
    Column("FOR", 7, right=True),
    Column("LOG", 12, 60, fold=1),
    Column("REMARK", 24, 60),
)


class ProgramTable(RowTable):
    """The worst first, then by name."""

    rows: dict[str, dict[str, Any]]
    watchdogs: dict[str, dict[str, Any]]

    def update_from(self, snapshot: Snapshot, wanted: str) -> None:
        """Show what is known now."""
        self.watchdogs = snapshot.rows
        self.rows = {row["name"]: row for row in snapshot.programs if fits(row, wanted)}
        names = sorted(self.rows, key=lambda name: (_badness(self.rows[name]["state"]), name))
        if snapshot.programs:
            empty = f"no program fits {clean(wanted)!r}; Escape shows all"
        else:
            empty = "this supervisor runs no programs; [[program]] in its config adds one"
        columns = for_names(COLUMNS, "PROGRAM", names, self.width)
        self.show(Columns(columns), names, empty)

    def cell(self, key: str, column: Column, width: int) -> Text:
        """One value of one program."""
        row = self.rows[key]
        match column.title:
            case "STATE":
                return text.state_text(row["state"], text.PROGRAM_STATES)
            case "PROGRAM":
                return Text(text.said(row["name"]))
            case "PID":
                return Text("-" if row["pid"] is None else str(row["pid"]))
            case "FOR":
                return Text(format_s(row["since"]))
            case "LOG":
                path = text.said(row.get("log") or "-")
                return Text(path if len(path) <= width else "…" + path[1 - width :])
        return Text(text.program_remark(row, self.watchdogs.get(key)))


def _badness(state: str) -> int:
    return text.PROGRAMS_WORST_FIRST.index(state) if state in text.PROGRAMS_WORST_FIRST else -1
