"""The journal: what is recorded is there, once and unchanged; what is not sound is never returned."""

from __future__ import annotations

import io
import json
import math
import os
import random
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banken.model import Cause, Declaration, Feeders, Incarnation
from banken_supervisor.core.journaled import DUE_PER_SECOND, SHARE_MAX, rearm_offset, rearm_offsets
from banken_supervisor.core.states import State
from banken_supervisor.journal import (
    Cleared,
    Condition,
    Declared,
    Entry,
    EventSeen,
    EvidenceTaken,
    IncidentClosed,
    IncidentOpened,
    Journal,
    JournalDamaged,
    JournalError,
    JournalRefused,
    JournalUnreadable,
    Limits,
    Rank,
    Released,
    RungRun,
    aside,
    checking,
    reading,
    restore,
    rows,
    schema,
    squeeze,
)
from banken_supervisor.journal.pending import Pending

NOW = float(int(time.time()))
WAIT = 20.0
"""Seconds that writing may take on a busy machine."""

Opening = Callable[..., Journal]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the journal of one test is."""
    return str(tmp_path / "journal.db")


@pytest.fixture
def opening(path: str) -> Iterator[Opening]:
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


def opened(number: int, name: str = "w", **more: Any) -> IncidentOpened:
    """A verdict."""
    return IncidentOpened(f"r-{number:05}", name, Cause.TIMEOUT, NOW + number, 1.5, 1.0, **more)


def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


# -- what is kept -------------------------------------------------------------------------------------


def test_every_kind_of_entry_comes_back_as_it_was_recorded(path: str) -> None:
    """Registry, incidents, rungs, evidence and events: written, closed, opened again, the same."""
    owner = Incarnation(b"bootboot", 4711, 99, b"nonc")
    declaration = Declaration(2.5, 1.0, 9.0, Feeders.ANY, "page", 60.0)
    dog = Declared("w", declaration, 0.05, owner, State.PAUSED, NOW + 60, operator=True, incidents=3, changed=NOW)
    verdict = opened(1, reason="why", status="busy", progress=7, pid=4711, level="warning")
    rung = RungRun(verdict.id, 0, 1, "dump", NOW + 1, ok=True, text="12 threads")
    found = {"headline": "MainThread in fetch", "threads": [1, 2]}
    event = EventSeen(5, NOW + 1, "expired", "w", {"incident": verdict.id, "silence": 1.5})
    end = IncidentClosed(verdict.id, NOW + 9, "fed", 4)
    write(path, dog, verdict, rung, EvidenceTaken(verdict.id, NOW + 2, squeeze(found)), event, end)

    assert restore(path).registry == [dog]
    story = reading.incident(path, verdict.id)
    assert story is not None
    assert rows.opened(story.incident) == verdict
    assert (story.incident.closed, story.incident.how, story.incident.runs) == (NOW + 9, "fed", 4)
    assert story.rungs == [rung]
    assert story.evidence == [rows.Evidence(verdict.id, NOW + 2, found)]
    assert story.events == [rows.EventRecord("run-1", 5, NOW + 1, "expired", "w", verdict.id, dict(event.data))]
    assert story.problems == []
    assert checking.check(path) == []


_text = st.text(st.characters(codec=None), max_size=40) | st.sampled_from(
    ["\udc80", "a\0b", "", "番犬", "x" * 9000]
)
_number = st.integers(-(2**70), 2**70)
_real = st.floats()


@settings(max_examples=200, deadline=None)
@given(_text, _real, st.none() | _number | _real | _text, _number, st.none() | _text)
def test_whatever_a_worker_says_is_a_sound_row_when_it_is_read(
    text: str, real: float, progress: Any, number: int, maybe: str | None
) -> None:
    """Through SQLite and back the checksum is right: else one odd text would make every file a damaged one."""
    entries = {
        schema.REGISTRY: rows.registry_row(
            Declared(
                text, Declaration(callback=maybe), real, None, State.ALIVE, real, changed=real, incidents=number
            )
        ),
        schema.INCIDENTS: rows.closed_row(
            rows.incident_row(
                IncidentOpened(text, text, Cause.FAILED, real, real, real, maybe, maybe, progress, number, maybe)
            ),
            real,
            text,
            number,
        ),
        schema.RUNGS: rows.rung_row(RungRun(text, number, number, text, real, None, text)),
        schema.EVIDENCE: rows.evidence_row(EvidenceTaken(text, real, squeeze({text: [progress, {"x": real}]}))),
        schema.EVENTS: rows.event_row(
            EventSeen(number, real, text, maybe, {text: progress, "incident": maybe}), text
        ),
    }
    connection = sqlite3.connect(":memory:")
    for table, row in entries.items():
        connection.execute(table.create)
        connection.execute(table.insert("IGNORE"), row)
        (read,) = connection.execute(table.select).fetchall()
        assert rows.intact(table.name, read), (table.name, row, read)
        checking._DECODE[table.name](read[:-1])
    connection.close()


def test_what_is_too_long_is_cut_and_says_so() -> None:
    """Evidence and event data are bounded, whatever was collected."""
    packed = rows.evidence(("i", NOW, squeeze({"headline": "h", "stack": ["x" * 100] * 50_000})))
    assert packed.data["headline"] == "h"
    assert "at most" in packed.data["cut"]
    event = EventSeen(1, NOW, "x", None, {"long": "x" * 100_000, "short": 1, "deep": [[[]]] * 50_000})
    data = rows.event(rows.event_row(event, "r")[:-1]).data
    assert data.pop("cut")
    assert data == {"short": 1}
    loop: dict[str, Any] = {}
    loop["self"] = loop
    assert len(squeeze(loop)) < 1000


def test_evidence_that_unpacks_without_end_is_not_unpacked() -> None:
    """A row whose sum is right may still be hostile: another program may have written it."""
    import zlib

    bomb = zlib.compress(b'"' + b"a" * (rows.EVIDENCE_MAX * 20) + b'"')
    with pytest.raises(ValueError, match="longer than"):
        rows.evidence(("i", NOW, bomb))
    with pytest.raises(ValueError, match="unpacked"):
        rows.evidence(("i", NOW, b"garbage"))


# -- recording twice, and in any order ------------------------------------------------------------------


def dump(path: str) -> list[Any]:
    """All rows."""
    out = io.StringIO()
    checking.export(path, out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_recording_everything_twice_changes_nothing(path: str) -> None:
    """After kill -9 the caller does not know what was written, and records it again."""
    entries: list[Entry] = []
    for number in range(50):
        verdict = opened(number, f"w-{number}")
        entries += [
            Declared(verdict.name, Declaration(), incidents=1),
            verdict,
            RungRun(verdict.id, 0, 1, "dump", NOW),
            RungRun(verdict.id, 0, 1, "dump", NOW, True, "done"),
            EvidenceTaken(verdict.id, NOW, squeeze({"n": number})),
            EventSeen(number, NOW, "expired", verdict.name, {"incident": verdict.id}),
            IncidentClosed(verdict.id, NOW + 100, "fed", 2),
        ]
    write(path, *entries)
    before = dump(path)
    assert len(before) == 50 * 5
    write(path, *entries)
    assert dump(path) == before
    for at in range(0, len(entries), 7):  # and in other batches
        write(path, *entries[at : at + 5])
    assert dump(path) == before


def test_the_first_end_of_an_incident_stands_and_nothing_opens_it_again(path: str) -> None:
    """An id is used once."""
    write(path, opened(1), IncidentClosed("r-00001", NOW + 2, "fed", 3))
    write(path, IncidentClosed("r-00001", NOW + 5, "released", 9), opened(1, reason="again"))
    (record,) = reading.incidents(path)
    assert (record.closed, record.how, record.runs, record.reason) == (NOW + 2, "fed", 3, None)
    assert reading.incidents(path, open_only=True) == []


def test_a_result_is_not_overwritten_by_the_beginning(path: str) -> None:
    """What is recorded before an action is known to be over when its result is there."""
    begun = RungRun("r-00001", 2, 1, "signal", NOW)
    write(path, opened(1), begun, replace(begun, ok=False, text="gone"))
    write(path, begun)
    story = reading.incident(path, "r-00001")
    assert story is not None
    assert [(each.ok, each.text) for each in story.rungs] == [(False, "gone")]


def test_within_one_batch_the_last_word_on_a_name_counts(path: str, opening: Opening) -> None:
    """Declared, released and declared again; and a registry that begins anew."""
    journal = opening()
    for entry in (
        Declared("old", Declaration()),
        Declared("kept", Declaration()),
        Released("kept"),
        Declared("kept", Declaration(5.0)),
        Declared("gone", Declaration()),
        Released("gone"),
    ):
        journal.record(entry)
    assert journal.flush(WAIT)
    assert {each.name: each.declaration.timeout for each in restore(path).registry} == {"old": 60.0, "kept": 5.0}
    for entry in (Declared("before", Declaration()), Cleared(), Declared("after", Declaration())):
        journal.record(entry)
    assert journal.flush(WAIT)
    assert [each.name for each in restore(path).registry] == ["after"]


def test_an_entry_that_is_none_holds_up_no_other(path: str, opening: Opening) -> None:
    """Its recorder's fault: counted, with the reason."""
    journal = opening()
    journal.record(opened(1))
    journal.record(IncidentOpened(None, "w", Cause.TIMEOUT, NOW))  # type: ignore[arg-type]
    journal.record(EventSeen("x", NOW, "t"))  # type: ignore[arg-type]
    journal.record(IncidentClosed("nobody", NOW, "fed"))
    journal.record(EvidenceTaken("r-00001", NOW, b"x" * (rows.EVIDENCE_MAX + 1)))
    journal.record(opened(2))
    assert journal.flush(WAIT)
    assert journal.state()["state"] == "ok"
    assert journal.state()["refused"] == 4
    assert journal.state()["refusal"]
    assert [each.id for each in reading.incidents(path)] == ["r-00002", "r-00001"]


