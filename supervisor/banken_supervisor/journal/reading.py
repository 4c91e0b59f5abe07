"""Reads the journal: what a new supervisor begins with, and what people look at, also as plain data.

All of it works beside a supervisor that writes. Only rows with the right checksum are returned. Times are wall
clock, seconds since 1970 (UTC); durations are seconds.
"""

from __future__ import annotations

import gc
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from functools import partial
from itertools import chain, islice
from math import inf
from operator import attrgetter
from typing import Any

from banken_supervisor.engine.patterns import is_pattern
from banken_supervisor.journal import schema
from banken_supervisor.journal.clock_history import ClockHistory, Reading
from banken_supervisor.journal.entries import (
    ClockSpan,
    Declared,
    EventSeen,
    EvidenceTaken,
    IncidentRecord,
    LastFeed,
    StepRun,
)
from banken_supervisor.journal.schema import JournalUnreadable, scan
from banken_supervisor.journal.tables import CLOCKS, EVENTS, EVIDENCE, FEEDS, INCIDENTS, REGISTRY, STEPS, Table
from banken_supervisor.journal.values import Row
from banken_supervisor.text.sanitize import ODD

LIMIT = 1_000
"""Rows of one kind that are returned unless more are asked for; the newest ones."""

SCANNED_MAX = 100_000
"""Incidents that are looked at for a pattern."""

HISTORY_MAX = 10_000
"""Incidents, and events, of one watchdog that are read: its uptime is made of them."""

RAN_LATELY = 7 * 86_400.0
"""Seconds: runs of steps that are older count for no budget after a restart."""

RAN_MAX = 20_000
"""Closed incidents whose runs are read, the newest."""

_OPENED = attrgetter("opened")


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """An incident, and how far its ladder was climbed."""

    opened: IncidentRecord
    steps: list[StepRun]
    """in the order of (step, run); ``ok`` is None: the run was begun, and its end is not known"""


@dataclass(slots=True)
class Restored:
    """What the last supervisor left."""

    registry: list[Declared] = field(default_factory=list)
    open: list[OpenIncident] = field(default_factory=list)
    """oldest first; those that were given up included"""
    ran: dict[str, list[StepRun]] = field(default_factory=dict)
    """by watchdog: what ran within ``RAN_LATELY`` in incidents that are closed, for budgets; oldest first"""
    counts: dict[str, int] = field(default_factory=dict)
    """by watchdog: incidents that the journal holds"""
    feeds: dict[str, LastFeed] = field(default_factory=dict)
    """by watchdog: its last feed, where that is kept"""
    clocks: list[ClockSpan] = field(default_factory=list)
    """how wall clock and monotonic clock went together, oldest first"""
    problems: list[str] = field(default_factory=list)
    """what could not be read; empty for a whole journal, and where there was none"""
    was_read: bool = True
    """False: there may be more in the file, which could not be read at all"""


@dataclass(frozen=True, slots=True)
class Story:
    """One incident with all that is kept of it, each part in order of time."""

    incident: IncidentRecord
    steps: list[StepRun]
    events: list[EventSeen]
    evidence: list[EvidenceTaken]
    problems: list[str]


@dataclass(frozen=True, slots=True)
class History:
    """What is kept of one watchdog."""

    name: str
    registered: Declared | None
    """None: it is not watched now"""
    incidents: list[IncidentRecord]
    """newest first"""
    events: list[EventSeen]
    """oldest first, the newest ``limit`` of them"""
    began: float | None
    """when the oldest thing happened that the journal keeps, of any watchdog; None: it keeps nothing"""
    problems: list[str]


