"""The cluster has its turn after the loop has carried out effects: what comes of it waits for nothing else."""

from __future__ import annotations

import time
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from banken.client import Client
from banken.control import Events
from banken_supervisor import Supervisor
from banken_supervisor.engine.effects import Event, EventType
from process.kit import until

SOON_S = 0.3
"""Without anything else to do, the loop waits for a second."""


@pytest.mark.process
def test_what_the_cluster_decides_is_carried_out_at_once(address: str) -> None:
    """An incident whose claim is written is opened, and so its first step is due, in that turn."""
    supervisor, wanted = Supervisor(address), list[Event]()

    def turn() -> None:
        supervisor._loop.driver.out.extend(wanted)  # type: ignore[union-attr]
        wanted.clear()

    with supervisor, Events(address) as events:
        until(lambda: _declared(supervisor) or events.next(0.05), "events are heard")
        loop: Any = supervisor._loop
        loop.cluster = SimpleNamespace(
            turn=turn, look=lambda: None, patience=lambda: None, state=lambda: None, words=None,
            close=lambda wait: True,
        )  # fmt: skip
        took = []
        for _ in range(5):
            while events.next(0.2):
                pass
            supervisor._mailbox.post(lambda: wanted.append(Event(EventType.ADDRESS, None, {"text": "decided"})))
            began = time.monotonic()
            until(lambda: (found := events.next(0.05)) and found["type"] == "address", "it is told")
            took.append(time.monotonic() - began)
        assert sorted(took)[2] < SOON_S, took


@pytest.mark.process
def test_who_leads_is_known_before_what_has_come_is_read(address: str) -> None:
    """A leader that stood still finds feeds of all that time, and is one no longer: it tells nothing of them."""
    supervisor, order = Supervisor(address), list[str]()

    with supervisor, closing(Client(address)) as client:
        _declared(supervisor)
        loop: Any = supervisor._loop
        read = loop.driver.read

        def reads(*args: Any) -> None:
            order.append("read")
            read(*args)

        loop.driver.read = reads
        loop.cluster = SimpleNamespace(
            start=lambda: None, turn=lambda: None, look=lambda: order.append("look"), patience=lambda: None,
            state=lambda: None, words=None, close=lambda wait: True,
        )  # fmt: skip
        client.feed("w")
        until(lambda: "read" in order, "it is read")
    assert order[order.index("read") - 1] == "look"


def _declared(supervisor: Supervisor) -> None:
    supervisor.watchdog(f"w-{time.monotonic()}", 3600.0)
