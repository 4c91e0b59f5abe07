"""Which rows a list shows, and where each stands. Pure: no terminal, no supervisor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

from banken_supervisor.cli.poller import rate_of
from banken_supervisor.cli.status_table import BAD, WORST_FIRST
from banken_supervisor.text.patterns import is_pattern
from banken_supervisor.text.reasons import ONLY_ITS_END, unjudged

Row = dict[str, Any]

RUNNING = "running"

FILTER_MAX = 128
"""Characters of a filter."""


SORTS: dict[str, Callable[[Row], Any]] = {
    "state": lambda row: 0,
    "name": lambda row: 0,
    "left": lambda row: float("inf") if row["left"] is None else row["left"],
    "silence": lambda row: -row["silence"],
    "rate": lambda row: None if (rate := rate_of(row)) is None else -rate,
    "incidents": lambda row: -row["incidents"],
}
"""By what watchdogs can be sorted; equal ones stand by name. None: not known yet, which comes last."""

MOVING = frozenset({"left", "silence", "rate"})
"""Values that change all the time: with these a row keeps the value that it had when the sort was chosen."""


class Order:
    """The order of the watchdogs. Rows move when their state changes, and else only when the user sorts anew."""

    def __init__(self, sort: str = "state", *, reverse: bool = False) -> None:
        self.sort, self.reverse = sort, reverse
        self._held: dict[str, Any] = {}

    def choose(self, sort: str = "") -> None:
        """Sort by this from now on, or by the next one, by the values of now."""
        sorts = list(SORTS)
        self.sort = sort or sorts[(sorts.index(self.sort) + 1) % len(sorts)]
        self._held.clear()

    def turn(self) -> None:
        """The other way round, by the values of now."""
        self.reverse = not self.reverse
        self._held.clear()

    def arrange(self, rows: Iterable[Row]) -> list[str]:
        rows = list(rows)
        if self.sort in MOVING:
            value, held = SORTS[self.sort], self._held
            self._held = {
                row["name"]: known if (known := held.get(row["name"])) is not None else value(row) for row in rows
            }
        return [row["name"] for row in sorted(rows, key=self._key, reverse=self.reverse)]

    def _key(self, row: Row) -> Any:
        name = row["name"]
        if self.sort == "name":
            return name
        value = self._held[name] if self.sort in MOVING else SORTS[self.sort](row)
        place = badness(row) if self.sort == "state" else 0 if self.sort == "incidents" else row["state"] not in BAD
        return place, value is None, 0 if value is None else value, name


def badness(row: Row) -> int:
    """The place of its state, the worst first; one that is not known is the worst."""
    state = shown_state(row)
    return WORST_FIRST.index("alive" if state == RUNNING else state) if state in (*WORST_FIRST, RUNNING) else -1


def shown_state(row: Row) -> str:
    """Its state. What waits for no feed, because only its end is watched, is running."""
    running = row["state"] == "waiting" and unjudged(row) == ONLY_ITS_END
    return RUNNING if running else str(row["state"])


def fits(name: str, state: str, wanted: str) -> bool:
    """Whether a row passes the filter: a pattern for the name, a part of the name, or the beginning of a state."""
    if is_pattern(wanted):
        return fnmatchcase(name, wanted)
    low = wanted.lower()
    return low in name.lower() or state.startswith(low) or state.replace("-", " ").startswith(low)
