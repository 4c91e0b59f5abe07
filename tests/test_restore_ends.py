"""Processes that ended while no supervisor ran: who is judged for it, and who is not."""

from __future__ import annotations

import pytest

from banken.protocol.messages import Declaration, Feeders, Kind, ProcessIdentity
from banken_supervisor.engine.effects import Event, RunStep
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.process_lifecycle import GONE
from banken_supervisor.engine.snapshot import RETURN_S
from banken_supervisor.engine.states import State
from engine_kit import opened
from restart_kit import ALICE, BOB, House, said

CAROL = ProcessIdentity(b"bootboot", 300, 3000, b"cccc")
EACH = Declaration(10.0, 1000.0, 20.0, feeders=Feeders.EACH)


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


@pytest.mark.parametrize("pause", [False, True])
def test_who_had_the_name_before_one_that_ended_meanwhile_has_it_again(pause: bool) -> None:
    """The parent of a forked child, say, that feeds on. What a supervisor forgets is only that it was the first."""
    house = House()
    house.feed(who=ALICE)
    house.feed(who=BOB)
    if pause:
        house.say(Kind.PAUSE, "w", 100.0, who=None)
    house.crash()
    house.engine.processes.gone(BOB, house.now)
    for _ in range(120 if pause else 20):
        house.feed(who=ALICE)
        house.run(1.0)
    assert [what for what, _ in said(house.out) if what == "expired"] == []
    assert house.state() is State.ALIVE
    record = house.engine.get("w")
    assert record is not None
    assert record.owner == ALICE


def test_who_had_the_name_before_ends_the_incident_of_one_that_ended_meanwhile() -> None:
    """It feeds less often than a new process is waited for."""
    house = House()
    house.feed(who=ALICE)
    house.feed(who=BOB)
    house.crash()
    house.engine.processes.gone(BOB, house.now)
    house.run(RETURN_S + 1.0)
    assert house.state() is State.EXPIRED
    house.feed(who=ALICE)
    assert house.state() is State.ALIVE


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


# -- one of several, each judged by itself ---------------------------------------------------------------


@pytest.mark.parametrize("hangs", [True, False])
def test_after_a_restart_the_ladder_acts_upon_the_process_that_the_incident_is_about(hangs: bool) -> None:
    """It hangs, or says that it failed; the other one has nothing to do, and is left alone."""
    house = House(w=Policy(EACH, Ladder((Step("kill", after=60.0),))))
    for _ in range(2):
        for who in (ALICE, BOB):
            house.feed(who=who, declared=None)
    house.say(Kind.WORK, "w", None, None)
    if not hangs:
        house.say(Kind.FAIL, "w", "disk full", who=BOB)
    house.run(20.0)
    assert house.state() is State.EXPIRED
    house.crash(5.0)
    assert [e.process for e in house.run(200.0) if isinstance(e, RunStep)] == [BOB]
    house.feed(who=BOB, declared=None)
    assert house.state() is State.ALIVE


@pytest.mark.parametrize("how", ["paused", "failed"])
def test_one_of_several_that_ended_meanwhile_is_not_waited_for(how: str) -> None:
    """Another one came in its place. The pause, or another one's incident, is over, and all that live feed."""
    house = House()
    for _ in range(2):
        for who in (ALICE, BOB):
            house.feed(who=who, declared=EACH)
    if how == "paused":
        house.say(Kind.PAUSE, "w", 30.0, who=None)
    else:
        house.say(Kind.FAIL, "w", "disk full", who=BOB)
    house.crash(5.0)
    house.engine.processes.gone(ALICE, house.now)
    for _ in range(100):
        for who in (BOB, CAROL):
            house.feed(who=who, declared=EACH)
        house.run(1.0)
    assert "expired" not in [what for what, _ in said(house.out)]
    assert house.state() is State.ALIVE
    record = house.engine.get("w")
    assert record is not None
    assert list(record.detailed().members or ()) == [BOB, CAROL]


def test_after_a_restart_a_pause_in_the_incident_of_one_that_ended_does_not_tell_of_it_again() -> None:
    """The other one lives, and feeds on after the pause."""
    house = House()
    for _ in range(2):
        for who in (ALICE, BOB):
            house.feed(who=who, declared=EACH)
    house.engine.processes.exited(ALICE, house.now, house.out, -9)
    house.run(0.25)
    assert house.state() is State.EXPIRED
    house.crash(5.0)
    for kind, *args in ((Kind.PAUSE, 60.0), (Kind.RESUME,)):
        house.say(kind, "w", *args, who=None)
        house.run(1.0)
    house.feed(who=BOB, declared=EACH)
    assert "expired" not in [what for what, _ in said(house.out)]


@pytest.mark.parametrize("feeders", Feeders)
@pytest.mark.parametrize("pauses", [False, True])
def test_what_said_that_it_ends_has_ended_in_order(feeders: Feeders, pauses: bool) -> None:
    """The supervisor was restarted while it ended. Whoever starts in its place is watched as before."""
    house = House()
    house.engine.processes.tells_end = lambda process: True
    for _ in range(2):
        house.feed(declared=EACH._replace(feeders=feeders))
    if pauses:
        house.say(Kind.PAUSE, "w", 5.0, who=None)
    house.say(Kind.LEAVING, "w", None)
    house.crash()
    house.engine.processes.gone(ALICE, house.now)
    house.run(60.0)
    assert said(house.out) == []


@pytest.mark.parametrize("pauses", [False, True])
def test_one_of_several_that_said_that_it_ends_has_ended_in_order(pauses: bool) -> None:
    """The others are judged on."""
    house = House()
    house.engine.processes.tells_end = lambda process: True
    for who in (CAROL, BOB, ALICE) * 2:
        house.feed(who=who, declared=EACH)
    if pauses:
        house.say(Kind.PAUSE, "w", 5.0, who=None)
    house.say(Kind.LEAVING, "w", None)
    house.crash()
    house.engine.processes.gone(ALICE, house.now)
    for _ in range(9):
        house.feed(who=BOB, declared=EACH)
        house.run(1.0)
    assert opened(house) == []
    house.feed(who=BOB, declared=EACH)
    house.run(8.0)
    assert opened(house) == [("w", "timeout", CAROL.pid)]
