"""The journal's file: whose it is, what is refused, and how it stays within its size."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import stat
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from journal_kit import NOW, WAIT, Opening, dump, opened, seen_for, until, write

from banken.protocol.messages import Declaration
from banken_supervisor.journal import (
    Condition,
    Declared,
    Entry,
    EventSeen,
    EvidenceTaken,
    IncidentClosed,
    Journal,
    JournalRefused,
    JournalUnreadable,
    Limits,
    StepRun,
    checking,
    reading,
    restore,
    schema,
    squeeze,
)

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


@pytest.mark.parametrize(
    ("version", "said"),
    [(0, "schema version 0"), (7, "schema version 7"), (schema.VERSION, "other tables")],
)
def test_a_journal_of_an_older_or_newer_schema_is_moved_aside_and_told(
    version: int, said: str, path: str, opening: Opening
) -> None:
    """A real file with other tables: whoever reads it is refused with the reason; a writer leaves
    it as it is under another name, says where, and begins a new one that is asked for all that is watched."""
    write(path, Declared("w", Declaration(7.0)), opened(1))
    connection = schema._connect(path, "rw")
    connection.execute("BEGIN")
    connection.execute("ALTER TABLE incidents ADD COLUMN place TEXT")
    connection.execute("ALTER TABLE registry DROP COLUMN resolution")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("COMMIT")
    connection.close()
    before = Path(path).read_bytes()
    with pytest.raises(JournalRefused, match=said):
        reading.incidents(path)
    with pytest.raises(JournalRefused, match=said):
        checking.vacuum(path)
    assert said in checking.check(path)[0]
    restored = restore(path)
    assert restored.registry == []
    assert said in restored.problems[0]
    assert Path(path).read_bytes() == before
    conditions: list[Condition] = []
    journal = opening(changed=conditions.append)
    journal.record(opened(2))
    assert journal.flush(WAIT)
    (old,) = schema.files_aside(path, f"schema-{version}")
    assert Path(old).read_bytes() == before
    assert (journal.state()["state"], journal.state()["moved_aside"]) == ("moved-aside", old)
    assert said in journal.state()["reason"]
    assert old in journal.state()["reason"]
    assert conditions[-1].resync
    assert [each.id for each in reading.incidents(path)] == ["r-00002"]


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
    """Events by their age, incidents by the age of their end, with their steps and evidence."""
    old = NOW - 100_000.0
    entries: list[Entry] = [EventSeen(n, old if n < 30 else NOW, "t", "w") for n in range(40)]
    for number in range(4):
        verdict = replace(opened(number), opened=old)
        entries += [verdict, StepRun(verdict.id, 0, 1, "a", old, True), EvidenceTaken(verdict.id, old, squeeze({}))]
    entries += [IncidentClosed("r-00000", old, "fed"), IncidentClosed("r-00001", NOW, "fed")]
    write(path, *entries)
    seen_for(path, 200_000.0)
    # Well above what may pass between the import of this file, when NOW is taken, and this test.
    journal = opening(limits=Limits(events_age=50_000.0, incidents_age=50_000.0))
    until(lambda: len(dump(path)) == 10 + 3 * 3, "the old ones are gone")
    journal.close()
    assert [each.id for each in reading.incidents(path)] == ["r-00003", "r-00002", "r-00001"]
    assert checking.check(path) == []


def test_an_old_row_stays_until_so_much_time_was_seen(path: str, opening: Opening) -> None:
    """The clock alone makes nothing old: neither if it is ahead now, nor if it was behind at that time."""
    ahead, behind = NOW - 400 * 86_400.0, 30.0
    kept = [replace(opened(n), opened=at, closed=at, how="fed") for n, at in enumerate((ahead, behind))]
    write(path, *kept, EventSeen(1, ahead, "t", "w"), EventSeen(2, behind, "t", "w"))
    journal = opening(limits=Limits(events_age=1_000.0, incidents_age=1_000.0))
    journal.record(EventSeen(3, NOW, "t", "w"))
    assert journal.flush(WAIT)
    until(
        lambda: journal._file is not None and journal._file.state.tidy_at > time.monotonic(),
        "it looked for what is old",
    )
    assert len(reading.incidents(path)) == 2
    assert sum(row["table"] == "events" for row in dump(path)) == 3


def test_a_journal_without_clocks_gets_them(path: str, opening: Opening) -> None:
    """An older banken wrote it: nothing of it is lost, and it is not set aside."""
    write(path, Declared("w", Declaration()), opened(1))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE clocks")
        connection.commit()
    before = dump(path)
    assert len(before) == 2
    assert len(restore(path).registry) == 1
    journal = opening()
    assert journal.flush(WAIT)
    # It is well before it has written anything: the clocks are what it writes first.
    until(lambda: restore(path).clocks, "it writes")
    journal.close()
    assert dump(path) == before
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
