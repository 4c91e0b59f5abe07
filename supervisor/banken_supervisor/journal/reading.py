"""Reading the journal: what a new supervisor begins with, and what people look at.

All of it works beside a supervisor that writes. Only rows with a right checksum are returned, in whatever state the
file is; what could not be read is told. Times are wall clock, seconds since 1970 (UTC).
"""

from __future__ import annotations

import gc
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter
from typing import Any, TypeVar

from banken.clock import wall
from banken_supervisor.core.states import State
from banken_supervisor.journal import rows, schema
from banken_supervisor.journal.entries import Declared, IncidentOpened, RungRun
from banken_supervisor.journal.rows import EventRecord, Evidence, IncidentRecord, Row
from banken_supervisor.journal.schema import (
    EVENTS,
    EVIDENCE,
    INCIDENTS,
    REGISTRY,
    RUNGS,
    JournalError,
    JournalUnreadable,
    Table,
)

LIMIT = 1_000
"""Rows of one kind that are returned unless more are asked for; the newest ones."""

RAN_LATELY = 7 * 86_400.0
"""Seconds: runs of rungs that are older count for no budget after a restart."""

RAN_MAX = 20_000
"""Closed incidents whose runs are looked at, the newest."""

_DOWN = (State.EXPIRED, State.GIVEN_UP)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """An incident that nobody closed, and how far its ladder was climbed."""

    opened: IncidentOpened
    rungs: list[RungRun]
    """in the order of (rung, run); ``ok`` is None where a run was begun and its end is not known"""


@dataclass(slots=True)
class Restored:
    """What the last supervisor left."""

    registry: list[Declared] = field(default_factory=list)
    open: list[OpenIncident] = field(default_factory=list)
    """oldest first"""
    given_up: dict[str, OpenIncident] = field(default_factory=dict)
    """by watchdog, of those that were down: its last incident, where that was given up"""
    ran: dict[str, list[RungRun]] = field(default_factory=dict)
    """by watchdog: what ran within ``RAN_LATELY`` in incidents that are closed, for budgets; oldest first"""
    counts: dict[str, int] = field(default_factory=dict)
    """by watchdog: incidents that the journal holds"""
    incidents: int = 0
    """incidents that the journal holds, closed ones included"""
    last_event: tuple[str, int] | None = None
    """(run id, seq) of the newest event"""
    problems: list[str] = field(default_factory=list)
    """what could not be read; empty for a whole journal, and where there was none"""
    seconds: float = 0.0
    """how long this took"""


@dataclass(frozen=True, slots=True)
class Story:
    """One incident with all that is kept of it, each part in order of time."""

    incident: IncidentRecord
    rungs: list[RungRun]
    events: list[EventRecord]
    evidence: list[Evidence]
    problems: list[str]


@dataclass(frozen=True, slots=True)
class History:
    """What is kept of one watchdog."""

    name: str
    registered: Declared | None
    """None: it is not watched now"""
    incidents: list[IncidentRecord]
    """newest first"""
    events: list[EventRecord]
    """oldest first, the newest ``limit`` of them"""
    problems: list[str]


def restore(path: str) -> Restored:
    """What a new supervisor begins with. Never raises: without a readable journal it is empty and says why.

    To be called before the ``Journal`` of the same path is made. No file at all is no problem.
    """
    began = perf_counter()
    restored = Restored()
    try:
        if os.path.exists(_place(path)):
            with look(path) as connection, _no_collection():
                _restore(connection, restored)
    except Exception as fault:  # noqa: BLE001  (a supervisor starts whatever the disk holds)
        restored.problems.append(str(fault))
    restored.seconds = perf_counter() - began
    return restored


def incidents(
    path: str,
    *,
    open_only: bool = False,
    since: float | None = None,
    name: str | None = None,
    limit: int = LIMIT,
) -> list[IncidentRecord]:
    """Incidents, newest first, at most ``limit``. ``since``: not those that were over before. JournalUnreadable."""
    with look(path) as connection:
        return _incidents(connection, open_only, since, name, limit, [])


def incident(path: str, incident_id: str) -> Story | None:
    """One incident with its timeline and evidence; None: the journal has none of this id. JournalUnreadable."""
    problems: list[str] = []
    with look(path) as connection:
        found = _find(
            connection, INCIDENTS, "WHERE id = ?", (incident_id,), lambda row: row[0] == incident_id, problems
        )
        records = _decoded(found, rows.incident, problems)
        if not records:
            return None
        about = (incident_id,)

        def whose(row: Row) -> bool:
            return row[0] == incident_id

        rungs = _find(connection, RUNGS, "WHERE incident = ?", about, whose, problems)
        taken = _find(connection, EVIDENCE, "WHERE incident = ?", about, whose, problems)
        events = _find(connection, EVENTS, "WHERE incident = ?", about, lambda row: row[5] == incident_id, problems)
    return Story(
        records[0],
        sorted(_decoded(rungs, rows.rung, problems), key=lambda each: (each.started, each.rung, each.run)),
        sorted(_decoded(events, rows.event, problems), key=lambda each: (each.run, each.seq)),
        sorted(_decoded(taken, rows.evidence, problems), key=lambda each: each.taken),
        problems,
    )


