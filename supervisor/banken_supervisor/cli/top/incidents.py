"""The list of incidents, as the journal keeps them."""

from __future__ import annotations

import time
from typing import Any

from rich.text import Text

from banken_supervisor.cli import journals
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.incident import in_words
from banken_supervisor.cli.printing import clean
from banken_supervisor.cli.top import text
from banken_supervisor.cli.top.columns import Column, for_names
from banken_supervisor.cli.top.order import fits
from banken_supervisor.cli.top.table import Columns, RowTable
from banken_supervisor.text.durations import format_s
from banken_supervisor.text.reasons import gist

INCIDENTS_MAX = 500
"""Incidents in the list, the newest."""

COLUMNS = (
    Column("ENDED", 10),
    Column("NAME", 12, 32),
    Column("CAUSE", 11),
    Column(f"OPENED {text.zone()}", 11, 15),
    Column("LASTED", 7, right=True),
    Column("INCIDENT", 16, 20, fold=2),
    Column("REASON", 15, 400, fold=1),
)


class IncidentTable(RowTable):
    """Those that are open first, then the newest."""

    def __init__(self, id_: str) -> None:
        super().__init__(id_)
        self.records: dict[str, Any] = {}
        self._found: list[Any] | Exception | None = None

    def put(self, found: list[Any] | Exception, wanted: str) -> None:
        """Show what was read, or why it could not be."""
        self._found = found
        self.filter_by(wanted)

    def filter_by(self, wanted: str) -> None:
        """Show those whose watchdog, or whose end, fits the filter."""
        if self._found is None or isinstance(self._found, Exception):
            self.records = {}
            self.show(Columns(COLUMNS), [], "reading …" if self._found is None else clean(why(self._found)))
            return
        kept = [each for each in self._found if fits({"name": each.name, "state": each.how or "open"}, wanted)]
        kept.sort(key=lambda each: (each.closed is not None, -each.opened, each.id))
        self.records = {each.id: each for each in kept}
        empty = f"no incident fits {clean(wanted)!r}; Escape shows all" if self._found else "no incident so far"
        columns = for_names(COLUMNS, "NAME", [each.name for each in kept], self.width)
        self.show(Columns(columns), list(self.records), empty)

    def cell(self, key: str, column: Column, width: int) -> Text:
        """One value of one incident."""
        record = self.records[key]
        match column.title:
            case "ENDED":
                if record.closed is None:
                    return Text("! open", text.RED)
                return Text(f"  {clean(record.how or '-')}", text.RED if record.how == "given-up" else "")
            case "NAME":
                return Text(text.said(record.name))
            case "CAUSE":
                return Text(clean(record.cause))
            case "LASTED":
                return Text(format_s(max(0.0, (record.closed or time.time()) - record.opened)))
            case "INCIDENT":
                return Text(clean(record.id))
            case "REASON":
                return Text(text.said(gist(record.reason)) if record.reason else "")
        return Text(text.moment(record.opened))


def read_list(address: str) -> list[Any]:
    """The newest incidents. A Failure: there is no journal, or it cannot be read. Waits for the disk."""
    from banken_supervisor.journal import reading

    path = journals.place(address, None)
    return journals.read(path, lambda: reading.incidents(path, limit=INCIDENTS_MAX))


def read_one(address: str, name: str | None, id_: str | None) -> list[str]:
    """An incident in full, as lines; without an id the last one of this watchdog. Waits for the disk."""
    from banken_supervisor.journal import reading

    path = journals.place(address, None)
    if id_ is None:
        last = journals.read(path, lambda: reading.incidents(path, name=name, limit=1))
        if not last:
            return [f"{clean(name)} has had no incident"]
        id_ = last[0].id
    wanted = id_
    story = journals.read(path, lambda: reading.incident(path, wanted))
    return [f"incident {clean(id_)} is not in the journal yet"] if story is None else in_words(story)


def why(fault: Exception) -> str:
    """An exception for people."""
    return fault.message if isinstance(fault, Failure) else f"{type(fault).__name__}: {fault}"
