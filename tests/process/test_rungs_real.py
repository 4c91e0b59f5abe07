"""Steps that go wrong in ways that a new user finds within an hour."""

from __future__ import annotations

import pytest

from process.kit import until
from process.ladder_kit import LONG, House

pytestmark = pytest.mark.process


def test_the_limit_of_callbacks_holds_for_steps_too(house: House) -> None:
    """``callback_limit``: a step's callback that takes longer is stuck, and the next step runs."""
    events = house.run(
        """
        [supervisor]
        callback_limit = "300ms"
        [callbacks]
        hang = "signal:pause"
        [[watchdog]]
        name = "w"
        timeout = "100ms"
        ladder = [{ do = "callback", callback = "hang" }, { do = "log", text = "{name} was not waited for" }]
        """
    )
    house.client().feed("w")
    stuck = events.until(LONG, "action-stuck", "w", do="callback")
    assert stuck["seconds"] == 0.3
    events.until(LONG, "action-done", "w", do="log")
    until(lambda: "w was not waited for" in house.run_by.log(), "the line is written")


def test_an_incident_of_nobody_is_shown(house: House) -> None:
    """A dump where no process is known: its incident, and a later step that sends the evidence's lines, go well."""
    events = house.run(
        """
        [[watchdog]]
        name = "w"
        timeout = "100ms"
        ladder = [{ do = "dump" }, { do = "exec", command = ["cat"] }]
        """
    )
    house.banken("feed", "w")  # from the command line: no process stays behind it
    expired = events.until(LONG, "expired", "w")
    events.until(LONG, "action-done", "w", do="exec")
    told = house.banken("incident", expired["incident"])
    assert "  no process is known: it was never fed, or by commands only\n" in told
    assert "w: grace" in told or "w: timeout" in told