def history(path: str, name: str, *, limit: int = LIMIT) -> History:
    """What is kept of one watchdog; at most ``limit`` incidents and events. JournalUnreadable."""
    problems: list[str] = []
    with look(path) as connection:
        known = _find(connection, REGISTRY, "WHERE name = ?", (name,), lambda row: row[0] == name, problems)
        registered = _decoded(known, rows.declared, problems)
        past = _incidents(connection, False, None, name, limit, problems)
        tail = "WHERE name = ? ORDER BY run DESC, seq DESC LIMIT ?"
        found = _find(connection, EVENTS, tail, (name, limit), lambda row: row[4] == name, problems)
    events = sorted(_decoded(found, rows.event, problems), key=lambda each: (each.run, each.seq))
    return History(name, registered[0] if registered else None, past, events[-limit:], problems)


def events(path: str, wanted: Callable[[Any, Any], bool], *, limit: int = LIMIT) -> list[EventRecord]:
    """The newest ``limit`` events of which ``wanted(type, name)`` is true, oldest first. JournalUnreadable."""
    with look(path) as connection:
        try:
            found = connection.execute(f"{EVENTS.select} ORDER BY run DESC, seq DESC")
            good = (row[:-1] for row in found if rows.intact(EVENTS.name, row))
            newest = list(islice((row for row in good if wanted(row[3], row[4])), limit))[::-1]
        except sqlite3.DatabaseError:
            whole = schema.scan(connection, EVENTS, [])
            newest = list(deque((row for row in whole if wanted(row[3], row[4])), maxlen=limit))
    return _decoded(newest, rows.event, [])


def began(path: str) -> float | None:
    """When the oldest thing happened that the journal keeps; None: it keeps nothing. JournalUnreadable."""
    with look(path) as connection:
        times = [
            time
            for question in ("SELECT min(time) FROM events", "SELECT min(opened) FROM incidents")
            for (time,) in connection.execute(question)
            if isinstance(time, float)
        ]
    return min(times, default=None)


@contextmanager
def look(path: str) -> Iterator[sqlite3.Connection]:
    """A connection that reads one journal, as it was at one moment. JournalUnreadable, JournalRefused."""
    place = _place(path)
    if not os.path.exists(place):
        raise JournalUnreadable(f"there is no journal at {path}; a supervisor that keeps one makes it")
    try:
        schema.check_regular(place)
        connection = schema.open_reading(place)
    except (OSError, sqlite3.Error) as fault:
        raise JournalUnreadable(f"{path} cannot be read: {fault}") from None
    try:
        with suppress(schema.JournalDamaged, sqlite3.DatabaseError):  # the checksums tell what can be believed
            schema.check_version(connection)
        connection.execute("BEGIN")
        yield connection
    except sqlite3.Error as fault:
        raise JournalUnreadable(f"{path} cannot be read: {fault}") from None
    finally:
        connection.close()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the cyclic collector: a third of the time, when many objects are made and none is dropped."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _place(path: str) -> str:
    """Where the journal is: a supervisor that was killed while it moved a damaged one aside left it as ``.new``."""
    return f"{path}.new" if not os.path.exists(path) and os.path.exists(f"{path}.new") else path


def _restore(connection: sqlite3.Connection, restored: Restored) -> None:
    problems = restored.problems
    restored.registry = _decoded(schema.scan(connection, REGISTRY, problems), rows.declared, problems)
    rungs: dict[str, list[RungRun]] = {}
    found = _find(connection, INCIDENTS, "WHERE closed IS NULL", (), lambda row: row[4] is None, problems)
    for record in sorted(_decoded(found, rows.incident, problems), key=lambda each: each.opened):
        rungs[record.id] = []
        restored.open += [
            OpenIncident(each, rungs[record.id]) for each in _decoded((record,), rows.opened, problems)
        ]
    tail = "WHERE incident IN (SELECT id FROM incidents WHERE closed IS NULL)"
    climbed = _find(connection, RUNGS, tail, (), lambda row: row[0] in rungs, problems)
    for run in _decoded(climbed, rows.rung, problems):
        rungs[run.incident].append(run)
    for each in rungs.values():
        each.sort(key=lambda run: (run.rung, run.run))
    _restore_closed(connection, restored)
    try:
        restored.counts = dict(connection.execute("SELECT name, count(*) FROM incidents GROUP BY name"))
        restored.incidents = sum(restored.counts.values())
        restored.last_event = connection.execute(
            "SELECT run, seq FROM events ORDER BY run DESC, seq DESC LIMIT 1"
        ).fetchone()
    except sqlite3.DatabaseError as fault:
        problems.append(str(fault))


