"""One watchdog: its gaps, its open incident with evidence, and what the ladder does next."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.text import Text
from textual.binding import Binding, BindingType

from banken_supervisor.cli.poller import Snapshot
from banken_supervisor.cli.top import text
from banken_supervisor.cli.top.background import FileThread
from banken_supervisor.cli.top.incidents import why
from banken_supervisor.cli.top.page import Page

if TYPE_CHECKING:
    from banken_supervisor.cli.history import Known
    from banken_supervisor.journal.reading import Story

LOOK_S = 2.0
"""Seconds between two looks at the journal."""


class Past(NamedTuple):
    """What the journal keeps."""

    known: Known | None
    story: Story | None
    fault: str = ""


def read_past(address: str, name: str, incident: str | None) -> Past:
    """The last day of one watchdog, and one incident, or its last one. A Failure. Waits for the disk."""
    from banken_supervisor.cli import history, journals
    from banken_supervisor.journal import reading

    known = history.gather(name, text.DAY_S, None, address)
    id_ = incident or (known.kept.incidents[0].id if known.kept is not None and known.kept.incidents else None)
    if id_ is None or known.kept is None:
        return Past(known, None)
    path = journals.place(address, None)
    return Past(known, journals.read(path, lambda: reading.incident(path, id_)))


class Detail(Page):
    """The page of one watchdog, anew with every snapshot."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,i", "app.incident", "Incident in full"),
        Binding("p", "app.pause", "Pause/resume"),
        Binding("l", "app.log", "Log"),
    ]

    def __init__(self, name: str, address: str, reader: FileThread) -> None:
        super().__init__(text.said(name))
        self.watchdog = name
        self._address, self._reader = address, reader
        self._snapshot: Snapshot | None = None
        self._past = Past(None, None, "reading …")

    def on_mount(self) -> None:
        self._look()
        self.set_interval(LOOK_S, self._look)

    def update_from(self, snapshot: Snapshot) -> None:
        """Show what is known now."""
        self._snapshot = snapshot
        row = snapshot.rows.get(self.watchdog)
        if row is None:
            self.put([Text("not watched any more" if snapshot.complete else "asking …")])
            return
        past = self._past
        uptime = text.uptime_line(past.known) if past.known is not None else Text(past.fault, text.GREY)
        gaps = text.gap_lines(row, max(40, self.size.width - 3))
        lines = [*text.facts(row), uptime, *gaps, Text(), *text.incident_lines(row, past.story)]
        self.put(lines, f"{text.said(row['name'])}  {text.state_text(row['state']).plain}")

    def _look(self) -> None:
        row = {} if self._snapshot is None else self._snapshot.rows.get(self.watchdog, {})
        incident = row.get("incident", {}).get("id")
        self._reader.ask("detail", partial(read_past, self._address, self.watchdog, incident), self._read)

    def _read(self, past: Past | Exception) -> None:
        self._past = Past(None, None, why(past)) if isinstance(past, Exception) else past
        if self._snapshot is not None:
            self.update_from(self._snapshot)