def test_what_is_told_as_committed_is_there(path: str, opening: Opening) -> None:
    """At the moment of the call another connection already sees it; tickets only rise."""
    missing: list[int] = []
    told: list[int] = []

    def committed(ticket: int) -> None:
        told.append(ticket)
        if len(reading.incidents(path, limit=10_000)) < ticket:
            missing.append(ticket)

    journal = opening(committed=committed)
    for number in range(2_000):
        assert journal.record(opened(number)) == number + 1
        if number % 400 == 0:
            assert journal.flush(WAIT)
    assert journal.flush(WAIT)
    assert told == sorted(told)
    assert told[-1] == journal.durable == 2_000
    assert len(told) > 3
    assert missing == []


def test_callbacks_that_raise_do_not_end_the_writer(path: str, opening: Opening) -> None:
    """They are the caller's; the entries are ours."""

    def raises(_: Any) -> None:
        raise RuntimeError("the loop is gone")

    journal = opening(committed=raises, changed=raises)
    for number in range(3):
        journal.record(opened(number))
        assert journal.flush(WAIT)
    assert len(reading.incidents(path)) == 3
    assert "the loop is gone" in journal.state()["refusal"]


# -- the queue -----------------------------------------------------------------------------------------


def test_what_is_given_up_goes_from_the_least_important_upwards() -> None:
    """Events, registry, evidence, rungs, incidents; a newer event or state pushes out the oldest of its kind."""
    kinds: dict[Rank, Callable[[int], Entry]] = {
        Rank.EVENT: lambda n: EventSeen(n, NOW, "t"),
        Rank.REGISTRY: lambda n: Declared(f"w-{n}", Declaration()),
        Rank.EVIDENCE: lambda n: EvidenceTaken("i", n, b""),
        Rank.RUNG: lambda n: RungRun("i", 0, n, "a", NOW),
        Rank.INCIDENT: lambda n: opened(n),
    }
    queue = Pending(10, 10**9)
    for rank in (Rank.INCIDENT, Rank.RUNG, Rank.EVIDENCE, Rank.REGISTRY, Rank.EVENT):
        for number in range(2):
            assert queue.put(kinds[rank](number)) is not None
    assert queue.put(kinds[Rank.EVENT](2)) is not None
    assert queue.dropped == {Rank.EVENT: 1}
    lost: list[dict[Rank, int]] = []
    for number in range(2, 12):
        ticket = queue.put(kinds[Rank.INCIDENT](number))
        assert (ticket is None) == (number >= 10)
        lost.append(dict(queue.dropped))
    assert lost[1] == {Rank.EVENT: 3}
    assert lost[3] == {Rank.EVENT: 3, Rank.REGISTRY: 2}
    assert lost[5] == {Rank.EVENT: 3, Rank.REGISTRY: 2, Rank.EVIDENCE: 2}
    assert lost[-1] == {Rank.EVENT: 3, Rank.REGISTRY: 2, Rank.EVIDENCE: 2, Rank.RUNG: 2, Rank.INCIDENT: 2}
    assert queue.put(kinds[Rank.EVENT](9)) is None
    assert queue.lagging
    assert [entry for _, entry in queue.take(100, 10**9)] == [opened(number) for number in range(10)]
    queue.settled()
    assert not queue.lagging


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("peitg"), st.integers(1, 40)), max_size=60), st.integers(1, 30))
def test_the_queue_keeps_order_and_bounds(steps: list[tuple[str, int]], most: int) -> None:
    """Whatever is put, taken and given back: tickets rise, nothing is doubled, none is lost uncounted."""
    queue = Pending(most, 64 * 1024)
    put = refused = taken = 0
    hand: list[tuple[int, Entry]] = []
    for step, size in steps:
        if step == "t":
            queue_hand = queue.take(size, 8 * 1024)
            taken += len(hand)  # what was in hand is written
            hand = queue_hand
        elif step == "g":
            queue.give_back(hand)
            hand = []
        else:
            entry = EventSeen(put, NOW, "t", None, {"text": "x" * size * 100}) if step == "e" else opened(put)
            refused += queue.put(entry) is None
            put += 1
        assert len(queue) <= most
        assert 0 <= queue.bytes <= 64 * 1024
        assert put == taken + len(hand) + len(queue) + sum(queue.dropped.values())
    tickets = [ticket for ticket, _ in hand + queue.take(10**6, 10**9)]
    assert tickets == sorted(set(tickets))
    assert queue.bytes == 0


