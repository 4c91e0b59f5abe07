"""The open file, as the writer's thread uses it: a batch of entries becomes one transaction."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Collection, Iterable
from dataclasses import replace

from banken_supervisor.journal import schema
from banken_supervisor.journal.clock_history import ClockHistory, Reading, extend
from banken_supervisor.journal.entries import (
    HANDED_OVER,
    Cleared,
    ClockSpan,
    Declared,
    Entry,
    EventSeen,
    EvidenceTaken,
    IncidentClosed,
    IncidentRecord,
    LastFeed,
    Released,
    StepNotBegun,
    StepRun,
)
from banken_supervisor.journal.schema import JournalRefused
from banken_supervisor.journal.tables import CLOCKS, EVENTS, EVIDENCE, FEEDS, INCIDENTS, REGISTRY, STEPS
from banken_supervisor.journal.values import Row

CLOCK_S = 20.0
"""Seconds between two looks at the clocks while nothing else is written. What passes between the last one and a
crash of the host is not known after it."""

CLOCK_BUSY_S = 1.0
"""The same while something is."""

SPANS_MAX = 10_000
"""Clock spans that are kept, the newest."""

_locked: set[tuple[int, str]] = set()
"""(pid, path) of the locks that this process holds: the kernel does not keep a process from locking twice."""
_guard = threading.Lock()


class JournalLock:
    """One writer per journal: a POSIX record lock on a file beside it. JournalRefused: another has it.

    Such a lock belongs to the process alone. A forked child does not have it, whether or not it calls exec, and the
    kernel frees it however the process dies. (A lock by flock stays with every copy of the descriptor: a child that
    outlived a killed supervisor kept the next one from writing.) It also ends when the process closes any
    descriptor of the file, so the file is not opened while the lock is held.
    """

    def __init__(self, path: str) -> None:
        self._key = os.getpid(), os.path.realpath(path)
        with _guard:
            if self._key in _locked:
                raise JournalRefused(f"the journal is in use by pid {os.getpid()}")
            self._fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._lock()
            _locked.add(self._key)

    def _lock(self) -> None:
        import fcntl  # not on Windows, where no supervisor runs

        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._fd, 200, 0).decode(errors="replace").strip() or "an unknown process"
            os.close(self._fd)
            raise JournalRefused(f"the journal is in use by {holder}") from None
        with contextlib.suppress(OSError):  # full: it is only a word for people
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"pid {os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next one have it. The file stays, as that of the address does (lock.py)."""
        with _guard:
            _locked.discard(self._key)
            os.close(self._fd)


_INSERTS = {
    "registry": REGISTRY.insert("REPLACE"),
    "feeds": FEEDS.insert("REPLACE"),
    "opened": INCIDENTS.insert("IGNORE"),
    "begun": STEPS.insert("IGNORE"),  # never over a result
    "ended": STEPS.insert("REPLACE"),
    "evidence": EVIDENCE.insert("IGNORE"),
    "events": EVENTS.insert("IGNORE"),
}
"""By kind of row: how it is written."""


_CLOCK = CLOCKS.insert("REPLACE")


def clock_spans(connection: sqlite3.Connection) -> list[ClockSpan]:
    """The clock spans of a journal, the oldest first. sqlite3.Error."""
    return [CLOCKS.entry(row) for row in schema.scan(connection, CLOCKS, None, "ORDER BY number")]


class Batch:
    """What one transaction writes, in an order that gives the same as writing entry by entry."""

    def __init__(self, entries: Iterable[Entry], run: str) -> None:
        self.refused: list[str] = []
        """why entries have no row: faults of those who recorded them"""
        self.cleared: Cleared | None = None
        """of the rows that are there already; those of this batch stay"""
        self.registry: dict[str, Row | None] = {}
        """by name, its last state; None: released"""
        self.feeds: dict[str, Row] = {}
        """by name, its last feed"""
        self.not_begun: set[tuple[str, int, int]] = set()
        """runs of steps, the last word on each"""
        self.closed: list[IncidentClosed] = []
        self.opened: list[IncidentRecord] = []
        self._handed_over: set[str] = set()
        self.rows: dict[str, list[Row]] = {kind: [] for kind in _INSERTS}
        for entry in entries:
            try:
                self._add(entry, run)
            except Exception as fault:  # noqa: BLE001  (one wrong entry must not hold up the others)
                self.refused.append(f"{type(entry).__name__}: {fault}")
        self.rows["registry"] = [row for row in self.registry.values() if row is not None]
        self.rows["feeds"] = list(self.feeds.values())

    def _add(self, entry: Entry, run: str) -> None:
        match entry:
            case EventSeen():
                incident = entry.data.get("incident")
                about = incident if isinstance(incident, str) else None
                values = entry.seq, entry.time, entry.type, entry.name, entry.data, run, about
                self.rows["events"].append(EVENTS.row_of(values))
            case Declared():
                self.registry[entry.name] = REGISTRY.row(entry)
            case Released():
                self.registry[entry.name] = None
                self.feeds.pop(entry.name, None)
            case LastFeed():
                self.feeds[entry.name] = FEEDS.row(entry)
            case Cleared():
                self.cleared = entry
            case IncidentRecord():
                self.rows["opened"].append(INCIDENTS.row(entry))
                self.opened.append(entry)
                if entry.id in self._handed_over:  # it came back within this batch
                    self._handed_over.discard(entry.id)
                    self.closed = [each for each in self.closed if (each.id, each.how) != (entry.id, HANDED_OVER)]
            case IncidentClosed():
                self.closed.append(entry)
                if entry.how == HANDED_OVER:
                    self._handed_over.add(entry.id)
            case StepRun():
                self.rows["begun" if entry.ok is None else "ended"].append(STEPS.row(entry))
                self.not_begun.discard((entry.incident, entry.step, entry.run))
            case StepNotBegun():
                self.not_begun.add((entry.incident, entry.step, entry.run))
            case EvidenceTaken():
                self.rows["evidence"].append(EVIDENCE.row(entry))
            case _:
                raise TypeError("not an entry of the journal")


