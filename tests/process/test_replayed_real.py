"""A subscriber that comes while an incident opens hears of it in order."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from banken.control import Events, topic
from banken.protocol.messages import Kind, Message
from banken_supervisor import Supervisor
from process.kit import until


@pytest.mark.process
def test_a_new_subscriber_hears_of_an_incident_after_it_was_announced(address: str) -> None:
    """It opened in the turn in which the subscription came: it goes to the journal first, and is told in order."""
    supervisor = Supervisor(address)

    def in_one_turn() -> None:
        driver = supervisor._loop.driver  # type: ignore[union-attr]
        driver.engine.tell(Message(Kind.FAIL, "w", None, 0.0, None, ("broken",)), driver.now, driver.out)
        supervisor._loop.welcome(topic("w"))  # type: ignore[union-attr]

    with supervisor, Events(address) as events:
        numbers = count()
        until(
            lambda: supervisor.watchdog(f"w-{next(numbers)}", 60.0) and events.next(0.05) is not None,
            "events are heard",
        )
        supervisor.watchdog("w", 60.0)
        supervisor._mailbox.post(in_one_turn)
        heard: list[dict[str, Any]] = []

        def both() -> bool:
            event = events.next(0.1)
            if event is not None and event["type"] == "expired":
                heard.append(event)
            return len(heard) == 2

        until(both, "the incident and its replay are told")
        counted = sum(supervisor._loop.metrics.incidents.values())  # type: ignore[union-attr]
    assert ["replay" in each for each in heard] == [False, True]
    assert counted == 1, "a replay is no second incident"
    assert len({each["incident"] for each in heard}) == 1