def test_a_full_queue_is_shown_and_the_registry_asked_for_again(path: str, opening: Opening) -> None:
    """While another process holds the file locked: bounded, counted, lagging; afterwards resync."""
    conditions: list[Condition] = []
    journal = opening(limits=Limits(queue_max=100), changed=conditions.append)
    assert journal.flush(WAIT)
    until(lambda: journal.condition.state == "ok", "it opens")
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    for number in range(300):
        journal.record(Declared(f"w-{number}", Declaration()))
    until(lambda: journal.condition.state == "failing", "it says that it is locked out")
    assert "locked" in journal.state()["reason"]
    assert journal.state()["dropped"]["registry"] == 200
    for number in range(50):
        assert journal.record(opened(number)) is not None
    assert journal.state()["queued"] <= 100
    blocker.execute("ROLLBACK")
    blocker.close()
    assert journal.flush(WAIT)
    until(lambda: journal.condition.state == "ok", "it has caught up")
    assert [each.resync for each in conditions if each.state == "ok"] == [False, True]
    assert len(reading.incidents(path)) == 50
    assert sorted(each.name for each in restore(path).registry) == [f"w-{number}" for number in range(250, 300)]


# -- the file -----------------------------------------------------------------------------------------


def test_only_its_owner_may_read_it(path: str, opening: Opening) -> None:
    """The file, its log, its index and its lock; also a file that was open to others before."""
    write(path, opened(1))
    os.chmod(path, 0o644)
    journal = opening()
    journal.record(opened(2))
    assert journal.flush(WAIT)
    reading.incidents(path)
    folder = os.path.dirname(path)
    modes = {name: stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) for name in os.listdir(folder)}
    assert set(modes) == {"journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock"}
    assert set(modes.values()) == {0o600}


