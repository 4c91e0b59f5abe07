"""A program outlives its supervisor: how its watchdog is judged by the next one."""

from __future__ import annotations

import pytest

from banken.protocol.messages import Kind
from banken_supervisor.control.control_api import row
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.states import State
from banken_supervisor.text.reasons import ONLY_ITS_END, unjudged
from restart_kit import ALICE, TEN, House, said


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


@pytest.mark.parametrize("in_the_pause", [False, True])
@pytest.mark.parametrize("how", ["a reload", "a restart"])
def test_one_that_released_its_watchdog_and_is_paused_is_not_awaited_after_that(
    how: str, in_the_pause: bool
) -> None:
    """The policy comes again with each reload and each adoption; that is no word of its worker."""
    house = house_with_a_program(released=not in_the_pause)
    if in_the_pause:
        house.feed("w")
    house.say(Kind.PAUSE, "w", 100.0, who=None)
    if in_the_pause:
        house.say(Kind.RELEASE, "w")
    if how == "a restart":
        house.crash(10.0)
    house.engine.declare("w", house.programs["w"], house.now, house.out)
    assert "expired" not in [what for what, _ in said(house.run(110.0 + TEN.grace + TEN.timeout))]
    assert house.state() is State.WAITING
    house.feed("w")
    assert ("expired", "w") in said(house.run(TEN.timeout + 1.0))


def test_one_that_released_its_watchdog_and_feeds_in_a_pause_is_judged_after_it() -> None:
    house = house_with_a_program(released=True)
    house.say(Kind.PAUSE, "w", 100.0, who=None)
    house.engine.declare("w", house.programs["w"], house.now, house.out)
    house.feed("w")
    assert ("expired", "w") in said(house.run(100.0 + TEN.timeout + 1.0))


def test_a_reload_does_not_await_a_program_of_which_a_step_has_released_the_watchdog_and_ended() -> None:
    """It feeds while it begins, and then becomes another program, say."""
    house = house_with_a_program(released=True)
    house.engine.processes.exited(ALICE, house.now, house.out, 0)
    house.run(1.0)
    house.engine.declare("w", house.programs["w"], house.now, house.out)
    assert "expired" not in [what for what, _ in said(house.run(TEN.grace + TEN.timeout + 5.0))]
    record = house.engine.get("w")
    assert record is not None
    assert unjudged(row(record, house.now)) == ONLY_ITS_END


def test_a_reload_does_not_end_the_incident_of_one_that_released_its_watchdog() -> None:
    """It ended, and stays down: no new process has come."""
    house = house_with_a_program(released=True)
    house.engine.processes.exited(ALICE, house.now, house.out, 3)
    house.engine.processes.program_ended("w", "exit status 3", house.now)
    house.run(1.0)
    assert house.state() is State.EXPIRED
    house.engine.declare("w", house.programs["w"], house.now, house.out)
    house.run(TEN.grace + 5.0)
    assert house.state() is State.EXPIRED
    assert [what for what, _ in said(house.out) if what in ("expired", "closed")] == ["expired"]


@pytest.mark.parametrize("is_heard", [False, True])
def test_a_reload_in_a_pause_does_not_forget_the_end_of_one_that_released_its_watchdog(is_heard: bool) -> None:
    """``is_heard``: the end of the process that had fed it is heard of, too."""
    house = house_with_a_program(released=True)
    house.say(Kind.PAUSE, "w", 10.0, who=None)
    if is_heard:
        house.engine.processes.exited(ALICE, house.now, house.out, 3)
    house.engine.processes.program_ended("w", "exit status 3", house.now)
    house.engine.declare("w", house.programs["w"], house.now, house.out)
    assert ("expired", "w") in said(house.run(11.0))


def test_one_that_released_its_watchdog_and_ends_is_an_incident() -> None:
    house = house_with_a_program(released=True)
    house.crash()
    house.engine.processes.program_ended("w", "exit status 3", house.now)
    assert ("expired", "w") in said(house.run(1.0))


def test_one_that_never_fed_is_awaited() -> None:
    house = house_with_a_program(released=False)
    house.crash()
    assert ("expired", "w") in said(house.run(TEN.grace + 5.0))
