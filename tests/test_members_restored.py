"""The processes of one name, each judged by itself, over a restart: who they are, and when each was heard last."""

from __future__ import annotations

import pytest

from banken.protocol.incidents import Cause
from banken.protocol.messages import Feeders, Kind
from banken_supervisor.engine.effects import RunStep
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.states import State
from engine_kit import opened
from restart_kit import ALICE, BOB, TEN, House

EACH = TEN._replace(feeders=Feeders.EACH)


def test_after_a_restart_none_is_due_by_the_feed_of_another_process() -> None:
    """Of what is kept the last feed of all counts. ``BOB``, who fed later than ``ALICE``, is not due by hers."""
    long = EACH._replace(timeout=7200.0)
    house = House()
    for _ in range(2):
        for who in (ALICE, BOB):
            house.feed(who=who, declared=long)
    for _ in range(70):
        house.now += 100.0
        house.feed(who=BOB, declared=long)
    last = house.now
    house.crash(5.0)
    house.run(10.0)
    house.feed(who=ALICE, declared=long)
    house.run(last + 7190.0 - house.now)
    assert opened(house) == []
    house.feed(who=ALICE, declared=long)
    house.run(50.0)
    assert opened(house) == [("w", Cause.TIMEOUT, BOB.pid)]


def test_after_a_restart_too_one_that_fed_once_is_not_judged_by_itself() -> None:
    """A step of a script that still runs."""
    house = House()
    house.feed(who=BOB, declared=EACH)
    for _ in range(3):
        house.feed(who=ALICE, declared=EACH)
    house.crash(1.0)
    for _ in range(60):
        house.feed(who=ALICE, declared=EACH)
        house.run(1.0)
    assert (house.state(), opened(house)) == (State.ALIVE, [])
    house.run(11.0)
    assert opened(house) == [("w", Cause.TIMEOUT, ALICE.pid)]


def test_after_a_restart_each_has_its_own_extension_and_none_a_longer_one() -> None:
    house = House()
    for who in (ALICE, BOB) * 2:
        house.feed(who=who, declared=EACH)
    house.say(Kind.EXTEND, "w", 40.0, who=ALICE)
    house.say(Kind.EXTEND, "w", 400.0, who=BOB)
    house.crash(5.0)
    house.run(30.0)
    assert opened(house) == []
    house.run(10.0)
    assert opened(house) == [("w", Cause.TIMEOUT, ALICE.pid)]


@pytest.mark.parametrize("kind", [Kind.DECLARE, Kind.FEED])
def test_after_a_restart_a_process_that_was_not_heard_often_yet_releases_its_part(kind: Kind) -> None:
    """The other ones are watched on, also where none of them was heard more often."""
    for times in (1, 2):
        house = House()
        for _ in range(times):
            house.feed(who=BOB, declared=EACH)
        house.say(kind, "w", declared=EACH)
        house.crash(1.0)
        house.say(Kind.RELEASE, "w")
        assert house.engine.admission.refused == {}
        house.run(13.0)
        assert opened(house) == [("w", Cause.TIMEOUT, BOB.pid)]


def test_a_process_that_declared_the_name_is_judged_by_itself_from_its_second_feed_on_after_a_restart_too() -> None:
    house = House()
    for _ in range(2):
        house.feed(who=BOB, declared=EACH)
    house.say(Kind.DECLARE, "w", declared=EACH)
    house.crash(1.0)
    for then in ([], [("w", Cause.TIMEOUT, ALICE.pid)]):
        house.feed(declared=EACH)
        for _ in range(60):
            house.run(1.0)
            house.feed(who=BOB, declared=EACH)
        assert opened(house) == then


def with_a_pause_that_ended_in_the_crash() -> House:
    """Both feed it, and an operator had paused it."""
    house = House()
    for _ in range(2):
        for who in (ALICE, BOB):
            house.feed(who=who, declared=EACH)
    house.say(Kind.PAUSE, "w", 1.0, who=None)
    house.crash(5.0)
    return house