def test_a_journal_of_the_future_is_refused_and_left_alone(path: str, opening: Opening) -> None:
    """An older banken must neither write into it nor take it for damaged."""
    write(path, opened(1))
    connection = sqlite3.connect(path)
    schema._set_version(connection, 7)
    connection.commit()
    connection.close()
    before = Path(path).read_bytes()
    journal = opening()
    journal.record(opened(2))
    until(lambda: journal.condition.state == "failing", "it is refused")
    assert "schema version 7" in journal.state()["reason"]
    assert "newer" in journal.state()["reason"]
    with pytest.raises(JournalRefused, match="schema version 7"):
        reading.incidents(path)
    with pytest.raises(JournalRefused, match="schema version 7"):
        checking.vacuum(path)
    assert "schema version 7" in checking.check(path)[0]
    restored = restore(path)
    assert restored.registry == []
    assert "schema version 7" in restored.problems[0]
    journal.close(0.1)
    assert Path(path).read_bytes() == before
    assert not aside.damaged_files(path)


def test_another_programs_database_is_refused_and_left_alone(path: str, opening: Opening) -> None:
    """A path that was mistyped costs nobody anything."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE cookies (name, value)")
    connection.commit()
    connection.close()
    before = Path(path).read_bytes()
    journal = opening()
    journal.record(opened(1))
    until(lambda: journal.condition.state == "failing", "it is refused")
    assert "another program" in journal.state()["reason"]
    journal.close(0.1)
    assert Path(path).read_bytes() == before


def test_a_path_that_is_no_file_stops_nothing(path: str, opening: Opening) -> None:
    """A directory, a pipe (which would block for ever), a directory that is not there."""
    os.mkfifo(path)
    journal = opening()
    journal.record(opened(1))
    until(lambda: journal.condition.state == "failing", "a pipe is refused")
    assert "not a file" in journal.state()["reason"]
    assert "not a file" in restore(path).problems[0]
    os.unlink(path)
    assert journal.flush(WAIT)
    assert len(reading.incidents(path)) == 1
    other = opening(path=os.path.join(os.path.dirname(path), "missing", "journal.db"))
    other.record(opened(1))
    until(lambda: other.condition.state == "failing", "nothing can be made there")
    os.mkdir(os.path.dirname(other.path))
    assert other.flush(WAIT)
    with pytest.raises(JournalUnreadable, match="there is no journal"):
        reading.incidents(path + "-none")
    assert restore(path + "-none").problems == []


def test_an_older_schema_is_brought_up_step_by_step_or_not_at_all(path: str) -> None:
    """Each step in one transaction with its version; a step that fails leaves the file as it was."""
    write(path, Declared("w", Declaration(7.0)), opened(1))

    def add_column(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE incidents ADD COLUMN place TEXT")
        columns = ", ".join((*schema.INCIDENTS.names, "place"))
        connection.execute(f"UPDATE incidents SET place = 'here', sum = row_sum('incidents', {columns})")

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE registry")
        raise RuntimeError("half done")

    with pytest.raises(RuntimeError, match="half done"):
        schema.open_writing(path, steps=(fail,)).close()
    assert checking.check(path) == []
    connection = schema._connect(path, "rw")
    schema.migrate(connection, 1, (add_column,))
    assert schema.check_version(connection, newest=2) == 2
    (row,) = connection.execute("SELECT place, id FROM incidents").fetchall()
    assert row == ("here", "r-00001")
    connection.close()
    with pytest.raises(JournalRefused, match="version 2"):
        reading.incidents(path)


def test_a_journal_that_was_removed_is_begun_again(path: str, opening: Opening) -> None:
    """Writing on into a file without a name would lose everything unseen."""
    conditions: list[Condition] = []
    journal = opening(changed=conditions.append)
    journal.record(opened(1))
    assert journal.flush(WAIT)
    for name in os.listdir(os.path.dirname(path)):
        os.unlink(os.path.join(os.path.dirname(path), name))
    journal.record(opened(2))
    assert journal.flush(WAIT)
    assert [each.id for each in reading.incidents(path)] == ["r-00002"]
    assert conditions[-1].state == "ok"
    assert conditions[-1].resync


def test_a_journal_that_was_replaced_keeps_what_its_replacement_had(path: str, opening: Opening) -> None:
    """Someone moves a backup to its place: the log of the old file is not taken for that of the new one."""
    write(path, *(opened(number) for number in range(100)))
    shutil.copy(path, path + ".backup")
    journal = opening()
    for number in range(100, 2_000):
        journal.record(opened(number, reason="x" * 200))
    assert journal.flush(WAIT)
    os.rename(path + ".backup", path)
    journal.record(opened(9_999))
    assert journal.flush(WAIT)
    assert len(reading.incidents(path, limit=10_000)) == 101
    assert checking.check(path) == []
    assert journal.state()["state"] == "ok"


def test_two_journals_at_one_file_do_not_mix(path: str, opening: Opening) -> None:
    """The second one says who holds it, keeps its entries, and takes over when the first has ended."""
    first = opening()
    first.record(opened(1))
    assert first.flush(WAIT)
    second = opening(run="run-2")
    second.record(opened(2))
    until(lambda: second.condition.state == "failing", "it is held")
    assert f"pid {os.getpid()}" in second.state()["reason"]
    assert first.close(WAIT)
    assert second.flush(WAIT)
    assert [each.id for each in reading.incidents(path)] == ["r-00002", "r-00001"]


def test_it_is_closed_with_everything_written_within_the_time_given(path: str) -> None:
    """And a journal that cannot write gives up when told to, and says so."""
    journal = Journal(path, "r")
    for number in range(5_000):
        journal.record(opened(number))
    assert journal.close(WAIT)
    assert not os.path.exists(path + "-wal")  # all of it is in the one file
    assert len(reading.incidents(path, limit=10_000)) == 5_000
    blocked = Journal(os.path.join(path, "under-a-file"), "r")
    blocked.record(opened(1))
    assert not blocked.close(0.2)
    assert not [each for each in threading.enumerate() if each.name == "banken-journal" and not each.daemon]


# -- what is forgotten -----------------------------------------------------------------------------------


def test_old_things_are_forgotten_and_open_ones_stay(path: str, opening: Opening) -> None:
    """Events by their age, incidents by the age of their end, with their rungs and evidence."""
    old = NOW - 100_000.0
    entries: list[Entry] = [EventSeen(n, old if n < 30 else NOW, "t", "w") for n in range(40)]
    for number in range(4):
        verdict = replace(opened(number), opened=old)
        entries += [verdict, RungRun(verdict.id, 0, 1, "a", old, True), EvidenceTaken(verdict.id, old, squeeze({}))]
    entries += [IncidentClosed("r-00000", old, "fed"), IncidentClosed("r-00001", NOW, "fed")]
    write(path, *entries)
    # Well above what may pass between the import of this file, when NOW is taken, and this test.
    journal = opening(limits=Limits(events_age=50_000.0, incidents_age=50_000.0))
    until(lambda: len(dump(path)) == 10 + 3 * 3, "the old ones are gone")
    journal.close()
    assert [each.id for each in reading.incidents(path)] == ["r-00003", "r-00002", "r-00001"]
    assert checking.check(path) == []


def test_it_never_grows_beyond_its_size(path: str, opening: Opening) -> None:
    """Events go first, then evidence, then what is over; the registry and open incidents stay."""
    size_max = 2 * 1024 * 1024
    journal = opening(limits=Limits(size_max=size_max))
    largest = 0
    for turn in range(30):
        journal.record(Declared(f"w-{turn}", Declaration()))
        journal.record(opened(turn))
        for number in range(1_000):
            journal.record(EventSeen(turn * 1_000 + number, NOW, "t", "w", {"text": "x" * 300}))
        assert journal.flush(WAIT)
        largest = max(largest, os.path.getsize(path))
    # The batch that crossed the mark is in it, and is cut down before the next one.
    assert largest <= size_max + 1_000 * 600
    restored = restore(path)
    assert len(restored.registry) == len(restored.open) == 30
    kept = [row["seq"] for row in dump(path) if row["table"] == "events"]
    assert kept[-1] == 29_999
    assert 1_000 <= len(kept) < 10_000
    noise = random.Random(1)
    for turn in range(300):
        journal.record(EvidenceTaken(f"r-{turn % 30:05}", NOW + turn, noise.randbytes(20_000)))
        if turn % 10 == 0:
            assert journal.flush(WAIT)
    until(lambda: os.path.getsize(path) <= size_max, "the file itself is made smaller")
    assert len(restore(path).open) == 30


def test_what_is_over_goes_when_nothing_less_is_left(path: str, opening: Opening) -> None:
    """Closed incidents, the oldest end first."""
    journal = opening(limits=Limits(size_max=512 * 1024))
    for number in range(6_000):
        journal.record(opened(number, reason="x" * 200))
        if number % 2 == 0:
            journal.record(IncidentClosed(f"r-{number:05}", NOW + number, "fed"))
    assert journal.flush(WAIT)
    until(lambda: len(reading.incidents(path, limit=10_000)) == 3_000, "only open ones are left")
    assert len(restore(path).open) == 3_000
    assert journal.record(opened(9_999)) is not None
    assert journal.flush(WAIT)


# -- damage -------------------------------------------------------------------------------------------


def load(count: int, start: int = 0) -> list[Entry]:
    """A journal's worth of entries, of all kinds, some incidents over."""
    entries: list[Entry] = []
    for number in range(start, start + count):
        verdict = opened(number, f"w-{number}", reason="r" * (number % 300))
        blob = squeeze({"n": number, "noise": random.Random(number).randbytes(number % 2_000).hex()})
        entries += [
            Declared(verdict.name, Declaration(), incidents=number),
            verdict,
            RungRun(verdict.id, 0, 1, "dump", NOW, True, "t" * (number % 50)),
            EvidenceTaken(verdict.id, NOW + number, blob),
            EventSeen(number, NOW + number, "expired", verdict.name, {"incident": verdict.id, "n": number}),
        ]
        if number % 3 == 0:
            entries.append(IncidentClosed(verdict.id, NOW + number + 5, "fed", 2))
    return entries


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, set[str]]:
    """A closed journal, one that was left with everything still in its log, as kill -9 leaves it, and all rows."""
    folder = tmp_path_factory.mktemp("sound")
    closed, left = str(folder / "closed.db"), str(folder / "left.db")
    journal = Journal(closed, "run-1")
    for entry in load(400):
        journal.record(entry)
    assert journal.flush(WAIT)
    for suffix in ("", "-wal"):
        shutil.copy(closed + suffix, left + suffix)
    assert journal.close(WAIT)
    return closed, left, {json.dumps(row, sort_keys=True) for row in dump(closed)}


