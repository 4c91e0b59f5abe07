"""What ``banken top`` is showing and what a key does to it. Pure: no terminal, no supervisor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from banken_supervisor.cli.asking import is_pattern
from banken_supervisor.cli.source import rate_of
from banken_supervisor.cli.status import WORST_FIRST, badness

Row = dict[str, Any]

FILTER_MAX = 128
"""Characters of a filter."""


class Mode(Enum):
    """What the keys are for now."""

    LIST = "list"
    FILTER = "filter"
    """a filter is being typed"""
    ASK = "ask"
    """y or n"""
    TEXT = "text"
    """an incident is being read"""


class Do(Enum):
    """What the shell round it is asked to do."""

    QUIT = "quit"
    SUSPEND = "suspend"
    PAUSE = "pause"
    RESUME = "resume"
    INCIDENT = "incident"


class Action(NamedTuple):
    """One deed, and the watchdog that it is for."""

    do: Do
    name: str = ""


def _by_state(row: Row) -> Any:
    state = row["state"]
    return (WORST_FIRST.index(state) if state in WORST_FIRST else -1, row["name"])


def _by_rate(row: Row) -> Any:
    rate = rate_of(row)
    return (rate is None, -(rate or 0.0), row["name"])


SORTS: dict[str, Callable[[Row], Any]] = {
    "left": badness,
    "name": lambda row: row["name"],
    "state": _by_state,
    "rate": _by_rate,
    "incidents": lambda row: (-row["incidents"], row["name"]),
}
"""By what the list can be sorted, in the order of the key; ``left``: those that are down first, then who is due."""


@dataclass
class View:
    """The state of the view. ``names``: what the list holds now, sorted and filtered, set by ``arrange``."""

    sort: str = "left"
    reverse: bool = False
    filter: str = ""
    selected: str = ""
    first: int = 0
    """place of the page's first row in ``names``"""
    height: int = 1
    """rows of a page"""
    mode: Mode = Mode.LIST
    names: list[str] = field(default_factory=list)
    asked: Action | None = None
    """what y would do"""
    text: list[str] = field(default_factory=list)
    text_first: int = 0
    note: str = ""
    """one line for the user; gone with the next key"""
    _former_filter: str = ""

    def arrange(self, rows: Iterable[Row]) -> None:
        """Sort and filter what there is; the selected one stays so, wherever it has come to stand."""
        at = self.place
        found = sorted((row for row in rows if fits(row, self.filter)), key=SORTS[self.sort], reverse=self.reverse)
        self.names = [row["name"] for row in found]
        if self.selected not in self.names:
            self.selected = self.names[min(at, len(self.names) - 1)] if self.names else ""
        elif at == 0 and self.first == 0:
            self.selected = self.names[0]  # who watches the top of the list watches the worst
        self._show_selected()

    @property
    def place(self) -> int:
        """Where in ``names`` the selected one is."""
        return self.names.index(self.selected) if self.selected in self.names else 0

    @property
    def page(self) -> list[str]:
        """The names to be seen."""
        return self.names[self.first : self.first + self.height]

    def press(self, key: str) -> Action | None:
        """Take one key; what is to be done, if anything."""
        self.note = ""
        if key == "suspend":
            return Action(Do.SUSPEND)
        take = {Mode.FILTER: self._in_filter, Mode.ASK: self._in_question, Mode.TEXT: self._in_text}
        return take.get(self.mode, self._in_list)(key)

    def read(self, lines: list[str]) -> None:
        """Show these lines in place of the list, until q, Escape or Enter."""
        self.mode, self.text, self.text_first = Mode.TEXT, lines, 0

    def _in_list(self, key: str) -> Action | None:
        match key:
            case "q":
                return Action(Do.QUIT)
            case "s":
                order = list(SORTS)
                self.sort = order[(order.index(self.sort) + 1) % len(order)]
                self.selected, self.first = "", 0
            case "r":
                self.reverse = not self.reverse
                self.selected, self.first = "", 0
            case "/":
                self._former_filter, self.mode = self.filter, Mode.FILTER
            case "escape":
                self.filter = ""
            case "p" if self.selected:
                self.mode, self.asked = Mode.ASK, Action(Do.PAUSE, self.selected)
            case "enter" if self.selected:
                return Action(Do.INCIDENT, self.selected)
            case _:
                self._move(key)
        return None

    def _move(self, key: str) -> None:
        last = len(self.names) - 1
        step = {
            "up": -1, "k": -1, "down": 1, "j": 1, "pgup": -self.height, "pgdn": self.height, "home": -last - 1,
            "end": last + 1,
        }.get(key)  # fmt: skip
        if step is not None and self.names:
            self.selected = self.names[min(max(self.place + step, 0), last)]
            if key in ("pgup", "pgdn"):
                self.first += step
            self._show_selected()

    def _in_filter(self, key: str) -> None:
        match key:
            case "enter":
                self.mode = Mode.LIST
            case "escape":
                self.filter, self.mode = self._former_filter, Mode.LIST
            case "backspace":
                self.filter = self.filter[:-1]
            case _ if len(key) == 1 and len(self.filter) < FILTER_MAX:
                self.filter += key
                self.first = 0

    def _in_question(self, key: str) -> Action | None:
        asked, self.asked, self.mode = self.asked, None, Mode.LIST
        if key in ("y", "Y"):
            return asked
        self.note = "nothing was done"
        return None

    def _in_text(self, key: str) -> None:
        if key in ("q", "escape", "enter", "left"):
            self.mode, self.text = Mode.LIST, []
            return
        room = self.height + 1
        end = max(0, len(self.text) - room)
        step = {
            "up": -1, "k": -1, "down": 1, "j": 1, "pgup": -room, "pgdn": room, " ": room, "home": -end, "end": end
        }.get(key, 0)  # fmt: skip
        self.text_first = min(max(self.text_first + step, 0), end)

    def _show_selected(self) -> None:
        place = self.place
        if place < self.first:
            self.first = place
        elif place >= self.first + self.height:
            self.first = place - self.height + 1
        self.first = max(0, min(self.first, len(self.names) - self.height))


def fits(row: Row, wanted: str) -> bool:
    """Whether a row passes the filter: a pattern for the name, a part of the name, or the beginning of a state."""
    if not wanted:
        return True
    if is_pattern(wanted):
        return fnmatchcase(row["name"], wanted)
    return wanted.lower() in row["name"].lower() or row["state"].startswith(wanted.lower())
