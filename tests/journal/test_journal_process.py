"""The journal's file in a process of its own: what ends that process does not end this one, and loses nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from journal_kit import NOW, WAIT, Opening, opened, until, write

from banken_supervisor.journal import (
    Condition,
    EventSeen,
    JournalRefused,
    JournalSettings,
    Limits,
    Restored,
    journal_process,
    reading,
    schema,
)
from banken_supervisor.journal.journal_file import JournalProcessEnded
from banken_supervisor.journal.journal_process import JournalProcess, place_of
from banken_supervisor.journal.open_files import OpenFiles
from banken_supervisor.journal.schema import JournalDamaged, JournalOfAnotherSchema


@pytest.fixture
def place() -> Iterator[JournalProcess]:
    """Where the file is opened; its process is ended after the test."""
    made = place_of(JournalSettings("", own_process=True))
    assert isinstance(made, JournalProcess)
    yield made
    made.end()


def pid(place: JournalProcess) -> int:
    """Of its process."""
    assert place._process is not None
    return place._process._process.pid


def test_it_writes_tidies_and_reads_as_this_process_does(
    path: str, opening: Opening, place: JournalProcess
) -> None:
    assert place.restore(path).problems == []
    journal = opening(place=place, limits=Limits(incidents_age=1_000.0))
    for number in range(3):
        journal.record(opened(number))
    journal.record(replace(opened(9), id=""))  # refused: the others are not
    assert journal.flush(WAIT)
    assert len(reading.incidents(path)) >= 3
    assert [each.id for each in place.find(path, (), False, None, 2)] == [
        each.id for each in reading.find(path, (), False, None, 2)
    ]
    assert journal.close(WAIT)
    assert len(place.restore(path).open) == len(reading.restore(path).open) >= 3


def test_it_is_another_process_which_no_signal_to_all_ends(
    path: str, opening: Opening, place: JournalProcess
) -> None:
    """A service manager signals each process of the service, a terminal its group: the supervisor still writes."""
    journal = opening(place=place)
    journal.record(opened(1))
    assert journal.flush(WAIT)
    number = pid(place)
    assert number != os.getpid()
    assert os.getsid(number) == number
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(number, each)
    journal.record(opened(2))
    assert journal.flush(WAIT)
    assert (pid(place), len(reading.incidents(path))) == (number, 2)
    place.end()
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGBUS])
def test_its_end_is_told_and_what_was_recorded_is_written(
    path: str, opening: Opening, place: JournalProcess, how: signal.Signals
) -> None:
    told: list[Condition] = []
    journal = opening(place=place, changed=told.append)
    journal.record(opened(1))
    assert journal.flush(WAIT)
    os.kill(pid(place), how)
    for number in range(2, 5):
        journal.record(opened(number))
    assert journal.flush(WAIT)
    assert len(reading.incidents(path)) == 4
    failing, again = told[-2:]
    assert (failing.state, again.state, again.resync) == ("failing", "ok", True)
    assert how.name in failing.reason


def test_an_index_that_is_cut_after_the_writer_has_looked_ends_that_process_alone(
    path: str, opening: Opening, place: JournalProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite maps it into memory: to touch what was cut off is SIGBUS. Here no cut is seen by the writer's look."""
    monkeypatch.setattr(OpenFiles, "altered", lambda self: False)
    told: list[Condition] = []
    journal = opening(place=place, changed=told.append)
    for number in range(4):
        if number > 0:
            os.truncate(f"{path}-shm", 0)
        journal.record(opened(number))
        assert journal.flush(WAIT), journal.state()
    assert len(reading.incidents(path)) == 4
    assert any("SIGBUS" in each.reason for each in told)


