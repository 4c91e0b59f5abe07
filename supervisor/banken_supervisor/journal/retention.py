"""What is forgotten: by age, and by size from the least important upwards. Open incidents and the registry stay.

The work is done in slices between batches, so that what is recorded never waits for long.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from banken_supervisor.journal.store import Store

DAY = 86_400.0

HIGH, LOW = 0.9, 0.75
"""Shares of ``size_max``: above the one it begins to forget, below the other it stops."""

AGE_PERIOD = 600.0
"""Seconds between two looks for what is too old."""

_EVENTS, _EVIDENCE, _INCIDENTS = 10_000, 100, 1_000
"""Rows in a slice: about 30 ms."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept and how much waits. Ages in seconds, sizes in bytes."""

    events_age: float = 30 * DAY
    incidents_age: float = 365 * DAY
    """after their end; rungs and evidence go with their incident"""
    size_max: int = 256 * 1024 * 1024
    """of the file; its log comes on top, 16 MiB while nobody reads for long"""
    queue_max: int = 200_000
    """entries that wait"""
    queue_bytes_max: int = 128 * 1024 * 1024


class Retention:
    """One writer's memory of what is left to do."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._next_look = 0.0
        self._aging = False
        self._shrinking = False

    def patience(self, now: float) -> float:
        """Seconds until ``step`` has something to do; ``now``: monotonic time."""
        return 0.0 if self._aging or self._shrinking else max(0.0, self._next_look - now)

    def look(self, store: Store) -> None:
        """After a batch: is it too large by now?"""
        self._shrinking = self._shrinking or store.used() > HIGH * self._limits.size_max

    def step(self, store: Store, now: float, wall: float) -> None:
        """One slice. ``now``: monotonic time; ``wall``: wall clock. sqlite3.Error as writing raises it."""
        if now >= self._next_look:
            self._next_look = now + AGE_PERIOD
            self._aging = True
            self.look(store)
        deleted = 0
        if self._aging:
            deleted = self._forget_old(store.connection, wall)
            self._aging = deleted > 0
        elif self._shrinking:
            deleted = self._forget_oldest(store.connection)
            # Nothing left to delete: what remains is the registry and what is open.
            self._shrinking = deleted > 0 and store.used() > LOW * self._limits.size_max
        if deleted:
            store.connection.execute("PRAGMA incremental_vacuum(2000)").fetchall()

    def _forget_old(self, connection: sqlite3.Connection, wall: float) -> int:
        deleted = _delete(
            connection,
            "DELETE FROM events WHERE (run, seq) IN (SELECT run, seq FROM events WHERE time < ? LIMIT ?)",
            wall - self._limits.events_age,
            _EVENTS,
        )
        return deleted or _delete_incidents(
            connection,
            "SELECT id FROM incidents WHERE closed < ? LIMIT ?",
            wall - self._limits.incidents_age,
            _INCIDENTS,
        )

    def _forget_oldest(self, connection: sqlite3.Connection) -> int:
        return (
            _delete(
                connection,
                "DELETE FROM events WHERE (run, seq) IN (SELECT run, seq FROM events ORDER BY run, seq LIMIT ?)",
                _EVENTS,
            )
            or _delete(
                connection,
                "DELETE FROM evidence WHERE (incident, taken) IN "
                "(SELECT incident, taken FROM evidence ORDER BY taken LIMIT ?)",
                _EVIDENCE,
            )
            or _delete_incidents(
                connection, "SELECT id FROM incidents WHERE closed IS NOT NULL ORDER BY closed LIMIT ?", _INCIDENTS
            )
        )


def _delete(connection: sqlite3.Connection, statement: str, *values: float) -> int:
    return connection.execute(statement, values).rowcount


def _delete_incidents(connection: sqlite3.Connection, which: str, *values: float) -> int:
    ids = connection.execute(which, values).fetchall()
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany("DELETE FROM rungs WHERE incident = ?", ids)
        connection.executemany("DELETE FROM evidence WHERE incident = ?", ids)
        connection.executemany("DELETE FROM incidents WHERE id = ?", ids)
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    return len(ids)