def harm(path: str, chance: random.Random) -> str:
    """Do to a file what disks do: flip bits, zero or overwrite a stretch, cut it short."""
    size = os.path.getsize(path)
    how = chance.choice(["flip", "flips", "zero", "garbage", "cut", "head"])
    with open(path, "r+b") as file:
        if how == "cut":
            file.truncate(chance.randrange(size))
        elif how in ("zero", "garbage"):
            at = chance.randrange(size)
            length = min(size - at, chance.choice([1, 64, 4096, 20_000]))
            file.seek(at)
            file.write(bytes(length) if how == "zero" else chance.randbytes(length))
        else:
            for _ in range(8 if how == "flips" else 1):
                at = chance.randrange(100 if how == "head" else size)
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 1 << chance.randrange(8)]))
    return how


SEEDS = range(200 if os.environ.get("BANKEN_LONG") else 32)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_journal_yields_nothing_wrong_and_takes_what_comes(
    seed: int, sound: tuple[str, str, set[str]], path: str
) -> None:
    """No exception, no row that was not written, and everything recorded from now on is there."""
    closed, left, written = sound
    chance = random.Random(seed)
    log_too = chance.random() < 0.3
    shutil.copy(left if log_too else closed, path)
    if log_too:
        shutil.copy(left + "-wal", path + "-wal")
    target = path + "-wal" if log_too and chance.random() < 0.8 else path
    how = harm(target, chance)

    def believe(found: list[Any]) -> int:
        """Every row is one that was written; one that the log had may be there as it was before its end."""
        for row in found:
            if "problem" in row:
                continue
            end = (
                {}
                if row.get("closed")
                else {"closed": NOW + int(row.get("id", "-0")[2:] or 0) + 5, "how": "fed", "runs": 2}
            )
            later = {**row, **end} if row["table"] == "incidents" and log_too else row
            same = {json.dumps(each, sort_keys=True) for each in (row, later)}
            assert same & written, (how, row)
        return len(found)

    restore(path)
    checking.check(path)
    try:
        believe(dump(path))
    except JournalError:
        pass  # it says so, and returns nothing
    journal = Journal(path, "run-2")
    new = load(40, start=10_000)
    for entry in new:
        assert journal.record(entry) is not None
    assert journal.flush(WAIT), (how, journal.state())
    state = journal.state()
    assert state["state"] in ("ok", "moved-aside")
    assert journal.close(WAIT)
    after = dump(path)
    # The sums of events are not looked at when it is opened; those that are wrong stay, and are told.
    assert all(row["problem"].startswith("events:") for row in after if "problem" in row)
    after = [row for row in after if "problem" not in row]
    recorded = {"run-2", *(entry.id for entry in new if isinstance(entry, IncidentOpened))}
    fresh = [
        row
        for row in after
        if {row.get("run"), row.get("incident"), row.get("id")} & recorded
        or (row["table"] == "registry" and int(row["name"][2:]) >= 10_000)
    ]
    assert len(fresh) == 5 * 40
    believe([row for row in after if row not in fresh])
    if state["state"] == "moved-aside":
        assert aside.damaged_files(path) == [state["moved_aside"]]
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_what_is_still_sound_is_carried_over(path: str, opening: Opening) -> None:
    """One page of one table overwritten: that costs its rows, and no others."""
    write(path, *load(400))
    connection = sqlite3.connect(path)
    leaf = connection.execute(
        "SELECT max(pageno) FROM dbstat WHERE name = 'registry' AND pagetype = 'leaf'"
    ).fetchone()[0]
    connection.close()
    with open(path, "r+b") as file:
        file.seek((leaf - 1) * 4096)
        file.write(b"\xa5" * 4096)
    assert len(restore(path).open) == 266
    conditions: list[Condition] = []
    journal = opening(changed=conditions.append)
    until(lambda: journal.condition.state == "moved-aside", "it is moved aside")
    assert conditions[-1].resync
    assert "rows were kept" in journal.state()["reason"]
    assert "damaged" in journal.state()["reason"]
    restored = restore(path)
    assert restored.problems == []
    assert len(restored.open) == 266
    assert 200 < len(restored.registry) < 400
    assert len(dump(path)) == 4 * 400 + len(restored.registry)


