"""Another process cuts, overwrites, replaces or removes a file of an open journal: it is noticed and told."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from journal_kit import WAIT, Opening, opened, until, write

from banken_supervisor.journal import Condition, JournalDamaged, checking, reading, restore, schema
from banken_supervisor.journal.journal_process import JournalProcess

Change = Callable[[str], None]


@pytest.fixture
def opening(opening: Opening) -> Iterator[Opening]:
    """As ``banken run`` has it: in a process of its own, for some of this would end this one."""
    place = JournalProcess()
    yield partial(opening, place=place)
    place.end()


def overwrite(path: str) -> None:
    length = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.write(os.urandom(length))


HARMLESS: dict[str, Change] = {
    "touched": lambda path: os.utime(path),
    "its log removed": lambda path: os.unlink(f"{path}-wal"),
    "its index removed": lambda path: os.unlink(f"{path}-shm"),
    "its index cut": lambda path: os.truncate(f"{path}-shm", 0),
    "its index half": lambda path: os.truncate(f"{path}-shm", os.path.getsize(f"{path}-shm") // 2),
    "made small": lambda path: checking.vacuum(path) and None,
}
LOSING: dict[str, Change] = {
    "its log cut": lambda path: os.truncate(f"{path}-wal", 0),
    "its log cut to its head": lambda path: os.truncate(f"{path}-wal", 32),
    "removed": os.unlink,
    "moved": lambda path: os.rename(path, f"{path}.moved"),
}
DAMAGING: dict[str, Change] = {
    "cut to nothing": lambda path: os.truncate(path, 0),
    "cut in the middle": lambda path: os.truncate(path, os.path.getsize(path) // 2),
    "other bytes": overwrite,
    "a text": lambda path: Path(path).write_text("notes of somebody"),
}


def ids(path: str) -> set[str]:
    return {each.id for each in reading.incidents(path)}


def written_on(path: str, opening: Opening, change: Change) -> tuple[list[Condition], set[str]]:
    """The conditions that are told, and what is kept: of three incidents before the change and two after it."""
    told: list[Condition] = []
    journal = opening(changed=told.append)
    for number in (1, 2, 3):
        journal.record(opened(number))
        assert journal.flush(WAIT)
    change(path)
    journal.record(opened(4))
    assert journal.flush(WAIT), journal.state()
    journal.record(opened(5))
    assert journal.flush(WAIT), journal.state()
    kept = ids(path)
    assert checking.check(path) == []
    assert journal.close(WAIT)
    assert ids(path) == kept, "also after its end"
    return told, kept


@pytest.mark.parametrize("change", HARMLESS)
def test_what_costs_nothing_is_mended_without_a_word(change: str, path: str, opening: Opening) -> None:
    """SQLite has the log open, and makes the index again: all is kept, and the watchdogs are written again."""
    told, kept = written_on(path, opening, HARMLESS[change])
    assert kept == {f"r-0000{number}" for number in range(1, 6)}
    assert {each.state for each in told} == {"ok"}
    assert told[-1].resync


@pytest.mark.parametrize("change", LOSING)
def test_what_is_lost_is_counted_and_told(change: str, path: str, opening: Opening) -> None:
    """The next commit goes to a file that is there, and how many incidents went with the old one is said."""
    told, kept = written_on(path, opening, LOSING[change])
    assert kept == {"r-00004", "r-00005"}
    (failing,) = [each.reason for each in told if each.state == "failing"]
    assert "3 incidents" in failing
    assert (told[-1].state, told[-1].resync) == ("ok", True)


@pytest.mark.parametrize("change", DAMAGING)
def test_a_file_that_was_overwritten_is_moved_aside(change: str, path: str, opening: Opening) -> None:
    """What is there now is no journal: a new one is begun, and how many incidents the old one had is said."""
    told, kept = written_on(path, opening, DAMAGING[change])
    assert kept == {"r-00004", "r-00005"}
    assert (told[-1].state, told[-1].resync) == ("moved-aside", True)
    assert "it held 3 incidents" in told[-1].reason
    assert schema.files_aside(path)


def test_a_journal_that_was_emptied_is_damaged_for_readers_too(path: str, opening: Opening) -> None:
    """SQLite would take it for a new one, and delete the log, with what is left."""
    journal = opening()
    journal.record(opened(1))
    assert journal.flush(WAIT)
    os.truncate(path, 0)
    assert "is empty" in checking.check(path)[0]
    assert os.path.getsize(f"{path}-wal")


def test_a_schema_that_is_no_text_is_damage(path: str, opening: Opening) -> None:
    """SQLite's message quotes it, and cannot be decoded."""
    write(path, opened(1))
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole.replace(b"CREATE TABLE events", b"CREATE TA\x80LE events"))
    assert "malformed database schema" in checking.check(path)[0]
    assert "TA\\x80LE" in restore(path).problems[0]
    with pytest.raises(JournalDamaged):
        reading.incidents(path)
    journal = opening()
    until(lambda: journal.condition.state == "moved-aside", "a new one is begun")


def test_a_file_that_is_gone_is_known_to_be_until_a_new_one_is_begun(path: str, opening: Opening) -> None:
    """Here none can be: who asks at the end has to know that nothing is kept."""
    journal = opening()
    journal.record(opened(1))
    assert journal.flush(WAIT)
    assert not journal.has_moved()
    os.rename(path, f"{path}.moved")
    os.mkdir(path)
    journal.record(opened(2))
    until(lambda: "is not a file" in journal.condition.reason, "no new one can be begun")
    assert journal.has_moved()
    os.rmdir(path)
    until(lambda: journal.condition.state == "ok", "a new one is begun")
    assert not journal.has_moved()


def test_what_was_altered_counts_as_gone_until_it_was_looked_through(path: str, opening: Opening) -> None:
    """What is kept of it is not known before: who asks at the end has to write all again."""
    journal = opening()
    journal.record(opened(1))
    assert journal.flush(WAIT)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        journal.record(opened(2))

        def is_altered() -> bool:  # again, for what changes while a write fails is taken for the writer's own
            os.utime(path)
            return journal.has_moved()

        until(is_altered, "it is seen")
        until(lambda: "locked" in journal.condition.reason, "it cannot be looked through")
        assert journal.has_moved()
        other.execute("ROLLBACK")
    until(lambda: journal.condition.state == "ok", "it was")
    assert not journal.has_moved()