def _restore_closed(connection: sqlite3.Connection, restored: Restored) -> None:
    """Of incidents that are over: what ran in them lately, and which were given up."""
    problems = restored.problems
    since = wall() - RAN_LATELY
    down = {each.name for each in restored.registry if each.state in _DOWN}
    down -= {each.opened.name for each in restored.open}

    def lately(row: Row) -> bool:
        return isinstance(row[4], float) and row[4] >= since

    tail = "WHERE closed >= ? ORDER BY closed DESC LIMIT ?"
    closed = _decoded(
        _find(connection, INCIDENTS, tail, (since, RAN_MAX), lately, problems), rows.incident, problems
    )
    tail = "WHERE incident IN (SELECT id FROM incidents WHERE closed >= ? ORDER BY closed DESC LIMIT ?)"
    names = {record.id: record.name for record in closed}
    runs: dict[str, list[RungRun]] = {}
    found = _find(connection, RUNGS, tail, (since, RAN_MAX), lambda row: row[0] in names, problems)
    for run in sorted(_decoded(found, rows.rung, problems), key=lambda each: each.started):
        if run.incident in names:
            runs.setdefault(run.incident, []).append(run)
            restored.ran.setdefault(names[run.incident], []).append(run)
    last: dict[str, IncidentRecord] = {}
    if down:
        given_up = _find(
            connection, INCIDENTS, "WHERE closed IS NOT NULL", (), lambda row: row[1] in down, problems
        )
        for record in _decoded(given_up, rows.incident, problems):
            if record.name not in last or record.opened > last[record.name].opened:
                last[record.name] = record
    for name, record in last.items():
        if record.how == "given-up":
            for opened in _decoded((record,), rows.opened, problems):
                restored.given_up[name] = OpenIncident(opened, runs.get(record.id, []))


def _incidents(
    connection: sqlite3.Connection,
    open_only: bool,
    since: float | None,
    name: str | None,
    limit: int,
    problems: list[str],
) -> list[IncidentRecord]:
    conditions = ["1"]
    values: list[Any] = []
    if open_only:
        conditions.append("closed IS NULL")
    if since is not None:
        conditions.append("(closed IS NULL OR closed >= ?)")
        values.append(since)
    if name is not None:
        conditions.append("name = ?")
        values.append(name)

    def wanted(row: Row) -> bool:
        record = rows.incident(row)
        over = record.closed is not None
        return (
            not (open_only and over)
            and (since is None or record.closed is None or record.closed >= since)
            and name in (None, record.name)
        )

    tail = f"WHERE {' AND '.join(conditions)} ORDER BY opened DESC, id DESC LIMIT ?"
    found = _find(connection, INCIDENTS, tail, (*values, limit), wanted, problems)
    newest = sorted(_decoded(found, rows.incident, problems), key=lambda each: (each.opened, each.id), reverse=True)
    return newest[:limit]


def _find(
    connection: sqlite3.Connection,
    table: Table,
    tail: str,
    values: Sequence[Any],
    wanted: Callable[[Row], bool],
    problems: list[str],
) -> list[Row]:
    """The rows that SQLite finds by ``tail``; in a damaged file, those that a scan finds by ``wanted``."""
    try:
        found = connection.execute(f"{table.select} {tail}", values).fetchall()
    except sqlite3.DatabaseError:
        return [row for row in schema.scan(connection, table, problems) if wanted(row)]
    good = [row[:-1] for row in found if rows.intact(table.name, row)]
    if len(good) < len(found):
        problems.append(f"{table.name}: {len(found) - len(good)} rows with a wrong checksum")
    return [row for row in good if wanted(row)]


S = TypeVar("S")


def _decoded(found: Iterator[S] | Sequence[S], decode: Callable[[S], T], problems: list[str]) -> list[T]:
    """What ``decode`` makes of each; what it cannot read is counted."""
    good: list[T] = []
    strange: list[str] = []
    for each in found:
        try:
            good.append(decode(each))
        except (ValueError, TypeError, KeyError, JournalError) as fault:
            strange.append(str(fault))
    if strange:
        problems.append(f"{len(strange)} rows are of a kind that this banken does not know: {strange[0]}")
    return good