def test_a_journal_that_was_cut_short_yields_what_is_left(path: str, opening: Opening) -> None:
    """SQLite itself refuses a file that is shorter than its header says."""
    write(path, *load(400))
    os.truncate(path, os.path.getsize(path) * 3 // 4)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        connection.execute("SELECT count(*) FROM registry").fetchone()
    connection.close()
    restored = restore(path)
    assert len(restored.registry) > 100
    assert restored.problems
    journal = opening()
    until(lambda: journal.condition.state == "moved-aside", "it is moved aside")
    assert len(restore(path).registry) == len(restored.registry)


def test_one_flipped_bit_in_a_row_is_noticed(path: str, opening: Opening) -> None:
    """SQLite's own checks say that such a file is fine."""
    write(path, Declared("first", Declaration()), Declared("second", Declaration(), changed=NOW), opened(1))
    raw = bytearray(Path(path).read_bytes())
    at = raw.index(b"second")
    raw[at] ^= 1
    Path(path).write_bytes(raw)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    assert [each.name for each in restore(path).registry] == ["first"]
    assert reading.history(path, "recond").registered is None
    assert any("checksum" in each for each in checking.check(path))
    journal = opening()
    until(lambda: journal.condition.state == "moved-aside", "it is moved aside")
    assert checking.check(path) == []
    with pytest.raises(JournalDamaged, match="moves it aside"):
        checking.vacuum(journal.state()["moved_aside"])


def test_damage_while_it_is_open_is_noticed_when_it_is_met(path: str, opening: Opening) -> None:
    """The file is overwritten under the writer: it goes on in another one, and loses nothing that waits."""
    conditions: list[Condition] = []
    journal = opening(changed=conditions.append)
    for entry in load(300):
        journal.record(entry)
    assert journal.flush(WAIT)
    other = sqlite3.connect(path)
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    other.close()
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(os.path.getsize(path) - 4096))
    for number in range(20_000, 20_500):
        journal.record(opened(number, f"n-{number}"))
    assert journal.flush(WAIT), journal.state()
    until(lambda: journal.condition.state in ("ok", "moved-aside"), "it writes")
    found = {each.id for each in reading.incidents(path, limit=10_000)}
    assert {f"r-{number:05}" for number in range(20_000, 20_500)} <= found
    assert journal.state()["state"] == "moved-aside"
    assert conditions[-1].resync