def restore(path: str) -> Restored:
    """What a new supervisor begins with. Never raises: without a readable journal it is empty and says why.

    To be called before the ``Journal`` of the same path is made. No file at all is no problem.
    """
    restored = Restored()
    collecting = gc.isenabled()
    gc.disable()  # a third of the time, when many objects are made and none is dropped
    try:
        if os.path.exists(path):
            with look(path) as connection:
                _restore(connection, restored)
    except Exception as fault:  # noqa: BLE001  (a damaged disk must not keep a supervisor from starting)
        restored.problems.append(str(fault))
        restored.was_read = False
    finally:
        if collecting:
            gc.enable()
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
    conditions = {
        "closed IS NULL": () if open_only else None,
        "(closed IS NULL OR closed >= ?)": None if since is None else (since,),
        "name = ?": None if name is None else (name,),
    }
    asked = {condition: values for condition, values in conditions.items() if values is not None}
    where = f"WHERE {' AND '.join(asked)}" if asked else ""
    with look(path) as connection:
        tail = f"{where} ORDER BY opened DESC, id DESC LIMIT ?"
        return _read(connection, INCIDENTS, None, tail, (*chain(*asked.values()), limit))


def find(
    path: str, names: Collection[str], open_only: bool, since: float | None, limit: int
) -> list[IncidentRecord]:
    """As ``incidents``, of these names or patterns; none: of all. JournalUnreadable."""
    read = partial(incidents, path, open_only=open_only, since=since)
    if any(map(is_pattern, names)):
        found = [each for each in read(limit=SCANNED_MAX) if any(fnmatchcase(each.name, name) for name in names)]
    else:
        found = [each for name in set(names) or (None,) for each in read(name=name, limit=limit)]
    return sorted(found, key=lambda each: (each.opened, each.id), reverse=True)[:limit]


def incident(path: str, incident_id: str) -> Story | None:
    """One incident with its timeline and evidence; None: the journal has none of this id. JournalUnreadable."""
    problems: list[str] = []
    with look(path) as connection:
        records = _read(connection, INCIDENTS, problems, "WHERE id = ?", (incident_id,))
        steps, seen, taken = (
            _read(connection, table, problems, f"WHERE incident = ? ORDER BY {order}", (incident_id,))
            for table, order in ((STEPS, "started, step, run"), (EVENTS, "run, seq"), (EVIDENCE, "taken"))
        )
    taken.sort(key=_is_output)  # what a process did comes before what it wrote
    return Story(records[0], steps, seen, taken, problems) if records else None


def _is_output(entry: EvidenceTaken) -> bool:
    with suppress(ValueError):
        return "outputs" in entry.data and "threads" not in entry.data
    return False


def history(path: str, name: str, *, limit: int = HISTORY_MAX) -> History:
    """What is kept of one watchdog; at most ``limit`` incidents and events. JournalUnreadable."""
    problems: list[str] = []
    with look(path) as connection:
        registered = _read(connection, REGISTRY, problems, "WHERE name = ?", (name,))
        about = "WHERE name = ? ORDER BY"
        past = _read(connection, INCIDENTS, problems, f"{about} opened DESC, id DESC LIMIT ?", (name, limit))
        newest = _read(connection, EVENTS, problems, f"{about} run DESC, seq DESC LIMIT ?", (name, limit))
        firsts = connection.execute("SELECT min(time) FROM events UNION SELECT min(opened) FROM incidents")
        began = min((time for (time,) in firsts if isinstance(time, float)), default=None)
    return History(name, registered[0] if registered else None, past, newest[::-1], began, problems)


def events(path: str, wanted: Callable[[Any, Any], bool], *, limit: int = LIMIT) -> list[EventSeen]:
    """The newest ``limit`` events of which ``wanted(type, name)`` is true, oldest first. JournalUnreadable."""
    with look(path) as connection:
        found = scan(connection, EVENTS, None, "ORDER BY run DESC, seq DESC")
        newest = list(islice((row for row in found if wanted(row[2], row[3])), limit))
    return _decoded(EVENTS, newest[::-1], [])


def plain(entry: Any) -> dict[str, Any]:
    """An entry's fields, under the names that they have in Python. ValueError: damaged evidence."""
    found = {each.name: getattr(entry, each.name) for each in fields(entry)}
    if isinstance(entry, Declared):
        found["declaration"] = entry.declaration._asdict()
        found["owner"] = None if entry.owner is None else entry.owner._asdict()
        found["state"] = entry.state.value
    elif isinstance(entry, EvidenceTaken):
        found["data"] = entry.data
        del found["blob"]
    return found


def event(record: EventSeen) -> dict[str, Any]:
    """One event of a timeline."""
    return {"time": record.time, "type": record.type, **(record.data if isinstance(record.data, dict) else {})}


