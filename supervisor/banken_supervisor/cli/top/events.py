"""The events, as they happen."""

from __future__ import annotations

from collections import deque
from typing import Any

from rich.text import Text

from banken_supervisor.cli import journals
from banken_supervisor.cli.events import COLOURS, description
from banken_supervisor.cli.printing import clean
from banken_supervisor.cli.top import text
from banken_supervisor.cli.top.columns import Column, for_names
from banken_supervisor.cli.top.order import fits
from banken_supervisor.cli.top.table import Columns, RowTable

KEPT_MAX = 2000
"""Events that can be scrolled back to."""

PAST_MAX = 200
"""Events of the journal that are shown at first."""

COLUMNS = (
    Column(f"TIME {text.zone()}", 11),
    Column("EVENT", 15),
    Column("NAME", 10, 28),
    Column("WHAT", 30, 1000),
)
PAINTED = {"red": text.RED, "yellow": text.YELLOW, "green": text.GREEN, "cyan": text.BLUE}


class EventTable(RowTable):
    """Oldest first; who looks at the end goes on seeing the newest."""

    def __init__(self, id_: str) -> None:
        super().__init__(id_, follows=True)
        self.events: dict[str, dict[str, Any]] = {}
        self._kept: deque[tuple[str, dict[str, Any]]] = deque(maxlen=KEPT_MAX)
        self._number = 0
        self._fault = ""

    def put_past(self, found: list[dict[str, Any]] | Exception, wanted: str) -> None:
        """What the journal keeps, before everything that was heard since; what is in both is shown once."""
        heard = [event for _, event in self._kept]
        if isinstance(found, Exception):
            found = []
        self._kept.clear()
        self.put(merged(found, heard), wanted)

    def put(self, found: list[dict[str, Any]], wanted: str) -> None:
        """These have happened."""
        for event in found:
            self._number += 1
            self._kept.append((str(self._number), event))
        self.filter_by(wanted)

    def filter_by(self, wanted: str) -> None:
        """Show those whose watchdog, or whose type, fits the filter."""
        self.events = {
            key: event
            for key, event in self._kept
            if fits({"name": event.get("name") or "supervisor", "state": event["type"]}, wanted)
        }
        empty = f"no event fits {clean(wanted)!r}; Escape shows all" if self._kept else "nothing has happened yet"
        names = [event.get("name") or "supervisor" for event in self.events.values()]
        self.show(Columns(for_names(COLUMNS, "NAME", names, self.width)), list(self.events), empty)

    def cell(self, key: str, column: Column, width: int) -> Text:
        """One part of one event."""
        event = self.events[key]
        own = event["type"] == "top"
        match column.title:
            case "EVENT":
                return Text("-" if own else clean(event["type"]), PAINTED.get(COLOURS.get(event["type"], ""), ""))
            case "NAME":
                return Text(text.said(event.get("name") or "supervisor"))
            case "WHAT":
                return Text(text.said(event["text"] if own else description(event)), text.YELLOW if own else "")
        return Text(text.moment(event["time"]))


def merged(past: list[dict[str, Any]], heard: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The past, then what was heard and is not in it: what was announced while the journal was read is in both.

    Another supervisor's event may have the same number, but not the same time.
    """
    known = {(event.get("seq"), event["time"]) for event in past}
    return [*past, *(each for each in heard if (each.get("seq"), each["time"]) not in known)]


def read_past(address: str) -> list[dict[str, Any]]:
    """The last events of the journal. A Failure: there is none, or it cannot be read. Waits for the disk."""
    from banken_supervisor.journal import reading

    path = journals.place(address, None)
    found = journals.read(path, lambda: reading.events(path, lambda type_, name: True, limit=PAST_MAX))
    past = []
    for each in found:
        data = each.data if isinstance(each.data, dict) else {}
        named = {} if each.name is None else {"name": each.name}
        past.append({"seq": each.seq, "time": each.time, "type": each.type, **named, **data})
    return past