class Store:
    """An open journal. Everything here may raise sqlite3.Error; a batch is then not written at all."""

    def __init__(self, path: str, run: str) -> None:
        self._run = run
        self.connection = schema.open_writing(path)
        self.incidents = 0
        """how many are in it"""
        self.count()
        spans = clock_spans(self.connection)
        self._span = spans[-1] if spans else None

    def write(self, entries: Collection[Entry]) -> list[str]:
        """All entries in one transaction; why some were refused. Entries that are there already change nothing."""
        batch = Batch(entries, self._run)
        opened = 0
        released = [(name,) for name, row in batch.registry.items() if row is None]
        with schema.transaction(self.connection) as connection:
            if batch.cleared is not None:
                since = batch.cleared.boot, batch.cleared.ticks
                for table in ("registry", "feeds"):
                    connection.execute(f"DELETE FROM {table} WHERE boot <> ? OR ticks < ?", since)  # noqa: S608
            connection.executemany("DELETE FROM registry WHERE name = ?", released)
            connection.executemany("DELETE FROM feeds WHERE name = ?", released)
            for kind, statement in _INSERTS.items():
                rows = connection.executemany(statement, batch.rows[kind]).rowcount
                opened = max(0, rows) if kind == "opened" else opened
            connection.executemany("DELETE FROM steps WHERE incident = ? AND step = ? AND run = ?", batch.not_begun)
            if opened < len(batch.opened):  # some were there already
                for record in batch.opened:
                    self._open_again(record)
            for entry in batch.closed:
                self._close_incident(entry, batch.refused)
            span = extend(self._span, Reading.now())
            every = CLOCK_BUSY_S if entries else CLOCK_S
            if self._span is None or span.number != self._span.number or span.until - self._span.until >= every:
                connection.execute(_CLOCK, CLOCKS.row(span))
                connection.execute("DELETE FROM clocks WHERE number <= ?", (span.number - SPANS_MAX,))
            else:
                span = self._span
        self._span = span
        self.incidents += opened
        return batch.refused

    def count(self) -> None:
        """Count the incidents: some were deleted."""
        (self.incidents,) = self.connection.execute("SELECT count(*) FROM incidents").fetchone()

    def clock_history(self) -> ClockHistory:
        """How the clocks went together until now."""
        return ClockHistory(clock_spans(self.connection), Reading.now())

    @property
    def clock_at(self) -> float:
        """When ``write`` should look at the clocks again, monotonic time."""
        return 0.0 if self._span is None else self._span.until + CLOCK_S

    def rollback(self) -> None:
        """Undo what an error left half done. Some errors have made SQLite do so already."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.rollback()

    def _open_again(self, entry: IncidentRecord) -> None:
        """An incident that was handed over to another member of the cluster came back."""
        row = self.connection.execute(INCIDENTS.select + " WHERE id = ?", (entry.id,)).fetchone()
        if entry.closed is not None or row is None or not INCIDENTS.intact(row):
            return
        with contextlib.suppress(TypeError, ValueError):
            record = INCIDENTS.entry(row[:-1])
            if record.how == HANDED_OVER:
                again = replace(record, closed=None, how=entry.how, runs=entry.runs)
                self.connection.execute(INCIDENTS.insert("REPLACE"), INCIDENTS.row(again))

    def _close_incident(self, entry: IncidentClosed, refused: list[str]) -> None:
        row = self.connection.execute(INCIDENTS.select + " WHERE id = ?", (entry.id,)).fetchone()
        if row is None or not INCIDENTS.intact(row):
            refused.append(f"IncidentClosed: the journal has no incident {json.dumps(entry.id)}")
            return
        try:
            record = INCIDENTS.entry(row[:-1])
            if record.closed is None:
                closed = replace(record, closed=entry.closed, how=entry.how, runs=entry.runs)
                self.connection.execute(INCIDENTS.insert("REPLACE"), INCIDENTS.row(closed))
        except (TypeError, ValueError) as fault:
            refused.append(f"IncidentClosed: {fault}")

    def close(self) -> None:
        """Close it; the last one to do so moves the log into the file."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()

    def used(self) -> int:
        """Bytes in use, without the log."""
        pages, size = (
            self.connection.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "page_size")
        )
        return int(pages * size)
