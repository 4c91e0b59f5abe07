"""What the tests of the journal share: journals that are ended, entries, and what a journal holds."""

from __future__ import annotations

import io
import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration
from banken_supervisor.journal import (
    Declared,
    Entry,
    EventSeen,
    EvidenceTaken,
    IncidentClosed,
    IncidentRecord,
    Journal,
    Reading,
    StepRun,
    checking,
    squeeze,
)
from banken_supervisor.journal.entries import ClockSpan
from banken_supervisor.journal.tables import CLOCKS

NOW = float(int(time.time()))
WAIT = 20.0
"""Seconds that writing may take on a busy machine."""

Opening = Callable[..., Journal]


@contextmanager
def journals_at(path: str) -> Iterator[Opening]:
    """Makes journals, and ends them after the test."""
    made: list[Journal] = []

    def one(**options: Any) -> Journal:
        made.append(Journal(options.pop("path", path), options.pop("run", "run-1"), **options))
        return made[-1]

    yield one
    for each in made:
        each.close(0.0)


def write(path: str, *entries: Entry, run: str = "run-1") -> None:
    """Write entries and close the journal."""
    journal = Journal(path, run)
    for entry in entries:
        assert journal.record(entry) is not None
    assert journal.flush(WAIT), journal.state()
    assert journal.close(WAIT)


def opened(number: int, name: str = "w", **more: Any) -> IncidentRecord:
    """A verdict."""
    return IncidentRecord(f"r-{number:05}", name, Cause.TIMEOUT, NOW + number, 1.5, 1.0, **more)


def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def dump(path: str) -> list[Any]:
    """All rows but those of the clocks, of which every journal has some."""
    out = io.StringIO()
    checking.export(path, out, [])
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    return [row for row in rows if row.get("table") != "clocks"]


def seen_for(path: str, seconds: float) -> None:
    """Let the supervisors of this journal have seen so much time go by; no writer may have it open."""
    now = Reading.now()
    span = ClockSpan(1, now.boot, now.ticks - seconds, now.ticks, now.wall - now.ticks)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM clocks")
        connection.execute(CLOCKS.insert("REPLACE"), CLOCKS.row(span))


def load(count: int, start: int = 0) -> list[Entry]:
    """A journal's worth of entries, of all kinds, some incidents over."""
    entries: list[Entry] = []
    for number in range(start, start + count):
        verdict = opened(number, f"w-{number}", reason="r" * (number % 300))
        blob = squeeze({"n": number, "noise": random.Random(number).randbytes(number % 2_000).hex()})
        entries += [
            Declared(verdict.name, Declaration(), incidents=number),
            verdict,
            StepRun(verdict.id, 0, 1, "dump", NOW, True, "t" * (number % 50)),
            EvidenceTaken(verdict.id, NOW + number, blob),
            EventSeen(number, NOW + number, "expired", verdict.name, {"incident": verdict.id, "n": number}),
        ]
        if number % 3 == 0:
            entries.append(IncidentClosed(verdict.id, NOW + number + 5, "fed", 2))
    return entries
