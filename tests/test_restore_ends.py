"""Processes that ended while no supervisor ran: who is judged for it, and who is not."""

from __future__ import annotations

import pytest

from banken.protocol.messages import Kind
from banken_supervisor.engine.effects import Event
from banken_supervisor.engine.process_lifecycle import GONE
from banken_supervisor.engine.snapshot import RETURN_S
from restart_kit import ALICE, BOB, House, said


def test_a_process_that_ended_meanwhile_is_told_so() -> None:
    """Judged as exited, when another one has had the time to take its place; the text says what is not known."""
    house = House()
    house.feed()
    house.crash()
    house.engine.processes.gone(ALICE, house.now)
    assert said(house.run(RETURN_S - 0.25)) == []
    house.run(0.5)
    (event,) = [e for e in house.out if isinstance(e, Event) and e.type.value == "expired"]
    assert (event.data["cause"], event.data["reason"]) == ("exited", GONE)


def test_another_process_in_its_place_is_no_incident() -> None:
    house = House()
    house.feed()
    house.crash()
    house.engine.processes.gone(ALICE, house.now)
    house.run(1.0)
    house.feed(who=BOB)
    house.run(5.0)
    assert said(house.out) == []


def test_a_program_that_ended_is_told_by_its_keeper() -> None:
    house = House()
    house.feed()
    house.crash()
    house.engine.processes.is_program = lambda name: name == "w"
    house.engine.processes.gone(ALICE, house.now)
    assert said(house.run(RETURN_S + 1.0)) == []


@pytest.mark.parametrize("is_replaced", [False, True])
def test_one_that_ended_in_a_pause_is_told_so_when_that_is_over(is_replaced: bool) -> None:
    """The supervisor was restarted in the pause. It is found at the end of that, not a timeout later."""
    house = House()
    house.feed()
    house.say(Kind.PAUSE, "w", 100.0, who=None)
    house.crash(2.0)
    house.engine.processes.gone(ALICE, house.now)
    assert said(house.run(90.0)) == []
    if is_replaced:
        house.feed(who=BOB)
    house.run(9.0)
    found = [e.data["cause"] for e in house.out if isinstance(e, Event) and e.type.value == "expired"]
    assert found == ([] if is_replaced else ["exited"])
