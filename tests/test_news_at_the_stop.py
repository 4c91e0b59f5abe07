"""A supervisor that ends tells of what it has ended: also where that was not on disk yet."""

from __future__ import annotations

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


@pytest.mark.process
def test_an_end_that_waits_for_the_disk_is_told(address: str, tmp_path: Path) -> None:
    """The loop ends before it hears that the journal has it."""
    Teller.told.clear()
    supervisor = Supervisor(address, journal=tmp_path / "j.db")
    ladder = Ladder((Step("test_news_at_the_stop:Teller"),))
    with supervisor, closing(Client(address)) as client:
        supervisor.policy("w", Policy(Declaration(timeout=0.2, interval=60.0, grace=0.2), ladder))
        until(lambda: Teller.told == [False], "it is told")
        loop: Any = supervisor._loop
        loop.outbox.committed = lambda ticket: None
        client.feed("w")
        until(lambda: len(loop.outbox), "its end waits for the disk")
    assert Teller.told == [False, True]
