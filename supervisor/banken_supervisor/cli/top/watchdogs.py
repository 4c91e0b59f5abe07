"""The list of watchdogs."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from banken_supervisor.cli import sparkline
from banken_supervisor.cli.poller import Snapshot, rate_of
from banken_supervisor.cli.printing import clean
from banken_supervisor.cli.top import text
from banken_supervisor.cli.top.columns import Column, for_names
from banken_supervisor.cli.top.order import SORTS, Order, fits, shown_state
from banken_supervisor.cli.top.table import Columns, RowTable
from banken_supervisor.text.durations import format_s

NAME_MOST = 40

LEFT_BAR, GAPS_MOST = 8, 32

COLUMNS = (
    Column("STATE", 10, sort="state"),
    Column("NAME", 18, NAME_MOST, sort="name"),
    Column("LEFT", 7, right=True, sort="left"),
    Column("", LEFT_BAR, fold=5),
    Column("SILENT", 7, right=True, sort="silence"),
    Column("TIMEOUT", 7, fold=7, right=True),
    Column("RATE", 8, fold=4, right=True, sort="rate"),
    Column("GAPS", 8, GAPS_MOST, fold=6),
    Column("PID", 7, fold=8, right=True),
    Column("INC", 5, fold=2, right=True, sort="incidents"),
    Column("REMARK", 24, 400),
)

NOBODY = "no watchdogs yet; try: banken feed hello --timeout 30s"


class WatchdogTable(RowTable):
    """All watchdogs that the filter lets through."""

    def __init__(self, id_: str, order: Order) -> None:
        super().__init__(id_)
        self.order = order
        self.rows: dict[str, dict[str, Any]] = {}
        self.programs: set[str] = set()

    def update_from(self, snapshot: Snapshot, wanted: str) -> None:
        """Show what is known now."""
        self.rows = snapshot.rows
        self.programs = {row["name"] for row in snapshot.programs}
        names = self.order.arrange(row for row in snapshot.rows.values() if fits(row, wanted))
        columns = for_names(COLUMNS, "NAME", names, self.width)
        if snapshot.rows:
            empty = f"no watchdog fits {clean(wanted)!r}; Escape shows all"
        else:
            empty = NOBODY if snapshot.complete else "asking …"
        self.show(Columns(columns, self.order.sort, self.order.reverse), names, empty)

    def next_sort(self) -> str:
        """The sort after the one in force."""
        sorts = list(SORTS)
        return sorts[(sorts.index(self.order.sort) + 1) % len(sorts)]

    def cell(self, key: str, column: Column, width: int) -> Text:
        """One value of one watchdog."""
        row = self.rows[key]
        match column.title:
            case "STATE":
                return text.state_text(shown_state(row))
            case "NAME":
                return Text(text.said(row["name"]))
            case "LEFT":
                return Text(text.left_text(row))
            case "":
                return text.left_bar(row, width)
            case "SILENT":
                return Text(format_s(row["silence"]))
            case "TIMEOUT":
                return Text(format_s(row["timeout"]) if text.has_timeout(row) else "-")
            case "RATE":
                return Text(sparkline.rate_text(rate_of(row)))
            case "GAPS":
                top = row["timeout"] if text.has_timeout(row) else max(text.gaps_of(row), default=1.0)
                return Text(sparkline.sparkline(text.gaps_of(row), top, width))
            case "PID":
                return Text("-" if row["pid"] is None else str(row["pid"]))
            case "INC":
                return Text(f"{row['incidents']:,}", "bold" if row["incidents"] else text.GREY)
        return Text(text.remark(row, program=key in self.programs))
