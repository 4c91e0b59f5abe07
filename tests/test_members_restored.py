"""The processes of one name, each judged by itself, over a restart: who they are, and when each was heard last."""

from __future__ import annotations

from banken.protocol.incidents import Cause
from banken.protocol.messages import Feeders
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
