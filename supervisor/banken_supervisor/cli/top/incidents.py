"""The list of incidents, as the journal keeps them, and one in full."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from rich.text import Text

from banken_supervisor.cli import journals
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.incident import in_words
from banken_supervisor.cli.printing import clean
from banken_supervisor.cli.top import text
from banken_supervisor.cli.top.columns import Column
from banken_supervisor.cli.top.table import Row
from banken_supervisor.text.durations import format_s
from banken_supervisor.text.reasons import gist

INCIDENTS_MAX = 500
"""Incidents in the list, the newest."""


def _ended(record: Any, width: int) -> Text:
    if record.closed is None:
        return text.state_text("given-up") if record.how == "given-up" else Text("! open", text.RED)
    return Text(f"  {clean(record.how or '-')}")


def _lasted(record: Any, width: int) -> str:
    return format_s(max(0.0, (record.closed or time.time()) - record.opened))


COLUMNS = (
    Column("STATE", 10, cell=_ended),
    Column("NAME", 12, 32, cell=lambda record, _: text.said(record.name)),
    Column("CAUSE", 11, cell=lambda record, _: clean(record.cause)),
    Column(f"OPENED {text.zone()}", 11, 15, cell=lambda record, _: text.moment(record.opened)),
    Column("LASTED", 7, right=True, cell=_lasted),
    Column("INCIDENT", 16, 20, fold=2, cell=lambda record, _: clean(record.id)),
    Column("REASON", 15, 400, fold=1, cell=lambda record, _: text.said(gist(record.reason or ""))),
)


def read_list(address: str) -> dict[str, Row]:
    """Those that are open, the given-up ones first, then the newest. A Failure: there is no journal. Waits
    for the disk."""
    from banken_supervisor.journal import reading

    path = journals.place(address, None)
    read = partial(reading.incidents, path, limit=INCIDENTS_MAX)
    newest = [each for each in journals.read(path, read) if each.closed is not None]
    found = journals.read(path, partial(read, open_only=True)) + newest  # one that is open may be very old
    found.sort(key=lambda each: (each.closed is not None, each.how != "given-up", -each.opened, each.id))
    return {each.id: Row(each.name, each.how or "open", each) for each in found}


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