def test_an_index_that_is_cut_again_and_again_loses_nothing(
    path: str, opening: Opening, place: JournalProcess
) -> None:
    """At any moment: while it is opened, while it is written, while it is closed."""
    journal = opening(place=place)
    journal.record(opened(0))
    assert journal.flush(WAIT)
    done = threading.Event()

    def cut() -> None:
        while not done.wait(0.003):
            with suppress(FileNotFoundError):  # it is opened again
                os.truncate(f"{path}-shm", 0)

    cutting = threading.Thread(target=cut)
    cutting.start()
    try:
        for number in range(1, 200):
            journal.record(opened(number))
            done.wait(0.005)
    finally:
        done.set()
        cutting.join()
    assert journal.flush(WAIT), journal.state()
    assert {each.id for each in reading.incidents(path)} == {opened(number).id for number in range(200)}


def test_what_it_raises_arrives_as_it_was(path: str, place: JournalProcess) -> None:
    """With the numbers by which the writer knows what is damaged and what only has to wait."""
    write(path, opened(1))
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 7")
        other.commit()
    with pytest.raises(JournalOfAnotherSchema, match="version 7") as seen:
        place.open(path, "run-2", Limits())
    assert seen.value.version == 7
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {schema.VERSION}")
        other.execute("PRAGMA application_id = 5")
        other.commit()
    with pytest.raises(JournalDamaged):
        place.open(path, "run-2", Limits())
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA application_id = {0x424E4B4E}")
        other.commit()
    file = place.open(path, "run-2", Limits())
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError) as locked:
            file.write([EventSeen(1, NOW, "t", "w")])
        assert locked.value.sqlite_errorcode == sqlite3.SQLITE_BUSY
        file.rollback()
    assert file.write([EventSeen(1, NOW, "t", "w")]) == []
    with pytest.raises(JournalRefused):
        place.open(os.path.dirname(path), "run-2", Limits())


def test_where_no_process_can_be_started_that_is_told(
    path: str, place: JournalProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refused)
    monkeypatch.setattr(journal_process, "RESTORE_S", 0.1)
    left = place.restore(path)
    (problem,) = left.problems
    assert not left.was_read
    assert problem == "the journal's process cannot be started: Resource temporarily unavailable"
    with pytest.raises(JournalProcessEnded, match="cannot be started"):
        place.open(path, "run", Limits())


def test_a_host_that_has_no_room_for_a_moment_costs_nothing_of_what_was_left(
    path: str, place: JournalProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, opened(1))
    tries, start = [], subprocess.Popen

    def refused_at_first(*args: Any, **more: Any) -> Any:
        tries.append(args)
        if len(tries) < 6:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return start(*args, **more)

    monkeypatch.setattr(subprocess, "Popen", refused_at_first)
    left = place.restore(path)
    assert (left.problems, len(left.open)) == ([], 1)