def whole(story: Story) -> dict[str, Any]:
    """One incident with all that is kept of it."""
    return {
        **plain(story.incident),
        "steps": [{key: each for key, each in plain(step).items() if key != "incident"} for step in story.steps],
        "events": [event(each) for each in story.events],
        "evidence": [{"taken": each.taken, **each.data} for each in story.evidence],
        "problems": list(story.problems),
    }


@contextmanager
def look(path: str) -> Iterator[sqlite3.Connection]:
    """A connection that reads one journal, as it was at one moment. JournalUnreadable, JournalRefused."""
    if not os.path.exists(path):
        raise JournalUnreadable(f"there is no journal at {path}; a supervisor that keeps one makes it")
    try:
        schema.check_regular(path)
        connection = schema.open_reading(path)
    except (OSError, sqlite3.Error) as fault:
        raise JournalUnreadable(f"{path} cannot be read: {fault}") from None
    try:
        with suppress(schema.JournalDamaged, sqlite3.DatabaseError):  # the checksums say which rows are right
            schema.check_version(connection)
        connection.execute("BEGIN")
        yield connection
    except sqlite3.Error as fault:
        raise JournalUnreadable(f"{path} cannot be read: {fault}") from None
    finally:
        connection.close()


def _restore(connection: sqlite3.Connection, restored: Restored) -> None:
    problems = restored.problems
    registry = _read(connection, REGISTRY, problems)
    restored.registry = list({each.name: each for each in registry}.values())  # damage can show a row twice
    restored.open = _with_steps(connection, problems, "WHERE closed IS NULL")
    restored.feeds = {each.name: each for each in _read(connection, FEEDS, problems)}
    restored.clocks = _read(connection, CLOCKS, problems, "ORDER BY number")
    lately = ClockHistory(restored.clocks, Reading.now()).moment_before(RAN_LATELY)
    begin = -inf if lately is None else min([lately[0], *(each[0] for each in lately[1])])
    which = "WHERE closed >= ? ORDER BY closed DESC LIMIT ?"
    for each in _with_steps(connection, problems, which, (begin, RAN_MAX)):
        restored.ran.setdefault(each.opened.name, []).extend(each.steps)
    for runs in restored.ran.values():
        runs.sort(key=lambda run: run.started)
    try:
        restored.counts = dict(connection.execute("SELECT name, count(*) FROM incidents GROUP BY name"))
    except sqlite3.DatabaseError as fault:
        problems.append(str(fault))


def _with_steps(
    connection: sqlite3.Connection, problems: list[str], which: str, values: Sequence[Any] = ()
) -> list[OpenIncident]:
    """Incidents, the oldest first, with the runs of their steps."""
    records = sorted(_read(connection, INCIDENTS, problems, which, values), key=_OPENED)
    found = {record.id: OpenIncident(record, []) for record in records}
    tail = f"WHERE incident IN (SELECT id FROM incidents {which})"  # noqa: S608
    for run in sorted(_read(connection, STEPS, problems, tail, values), key=lambda run: (run.step, run.run)):
        if run.incident in found:
            found[run.incident].steps.append(run)
    return list(found.values())


def _read(
    connection: sqlite3.Connection,
    table: Table,
    problems: list[str] | None,
    tail: str = "",
    values: Sequence[Any] = (),
) -> list[Any]:
    """The entries of the rows that ``scan`` finds."""
    return _decoded(table, scan(connection, table, problems, tail, values), problems)


def _decoded(table: Table, found: Iterable[Row], problems: list[str] | None) -> list[Any]:
    """The entries of rows. Those that this version cannot read are left out, and ``problems`` says so."""
    good: list[Any] = []
    unknown: list[str] = []
    for row in found:
        try:
            entry = table.entry(row)
            if table is EVIDENCE:
                entry.data  # noqa: B018  # a ValueError, if it is damaged
            good.append(entry)
        except ODD as fault:
            unknown.append(str(fault))
    if unknown and problems is not None:
        problems.append(f"{len(unknown)} rows are of a kind that this banken does not know: {unknown[0]}")
    return good
