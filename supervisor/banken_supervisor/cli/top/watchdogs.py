"""The lists of watchdogs and of programs, as a snapshot has them."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from banken_supervisor.cli import sparkline
from banken_supervisor.cli.places import Places
from banken_supervisor.cli.poller import Snapshot, rate_of
from banken_supervisor.cli.status_table import left_text, silence_text
from banken_supervisor.cli.top import text
from banken_supervisor.cli.top.columns import Column
from banken_supervisor.cli.top.order import Order
from banken_supervisor.cli.top.table import Row
from banken_supervisor.text.durations import format_s

NOBODY = "no watchdogs yet; try: banken feed hello --timeout 30s"
NO_PROGRAMS = "this supervisor runs no programs; [[program]] in its config adds one"


def _gaps(row: dict[str, Any], width: int) -> str:
    return sparkline.sparkline(text.gaps_of(row), text.longest_gap(row), width)


def _incidents(row: dict[str, Any], width: int) -> Text:
    return Text(f"{row['incidents']:,}", "bold" if row["incidents"] else text.GREY)


def _pid(row: dict[str, Any], width: int) -> str:
    return "-" if row["pid"] is None else str(row["pid"])


def _name(row: dict[str, Any], width: int) -> str:
    return text.said(row["name"])


def _timeout(row: dict[str, Any], width: int) -> str:
    return format_s(row["timeout"]) if text.has_timeout(row) else "-"


def _log(row: dict[str, Any], width: int) -> str:
    path = text.said(row.get("log") or "-")
    return path if len(path) <= width else "…" + path[1 - width :]


COLUMNS = (
    Column("STATE", 10, sort="state", cell=lambda row, _: text.state_text(row["state"])),
    Column("NAME", 18, 40, sort="name", cell=_name),
    Column("LEFT", 7, right=True, sort="left", cell=lambda row, _: left_text(row)),
    Column("", 8, fold=5, cell=text.left_bar),
    Column("SILENT", 7, right=True, sort="silence", cell=lambda row, _: silence_text(row)),
    Column("TIMEOUT", 7, fold=7, right=True, cell=_timeout),
    Column("RATE", 8, fold=4, right=True, sort="rate", cell=lambda row, _: sparkline.rate_text(rate_of(row))),
    Column("GAPS", 8, 32, fold=6, cell=_gaps),
    Column("PID", 7, fold=8, right=True, cell=_pid),
    Column("INC", 5, fold=2, right=True, sort="incidents", cell=_incidents),
    Column("REMARK", 24, 400, cell=lambda row, _: text.remark(row)),
)

PROGRAM_COLUMNS = (
    Column("STATE", 10, cell=lambda row, _: text.state_text(row["state"], text.PROGRAM_STATES)),
    Column("PROGRAM", 16, 32, cell=_name),
    Column("PID", 7, right=True, cell=_pid),
    Column("FOR", 7, right=True, cell=lambda row, _: format_s(row["since"])),
    Column("LOG", 12, 60, fold=1, cell=_log),
    Column("REMARK", 24, 60, cell=lambda row, _: text.program_remark(row, row["watchdog"])),
)


def watchdog_rows(snapshot: Snapshot, order: Order) -> dict[str, Row]:
    """All watchdogs, in order."""
    names = order.arrange(snapshot.rows.values(), snapshot.at)
    return {name: Row(name, snapshot.rows[name]["state"], snapshot.rows[name]) for name in names}


def program_rows(snapshot: Snapshot, places: Places) -> dict[str, Row]:
    """All programs, the worst first, then by name."""
    found = places.sort(snapshot.programs, snapshot.at)
    return {
        row["name"]: Row(row["name"], row["state"], {**row, "watchdog": snapshot.rows.get(row["name"])})
        for row in found
    }
