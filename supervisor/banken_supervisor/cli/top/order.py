"""Which rows a list shows, and where each stands. Pure: no terminal, no supervisor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

from banken_supervisor.cli.places import BAD, Places
from banken_supervisor.cli.poller import rate_of
from banken_supervisor.engine.patterns import is_pattern

Row = dict[str, Any]

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
    """The order of the watchdogs. Rows move when their state gets worse, or a minute after it got better, and else
    only when the user sorts anew."""

    def __init__(self, sort: str = "state", *, reverse: bool = False) -> None:
        self.sort, self.reverse = sort, reverse
        self._held: dict[str, Any] = {}
        self._places = Places()
        self._severities: dict[str, int] = {}

    def choose(self, sort: str = "") -> None:
        """Sort by this from now on, or by the next one, by the values of now."""
        sorts = list(SORTS)
        self.sort = sort or sorts[(sorts.index(self.sort) + 1) % len(sorts)]
        self._sort_anew()

    def turn(self) -> None:
        """The other way round, by the values of now."""
        self.reverse = not self.reverse
        self._sort_anew()

    def _sort_anew(self) -> None:
        self._held.clear()
        self._places.forget()

    def arrange(self, rows: Iterable[Row], now: float = 0.0) -> list[str]:
        """Their names, in order, as of ``now``, monotonic seconds."""
        rows = list(rows)
        self._severities = {row["name"]: self._places.severity(row, now) for row in rows}
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
        place = self._severities[name]
        if self.sort != "state":
            place = 0 if self.sort == "incidents" else place >= len(BAD)
        return place, value is None, 0 if value is None else value, name


def fits(name: str, state: str, wanted: str) -> bool:
    """Whether a row passes the filter: a pattern for the name, a part of the name, or the beginning of a state."""
    if is_pattern(wanted):
        return fnmatchcase(name, wanted)
    low = wanted.lower()
    return low in name.lower() or state.startswith(low) or state.replace("-", " ").startswith(low)
