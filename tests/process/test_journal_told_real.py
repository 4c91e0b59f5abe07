"""A journal that fails, and mends, is told of: in the log and by an event."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from banken_supervisor.journal import restore, schema
from process.kit import Home, until
from process.test_adoption_real import Runner

pytestmark = pytest.mark.process


@pytest.fixture
def runner(home: Home) -> Iterator[Runner]:
    """`banken run -c`, with a journal; ended whatever happens."""
    one = Runner(home.address)
    one.configure('[supervisor]\njournal = "journal.db"\n')
    yield one
    one.kill()


def test_a_journal_that_cannot_be_written_is_told_and_so_is_its_end(home: Home, runner: Runner) -> None:
    """Another process locks the file: told at once, to listeners and in the log; and when it is free again.

    A journal that opens as it should is no news.
    """
    runner.start()
    events = home.events()
    blocker = sqlite3.connect(runner.config.parent / "journal.db", isolation_level=None, timeout=20.0)
    blocker.execute("BEGIN EXCLUSIVE")
    home.client().watchdog("w", timeout=300).feed()
    failing = events.until(20, "journal")
    blocker.execute("ROLLBACK")
    blocker.close()
    again = events.until(20, "journal", state="ok")
    assert (failing["state"], "locked" in failing["reason"], again["reason"]) == ("failing", True, "")
    until(lambda: runner.errors().count("the journal ") == 2, "both are in the log")
    told = [line.partition("the journal ")[2] for line in runner.errors().splitlines() if "the journal " in line]
    assert told[0].startswith("cannot be written: what happens now may be missing later (")
    assert told[1] == "is written again"


def test_what_a_failing_journal_lacks_is_not_said_to_be_nothing(home: Home, runner: Runner) -> None:
    """An incident is open, and none is on disk: the commands that read the journal say so, on stderr."""
    runner.start()
    events = home.events()
    with closing(
        sqlite3.connect(runner.config.parent / "journal.db", isolation_level=None, timeout=20.0)
    ) as blocker:
        blocker.execute("BEGIN EXCLUSIVE")
        home.client().watchdog("w", timeout=0.1).feed()
        events.until(20, "expired", "w")
        until(lambda: home.ask("summary")["journal"]["state"] == "failing", "it is known")
        for command in (["incidents", "--open"], ["incident", "last"], ["history", "w"], ["events", "-n", "5"]):
            argv = [sys.executable, "-m", "banken_supervisor", *command, "--address", home.address]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
            assert "the journal is failing" in done.stderr, (command, done)
            assert "missing" not in done.stdout


def page_alone(path: Path) -> int | None:
    """Of a page of the registry, when that is in the file and nowhere else: whoever closes it last moves the log
    into it."""
    with closing(sqlite3.connect(path, timeout=20.0)) as disk:
        (page,) = disk.execute(
            "SELECT max(pageno) FROM dbstat WHERE name = 'registry' AND pagetype = 'leaf'"
        ).fetchone()
    return None if Path(f"{path}-wal").exists() else int(page)


def test_a_damaged_journal_is_told_and_what_was_readable_goes_on(home: Home, runner: Runner) -> None:
    """Overwritten in part while no supervisor runs: the next one says where the file went, and the new one has
    what could be read: the watchdog, and its open incident under the id that it had."""
    path = runner.config.parent / "journal.db"
    runner.start()
    events = home.events()
    client = home.client()
    client.watchdog("gone", timeout=0.2)
    client.feed("gone")
    id_ = events.until(10, "expired", "gone")["incident"]
    for number in range(300):
        client.feed(f"w-{number}")
    until(lambda: len(restore(str(path)).registry) == 301, "all is on disk")
    runner.kill()
    page = until(lambda: page_alone(path), "the journal's process has ended, too")
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)
    runner.start()
    assert home.row("gone")["incident"]["id"] == id_
    (old,) = until(lambda: schema.files_aside(str(path)), "it is put aside")
    until(lambda: f"the old one is now {old}" in runner.errors(), "it is in the log")
    assert home.ask("summary")["journal"]["moved_aside"] == old
    until(lambda: [each.opened.id for each in restore(str(path)).open] == [id_], "the incident is in the new file")
    until(lambda: "gone" in {each.name for each in restore(str(path)).registry}, "and the watchdog")
