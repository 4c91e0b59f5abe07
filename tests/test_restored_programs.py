"""A program outlives its supervisor: how its watchdog is judged by the next one."""

from __future__ import annotations

from banken.protocol.messages import Kind
from banken_supervisor.control.control_api import row
from banken_supervisor.engine.policy import Policy
from banken_supervisor.text.reasons import ONLY_ITS_END, unjudged
from restart_kit import TEN, House, said


def house_with_a_program(*, released: bool) -> House:
    """One program, called ``w``; ``released``: it has fed its watchdog and released it."""
    house = House()
    house.programs["w"] = Policy(TEN)
    house.crash(0.0)
    if released:
        house.feed("w")
        house.say(Kind.RELEASE, "w")
    return house


def test_one_that_released_its_watchdog_is_judged_by_its_end_alone() -> None:
    """Before a restart and after it, whatever is reloaded; until it feeds again."""
    house = house_with_a_program(released=True)
    for _ in range(2):
        house.crash()
        house.engine.declare("w", house.programs["w"], house.now, house.out)  # a reload
        assert "expired" not in [what for what, _ in said(house.run(TEN.grace + TEN.timeout + 5.0))]
        record = house.engine.get("w")
        assert record is not None
        assert unjudged(row(record, house.now)) == ONLY_ITS_END
    house.feed("w")
    assert ("expired", "w") in said(house.run(TEN.timeout + 1.0))


def test_one_that_released_its_watchdog_and_ends_is_an_incident() -> None:
    house = house_with_a_program(released=True)
    house.crash()
    house.engine.processes.program_ended("w", "exit status 3", house.now)
    assert ("expired", "w") in said(house.run(1.0))


def test_one_that_never_fed_is_awaited() -> None:
    house = house_with_a_program(released=False)
    house.crash()
    assert ("expired", "w") in said(house.run(TEN.grace + 5.0))
