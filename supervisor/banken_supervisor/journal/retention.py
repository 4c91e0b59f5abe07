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
"""Rows in a slice, at most: about 30 ms."""

_EVENT_BYTES, _EVIDENCE_BYTES, _INCIDENT_BYTES = 512, 32 * 1024, 1024
"""About what a row takes, rather more than less: a slice deletes no more rows than are too many by that."""

_PAGES = 2_000
"""Free pages given back in a slice."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept and how much waits. Ages in seconds, sizes in bytes."""

    events_age: float = 30 * DAY
    incidents_age: float = 365 * DAY
    """after their end; steps and evidence go with their incident"""
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
        self._tightening = False
        """something was deleted, and the space is still in the file"""

    def patience(self, now: float) -> float:
        """Seconds until ``step`` has something to do; ``now``: monotonic time."""
        busy = self._aging or self._shrinking or self._tightening
        return 0.0 if busy else max(0.0, self._next_look - now)

    def look(self, store: Store) -> None:
        """After a batch: is it too large by now?"""
        self._shrinking = self._shrinking or store.used() > HIGH * self._limits.size_max

    def step(self, store: Store, now: float, wall: float) -> None:
        """One slice. ``now``: monotonic time; ``wall``: wall clock. sqlite3.Error as writing raises it."""
        if now >= self._next_look:
            self._next_look = now + AGE_PERIOD
            self._aging = True
            self.look(store)
        if self._aging:
            self._aging = self._forget_old(store.connection, wall) > 0
            self._tightening |= self._aging
        elif self._shrinking:
            excess = store.used() - int(LOW * self._limits.size_max)
            # Nothing left to delete: what remains is the registry and what is open.
            self._shrinking = excess > 0 and self._forget_oldest(store.connection, excess) > 0
            self._tightening |= self._shrinking
        elif self._tightening:
            self._tightening = _tighten(store.connection)

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

    def _forget_oldest(self, connection: sqlite3.Connection, excess: int) -> int:
        return (
            _delete(
                connection,
                "DELETE FROM events WHERE (run, seq) IN (SELECT run, seq FROM events ORDER BY run, seq LIMIT ?)",
                min(_EVENTS, excess // _EVENT_BYTES + 1),
            )
            or _delete(
                connection,
                "DELETE FROM evidence WHERE (incident, taken) IN "
                "(SELECT incident, taken FROM evidence ORDER BY taken LIMIT ?)",
                min(_EVIDENCE, excess // _EVIDENCE_BYTES + 1),
            )
            or _delete_incidents(
                connection,
                "SELECT id FROM incidents WHERE closed IS NOT NULL ORDER BY closed LIMIT ?",
                min(_INCIDENTS, excess // _INCIDENT_BYTES + 1),
            )
        )


def _tighten(connection: sqlite3.Connection) -> bool:
    """Give free pages back to the disk; True: there are more. The file itself is cut by the checkpoint."""
    before = connection.execute("PRAGMA freelist_count").fetchone()[0]
    connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
    after = connection.execute("PRAGMA freelist_count").fetchone()[0]
    if 0 < after < before:
        return True
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    return False


def _delete(connection: sqlite3.Connection, statement: str, *values: float) -> int:
    return connection.execute(statement, values).rowcount


def _delete_incidents(connection: sqlite3.Connection, which: str, *values: float) -> int:
    ids = connection.execute(which, values).fetchall()
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany("DELETE FROM steps WHERE incident = ?", ids)
        connection.executemany("DELETE FROM evidence WHERE incident = ?", ids)
        connection.executemany("DELETE FROM incidents WHERE id = ?", ids)
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    return len(ids)
