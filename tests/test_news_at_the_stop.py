"""A supervisor that ends tells of what it has ended: also where that was not on disk yet."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest

from banken.client import Client
from banken.protocol.messages import Declaration
from banken_supervisor import Supervisor
from banken_supervisor.actions import Action, ActionContext, ActionTarget, Outcome
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Policy
from process.kit import until


class Teller(Action):
    """An action of the user's own that tells people."""

    name = "tell"
    recipient = "people"
    told: ClassVar[list[bool]] = []
    """whether it was of an end"""

    def run(self, target: ActionTarget, context: ActionContext, ended: threading.Event) -> Outcome:
        self.told.append(target.recovered)
        return Outcome(True, "told")


POLICY = Policy(Declaration(timeout=0.2, interval=60.0, grace=0.2), Ladder((Step("test_news_at_the_stop:Teller"),)))


@pytest.mark.process
@pytest.mark.parametrize("settle", [0.2, 0.0])
def test_an_end_that_waits_for_the_disk_is_told(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settle: float
) -> None:
    """The loop ends before it hears that the journal has it; at 0.0 the disk is slower than that is waited for."""
    monkeypatch.setattr("banken_supervisor.runtime.supervisor.SETTLE", settle)
    Teller.told.clear()
    supervisor = Supervisor(address, journal=tmp_path / "j.db")
    with supervisor, closing(Client(address)) as client:
        supervisor.policy("w", POLICY)
        until(lambda: Teller.told == [False], "it is told")
        loop: Any = supervisor._loop
        loop.outbox.committed = lambda ticket: None
        client.feed("w")
        until(lambda: len(loop.outbox), "its end waits for the disk")
    assert Teller.told == [False, True]


@pytest.mark.process
def test_a_step_that_waits_for_a_slow_disk_is_dropped_and_done_by_the_next_supervisor(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its start is written as the supervisor ends: so is that it was not begun."""
    monkeypatch.setattr("banken_supervisor.runtime.supervisor.SETTLE", 0.0)
    Teller.told.clear()
    with Supervisor(address, journal=tmp_path / "j.db") as first:
        loop: Any = first._loop
        loop.outbox.committed = lambda ticket: None
        first.policy("w", POLICY)
        pending = loop.outbox._pending
        until(
            lambda: pending and pending[-1].is_work, "the verdict, the step's start and the step wait for the disk"
        )
    assert Teller.told == []
    with closing(sqlite3.connect(tmp_path / "j.db")) as journal:
        assert journal.execute("SELECT count(*) FROM events WHERE type = 'action-dropped'").fetchone() == (1,)
    with Supervisor(address, journal=tmp_path / "j.db") as second:
        second.policy("w", POLICY)
        until(lambda: Teller.told == [False], "it is done")