def test_a_pause_that_ended_while_no_supervisor_ran_is_over_when_each_process_can_have_said_so() -> None:
    """``BOB`` finds the new supervisor a little later than ``ALICE``, and feeds just often enough."""
    house = with_a_pause_that_ended_in_the_crash()
    house.feed(who=ALICE, declared=EACH)
    house.run(1.5)
    for _ in range(9):
        house.run(1.0)
        house.feed(who=ALICE, declared=EACH)
    assert opened(house) == []
    house.run(1.0)
    house.feed(who=BOB, declared=EACH)
    house.run(8.0)
    assert opened(house) == []


def test_such_a_pause_is_over_when_each_process_has_been_heard() -> None:
    house = with_a_pause_that_ended_in_the_crash()
    for who, state in ((ALICE, State.PAUSED), (BOB, State.ALIVE)):
        house.feed(who=who, declared=EACH)
        house.run(0.25)
        assert house.state() is state


@pytest.mark.parametrize("feeders", [Feeders.EACH, Feeders.ANY])
def test_after_a_restart_a_process_that_has_declared_the_operators_name_is_waited_for(feeders: Feeders) -> None:
    """It hangs before its first feed."""
    house = House(w=TEN._replace(feeders=feeders))
    house.not_awaited.add("w")
    house.shelf.registry.clear()
    house.crash(0.0)
    house.say(Kind.DECLARE, "w")
    house.crash(1.0)
    house.run(30.0)
    assert [(name, cause) for name, cause, _ in opened(house)] == [("w", Cause.GRACE)]


def test_after_a_restart_feeds_that_name_no_process_are_taken_beside_those_that_do() -> None:
    """They are the name's, whichever process it shows by then: what comes with them is taken, too."""
    house = House()
    long = EACH._replace(timeout=100.0)
    house.feed(who=BOB, declared=long)
    house.feed(who=ALICE, declared=long)
    house.say(Kind.EXTEND, "w", 1000.0, who=BOB)
    house.run(90.0)
    house.feed(who=ALICE, declared=long)
    house.crash(1.0)
    house.run(50.0)
    house.feed(who=None, declared=None)
    house.run(30.0)
    house.feed(who=None, declared=None)
    assert opened(house) == []
    house.run(80.0)
    assert opened(house) == [("w", Cause.TIMEOUT, ALICE.pid)]


@pytest.mark.parametrize("pauses", [True, False])
def test_the_bad_end_of_one_that_has_said_that_it_ends_is_an_incident_after_a_restart(pauses: bool) -> None:
    """Paused, its end was noticed before; else it died of an exception, and nobody saw how it ended."""
    house = House()
    house.engine.processes.tells_end = lambda process: True
    house.feed(declared=EACH)
    if pauses:
        house.say(Kind.PAUSE, "w", 60.0, who=None)
    house.say(Kind.LEAVING, "w", None if pauses else "ValueError: no")
    if pauses:
        house.engine.processes.exited(ALICE, house.now, house.out, 1)
        house.run(1.0)
    house.crash(1.0)
    house.engine.processes.gone(ALICE, house.now)
    house.run(50.0)
    assert opened(house) == ([] if pauses else [("w", Cause.EXITED, ALICE.pid)])
    house.run(15.0)
    assert opened(house) == [("w", Cause.EXITED, ALICE.pid)]


def test_nobody_is_blamed_for_want_of_progress_when_a_restart_has_forgotten_who_made_it() -> None:
    """Two feed on. No step is done to one of them, also after a further restart."""
    said = EACH._replace(timeout=100.0, progress_timeout=300.0)
    house = House(w=Policy(said, Ladder((Step(do="kill", after=100.0),))))
    for who in (ALICE, BOB) * 2:
        house.feed(who=who, declared=said)
    house.say(Kind.NOTE, "w", 1, None)
    for second in range(6):
        if second == 3:
            house.crash(1.0)
        house.feed(who=ALICE, declared=said)
        house.feed(who=BOB, declared=said)
        house.run(70.0)
    assert opened(house) == [("w", Cause.NO_PROGRESS, None)]
    house.crash(1.0)
    house.run(100.0)
    (step,) = [each for each in house.out if isinstance(each, RunStep)]
    assert step.process is None