KILLED = """
import os, signal, sys
from banken_supervisor.journal import Journal, JournalSettings
from banken_supervisor.journal.journal_process import place_of

place = place_of(JournalSettings(sys.argv[1], own_process=True))
journal = Journal(sys.argv[1], "run", place=place)
while journal.condition.state == "opening":
    pass
print(place._process._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_ends_with_this_process(path: str) -> None:
    """However that ends."""
    out = subprocess.run([sys.executable, "-c", KILLED, path], capture_output=True, text=True, timeout=50)
    assert out.returncode == -signal.SIGKILL, out.stderr
    number = int(out.stdout)
    until(lambda: not Path(f"/proc/{number}").exists() or "Z" in _state(number), "it ends")


def _state(number: int) -> str:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_a_process_that_somebody_stopped_is_continued(path: str, opening: Opening, place: JournalProcess) -> None:
    """Else the journal would wait for ever, and so would the end of the supervisor."""
    journal = opening(place=place)
    journal.record(opened(1))
    assert journal.flush(WAIT)
    os.kill(pid(place), signal.SIGSTOP)
    journal.record(opened(2))
    assert journal.flush(WAIT), journal.state()
    os.kill(pid(place), signal.SIGSTOP)
    number = pid(place)
    assert journal.close(WAIT)
    assert _state(number) == "Z"  # of one that was collected nothing is there, either
    assert len(reading.incidents(path)) == 2


@pytest.mark.timeout(60)
@pytest.mark.parametrize("count", [1, 3_000])
def test_one_that_was_stopped_is_continued_in_the_middle_of_a_question(
    path: str, place: JournalProcess, count: int
) -> None:
    """Of which only a part fits into the socket."""
    schema.begin(path)
    file = place.open(path, "run", Limits())
    os.kill(pid(place), signal.SIGSTOP)
    assert file.write([opened(number, reason=f"{number:04}" * 500) for number in range(count)]) == []
    assert len(reading.restore(path).open) == count


def test_a_long_answer_arrives_whole(path: str, place: JournalProcess) -> None:
    write(path, *(opened(number, reason=f"{number:04}" * 500) for number in range(3_000)))
    assert len(place.restore(path).open) == 3_000


@pytest.mark.parametrize("own_process", [True, False])
def test_a_directory_that_cannot_be_looked_into_for_a_moment_ends_no_writer(
    tmp_path: Path, opening: Opening, place: JournalProcess, own_process: bool
) -> None:
    """As where its file system is away: it is told, and what was recorded meanwhile is written."""
    told: list[Condition] = []
    directory, away = tmp_path / "state", tmp_path / "away"
    directory.mkdir()
    path = str(directory / "journal.db")
    journal = opening(path=path, changed=told.append, **({"place": place} if own_process else {}))
    journal.record(opened(1))
    assert journal.flush(WAIT)
    directory.rename(away)
    directory.write_text("no directory")
    journal.record(opened(2))
    until(lambda: journal.condition.state == "failing", "it is told")
    directory.unlink()
    away.rename(directory)
    journal.record(opened(3))
    assert journal.flush(WAIT), journal.state()
    assert (journal.state()["state"], len(reading.incidents(path))) == ("ok", 3)


def test_an_entry_that_cannot_be_sent_holds_up_no_other(path: str, opening: Opening, place: JournalProcess) -> None:
    journal = opening(place=place)
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    for number, odd in enumerate((lambda: None, deep, threading.Lock())):
        journal.record(opened(number))
        journal.record(EventSeen(number, NOW, "t", "w", {"odd": odd}))
    assert journal.flush(WAIT), journal.state()
    assert len(reading.incidents(path)) == 3
    assert (journal.state()["state"], journal.state()["refused"]) == ("ok", 3)
    assert "EventSeen" in journal.state()["refusal"]


def test_one_that_ends_again_and_again_is_started_ever_more_slowly(
    path: str, opening: Opening, place: JournalProcess
) -> None:
    """Also where each of them could write."""
    told: list[Condition] = []
    journal = opening(place=place, changed=told.append)
    until = time.monotonic() + 3.0
    number = 0
    while time.monotonic() < until:
        journal.record(opened(number))
        number += journal.flush(0.5)
        with suppress(AssertionError, ProcessLookupError):
            os.kill(pid(place), signal.SIGKILL)
    assert journal.flush(WAIT), journal.state()
    assert len([each for each in told if each.state == "failing"]) <= 8
    assert len(reading.incidents(path)) >= number


def test_what_was_left_is_handed_over_and_not_kept(path: str, opening: Opening) -> None:
    """It may be a million watchdogs."""
    write(path, opened(1))
    journal = opening(restores=True)
    assert len(journal.left().open) == 1
    assert journal.left() == Restored()


CUT_WHILE_IDLE = """
import os, sys, time
from journal_kit import WAIT, opened
from banken_supervisor.journal import Journal, reading

path = sys.argv[1]
journal = Journal(path, "run-1")
for number in range(3):
    journal.record(opened(number))
    assert journal.flush(WAIT), journal.state()
    time.sleep(0.2)
    os.truncate(f"{path}-shm", (0, 100, 20_000)[number])
journal.record(opened(3))
assert journal.flush(WAIT), journal.state()
print(len(reading.incidents(path)))
"""


def test_an_index_that_is_cut_between_commits_ends_no_program_that_embeds_a_supervisor(path: str) -> None:
    """It has the file open itself. The cut is seen before the index is touched again."""
    done = subprocess.run(
        [sys.executable, "-c", CUT_WHILE_IDLE, path],
        capture_output=True, text=True, timeout=50, cwd=Path(__file__).parent,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr
