"""The events, as they happen."""

from __future__ import annotations

import time
from itertools import count
from typing import Any

from rich.text import Text

from banken_supervisor.cli import journals
from banken_supervisor.cli.events import COLOURS, description, past
from banken_supervisor.cli.printing import clean
from banken_supervisor.cli.top import text
from banken_supervisor.cli.top.columns import Column
from banken_supervisor.cli.top.table import Row, RowTable

KEPT_MAX = 2000
"""Events that can be scrolled back to."""

PAST_MAX = 200
"""Events of the journal that are shown at first."""

REMARK = "top"
"""The type of what is said by the view itself."""

PAINTED = {"red": text.RED, "yellow": text.YELLOW, "green": text.GREEN, "cyan": text.BLUE}

Event = dict[str, Any]


def _type(event: Event, width: int) -> Text:
    shown = "-" if event["type"] == REMARK else clean(event["type"])
    return Text(shown, PAINTED.get(COLOURS.get(event["type"], ""), ""))


def _what(event: Event, width: int) -> Text:
    if event["type"] == REMARK:
        return Text(event["text"], text.YELLOW)
    return Text(text.said(description(event)))


def _name(event: Event) -> str:
    return event.get("name") or "supervisor"


COLUMNS = (
    Column(f"TIME {text.zone()}", 11, cell=lambda event, _: text.moment(event["time"])),
    Column("EVENT", 17, cell=_type),
    Column("NAME", 10, 28, cell=lambda event, _: text.said(_name(event))),
    Column("WHAT", 30, 1000, cell=_what),
)


class EventTable(RowTable):
    """Oldest first; who looks at the end goes on seeing the newest."""

    def __init__(self) -> None:
        super().__init__("events", COLUMNS, follows=True)
        self._numbers = count(1)

    def add_past(self, found: list[Event] | Exception) -> None:
        """What the journal keeps, before everything that was heard since; what is in both is shown once."""
        heard = [row.it for row in self.rows.values()]
        self.rows = {}
        self.add(merged([] if isinstance(found, Exception) else found, heard))

    def add(self, found: list[Event]) -> None:
        """These have happened."""
        new = {str(next(self._numbers)): Row(_name(event), event["type"], event) for event in found}
        kept = list((self.rows | new).items())[-KEPT_MAX:]
        self.put(dict(kept), "nothing has happened yet")


def remark(said: str) -> Event:
    """What the view itself has to say."""
    return {"type": REMARK, "time": time.time(), "text": said}


def merged(past: list[Event], heard: list[Event]) -> list[Event]:
    """The past, then what was heard and is not in it: what was announced while the journal was read is in both.

    Another supervisor's event may have the same number, but not the same time.
    """
    known = {(event.get("seq"), event["time"]) for event in past}
    return [*past, *(each for each in heard if (each.get("seq"), each["time"]) not in known)]


def read_past(address: str) -> list[Event]:
    """The last events of the journal. A Failure: there is none, or it cannot be read. Waits for the disk."""
    return past(journals.place(address, None), PAST_MAX, lambda name: True)
