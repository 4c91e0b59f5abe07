"""What is deleted: by age, and by size the least important first. Open incidents and the registry stay.

An age counts along the monotonic clock (clock_history.py): a wall clock that is a year ahead deletes nothing.

The work is done in slices between batches, so that entries never wait for long.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from itertools import chain

from banken_supervisor.journal.clock_history import ClockHistory
from banken_supervisor.journal.schema import transaction
from banken_supervisor.journal.store import Store

DAY = 86_400.0

HIGH, LOW = 0.9, 0.75
"""Shares of ``size_max``: above the one it begins to delete, below the other it stops."""

AGE_PERIOD = 600.0
"""Seconds between two searches for old rows."""

RANGES_MAX = 200
"""Periods in which the wall clock was behind that a search takes account of; with more, nothing is deleted for its
age."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept and how much waits. Ages in seconds, sizes in bytes."""

    events_age: float = 30 * DAY
    incidents_age: float = 365 * DAY
    """after their end; steps and evidence go with their incident"""
    size_max: int = 256 * 1024 * 1024
    """of the file; its log comes on top, usually at most 16 MiB"""
    queue_max: int = 200_000
    """entries that wait"""
    queue_bytes_max: int = 128 * 1024 * 1024


class Retention:
    """What one writer has left to delete."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._next_look = 0.0
        self._aging = False
        self._old: list[tuple[str, str, list[float]]] = []
        """tables, and which of their rows are too old, with the values"""
        self._shrinking = False
        self._deleted = False
        """something was, and the file is as long as before"""

    @property
    def at(self) -> float:
        """When ``step`` has something to do, monotonic time."""
        return 0.0 if self._aging or self._shrinking else self._next_look

    def look(self, store: Store) -> None:
        """After a batch: is it too large by now?"""
        self._shrinking = self._shrinking or store.used() > HIGH * self._limits.size_max

    def step(self, store: Store, now: float) -> None:
        """One slice. ``now``: monotonic time. sqlite3.Error as writing raises it."""
        if now >= self._next_look:
            self._next_look = now + AGE_PERIOD
            self._aging = True
            history = store.clock_history()
            self._old = [
                (table, *which)
                for table, column, age in (
                    ("events", "time", self._limits.events_age),
                    ("incidents", "closed", self._limits.incidents_age),
                )
                if (which := _older(history, column, age)) is not None
            ]
            self.look(store)
        limits, connection = self._limits, store.connection
        if self._aging:
            self._aging = any(_delete(connection, table, which, *values) for table, which, values in self._old)
        elif self._shrinking:
            excess = store.used() - int(LOW * limits.size_max)
            # Nothing left to delete: what remains is the registry and what is open.
            self._shrinking = excess > 0 and any(
                _delete(connection, table, which, excess=excess)
                for table, which in (
                    ("events", "1 ORDER BY run, seq"),
                    ("evidence", "1 ORDER BY taken"),
                    ("incidents", "closed IS NOT NULL ORDER BY closed"),
                )
            )
        if self._aging or self._shrinking:
            self._deleted = True
        elif self._deleted:
            self._deleted = False
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # which shortens the file itself


def _older(history: ClockHistory, column: str, age: float) -> tuple[str, list[float]] | None:
    """Which rows are older, by the wall-clock moment in ``column``. None: not known, and none is deleted.

    A clock that is wrong for a moment must not delete anything: a row is old when the supervisors of this journal
    have seen so much time go by since, and not because the clock says so.
    """
    found = history.moment_before(age)
    if found is None or len(found[1]) > RANGES_MAX:
        return None
    cut, later = found
    return f"{column} < ?" + f" AND NOT {column} BETWEEN ? AND ?" * len(later), [cut, *chain(*later)]


_SLICES = {
    "events": ("run, seq", 10_000, 512),
    "evidence": ("incident, taken", 100, 32_768),
    "incidents": ("id", 1_000, 1024),
}
"""Of each table: its key; the most rows that a slice deletes, about 30 ms; about how many bytes a row takes, rather
more than less."""


def _delete(
    connection: sqlite3.Connection, table: str, which: str, *values: float, excess: int | None = None
) -> int:
    """Delete one slice of the rows ``which``, steps and evidence of incidents with them. How many rows.

    ``excess``: bytes that are too many; no more rows than that are deleted.
    """
    key, most, row_bytes = _SLICES[table]
    if excess is not None:
        most = min(most, excess // row_bytes + 1)
    chosen = f"SELECT {key} FROM {table} WHERE {which} LIMIT {most}"  # noqa: S608  (no part of it comes from outside)
    with transaction(connection):
        if table == "incidents":
            for part in ("steps", "evidence"):
                connection.execute(f"DELETE FROM {part} WHERE incident IN ({chosen})", values)  # noqa: S608
        return connection.execute(f"DELETE FROM {table} WHERE ({key}) IN ({chosen})", values).rowcount  # noqa: S608