@pytest.mark.parametrize("killed_after", ["making", "new", "old moved", "log moved"])
def test_a_move_that_was_cut_short_is_finished(killed_after: str, path: str) -> None:
    """kill -9 between any two steps of moving a damaged journal aside."""
    write(path, opened(1))
    shutil.copy(path, f"{path}.{'making' if killed_after == 'making' else 'new'}")
    if killed_after == "making":
        Path(f"{path}.making").write_bytes(b"half")
    if killed_after in ("old moved", "log moved"):
        os.rename(path, f"{path}.damaged-20260101T000000Z")
    if killed_after == "old moved":
        Path(f"{path}-wal").write_bytes(os.urandom(10_000))
    assert len(restore(path).open) == 1
    write(path, opened(2))
    assert [each.id for each in reading.incidents(path)] == ["r-00002", "r-00001"]
    assert not [name for name in os.listdir(os.path.dirname(path)) if name.endswith((".new", ".making"))]


def test_damaged_files_do_not_pile_up(path: str) -> None:
    """The newest few are kept, to be looked into."""
    write(path, opened(0))  # its lock stays: it was a journal once
    for turn in range(aside.DAMAGED_KEPT + 3):
        Path(path).write_bytes(b"not a database at all" * 100)
        write(path, opened(turn))
    assert len(aside.damaged_files(path)) == aside.DAMAGED_KEPT


# -- reading ------------------------------------------------------------------------------------------


