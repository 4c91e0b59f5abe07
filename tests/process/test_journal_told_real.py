"""A journal that fails, and mends, is told of: in the log and by an event."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

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
    until(lambda: runner.errors().count("the journal is ") == 2, "both are in the log")
    told = [line.partition("the journal ")[2] for line in runner.errors().splitlines() if "the journal is " in line]
    assert told[0].startswith("is not written: what happens now may be forgotten (")
    assert told[1] == "is written again"