def test_incidents_are_found_by_name_time_and_state(path: str) -> None:
    """Newest first, bounded."""
    ends = [IncidentClosed(f"r-{number:05}", NOW + number + 0.5, "fed") for number in range(8)]
    write(path, *(opened(number, f"w-{number % 2}") for number in range(10)), *ends)

    def ids(**wanted: Any) -> list[int]:
        return [int(each.id[2:]) for each in reading.incidents(path, **wanted)]

    assert ids() == list(range(9, -1, -1))
    assert ids(limit=3) == [9, 8, 7]
    assert ids(open_only=True) == [9, 8]
    assert ids(since=NOW + 6) == [9, 8, 7, 6]
    assert ids(name="w-1", since=NOW + 4) == [9, 7, 5]
    assert ids(name="nobody") == []
    assert reading.incident(path, "r-00099") is None


def test_a_history_holds_the_newest_events_of_one_name(path: str) -> None:
    """Across runs, in order."""
    write(path, Declared("w", Declaration()), *(EventSeen(n, NOW + n, "t", "w") for n in range(10)), run="a")
    write(path, *(EventSeen(n, NOW + 50 + n, "t", "w" if n % 2 else "v") for n in range(10)), opened(1), run="b")
    history = reading.history(path, "w", limit=7)
    assert [(each.run, each.seq) for each in history.events] == [
        ("a", 8), ("a", 9), ("b", 1), ("b", 3), ("b", 5), ("b", 7), ("b", 9),
    ]  # fmt: skip
    assert history.registered is not None
    assert [each.id for each in history.incidents] == ["r-00001"]
    assert restore(path).last_event == ("b", 9)


def test_a_restart_knows_what_was_done_in_open_incidents(path: str) -> None:
    """Rungs that ran, and one that was begun and whose end nobody recorded."""
    write(
        path,
        opened(1),
        opened(2),
        RungRun("r-00001", 1, 1, "signal", NOW + 10),
        RungRun("r-00001", 0, 1, "dump", NOW, True),
        RungRun("r-00001", 0, 2, "dump", NOW + 5, False),
        RungRun("r-00002", 0, 1, "dump", NOW, True),
        IncidentClosed("r-00002", NOW, "fed"),
    )
    restored = restore(path)
    assert restored.incidents == 2
    (left,) = restored.open
    assert left.opened == opened(1)
    assert [(each.rung, each.run, each.ok) for each in left.rungs] == [(0, 1, True), (0, 2, False), (1, 1, None)]


def test_what_a_later_version_adds_to_a_declaration_is_left_out(path: str) -> None:
    """Its fields travel as JSON; unknown ones are skipped, missing ones have their defaults."""
    text = json.dumps({"timeout": 5.0, "tomorrow": [1], "feeders": "any"})
    assert rows._declaration(text) == Declaration(timeout=5.0, feeders=Feeders.ANY)


def test_the_file_is_made_small_beside_its_writer(path: str, opening: Opening) -> None:
    """vacuum waits for the writer and the writer for it; nothing is lost."""
    journal = opening()
    for number in range(3_000):
        journal.record(EventSeen(number, NOW, "t", "w", {"text": "x" * 300}))
    journal.record(opened(1))
    assert journal.flush(WAIT)
    other = sqlite3.connect(path)
    other.execute("DELETE FROM events")
    other.commit()
    other.close()
    before, after = checking.vacuum(path)
    assert 0 < after < before / 2
    journal.record(opened(2))
    assert journal.flush(WAIT)
    assert len(reading.incidents(path)) == 2
    assert checking.check(path) == []


def test_an_export_is_one_sound_line_for_each_row(path: str) -> None:
    """Strict JSON, with evidence unpacked."""
    write(path, *load(5), replace(opened(77), progress=math.inf))
    out = io.StringIO()
    count = checking.export(path, out)

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    lines = [json.loads(line, parse_constant=refuse) for line in out.getvalue().splitlines()]
    assert len(lines) == count == 5 * 5 + 1
    assert [each["data"]["n"] for each in lines if each["table"] == "evidence"] == [0, 1, 2, 3, 4]


# -- after a restart ------------------------------------------------------------------------------------


def test_after_a_restart_everyone_has_a_full_timeout_and_not_all_are_due_at_once() -> None:
    """At most a share of its own timeout later; few fall due together; the same in any order."""
    names = [(f"worker-{number}", 30.0) for number in range(20_000)]
    offsets = rearm_offsets(names)
    assert all(0.0 <= each <= 30.0 * SHARE_MAX for each in offsets)
    per_tenth = [0] * 151
    for each in offsets:
        per_tenth[int(each * 10)] += 1
    assert max(per_tenth) < 2 * 20_000 / (30.0 * SHARE_MAX * 10)
    assert rearm_offsets(names[::-1]) == offsets[::-1]
    assert rearm_offset("w\udc80", 30.0, 1) < 1 / DUE_PER_SECOND
    assert max(rearm_offsets([(f"w-{number}", 3600.0) for number in range(1_000)])) <= 1.0
    assert rearm_offsets([]) == []
