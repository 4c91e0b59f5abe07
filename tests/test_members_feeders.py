"""``feeders`` changes while several processes feed one name: nothing is judged by what another word had kept."""

from __future__ import annotations

from typing import Any

import pytest

from banken.protocol.incidents import Cause
from banken.protocol.messages import Feeders, Kind
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.states import State
from engine_kit import ALICE, BOB, TEN, Bench, ends, feeds, opened
from restart_kit import House

ANY, EACH = TEN._replace(feeders=Feeders.ANY), TEN._replace(feeders=Feeders.EACH)


def notes(bench: Bench, *who: Any, times: int = 1) -> None:
    for value in range(times):
        bench.jump(1.0)
        for each in who:
            bench.say(Kind.NOTE, "w", value, None, who=each)


def pool(declared: Any) -> Bench:
    """``ALICE`` and ``BOB`` have fed the operator's watchdog for a long time."""
    bench = Bench()
    bench.engine.processes.tells_end = lambda process: True
    bench.engine.declare("w", declared, bench.now, bench.out)
    notes(bench, ALICE, BOB, times=30)
    bench.out.clear()
    return bench


def declare(bench: Bench, declared: Any) -> None:
    bench.engine.declare("w", declared, bench.now, bench.out)


def owner(bench: Bench) -> Any:
    record = bench.engine.get("w")
    assert record is not None
    return record.owner


def test_of_a_pool_whose_processes_are_judged_by_themselves_from_now_on_each_has_its_timeout() -> None:
    """Its own last feed was not kept so far. One that falls silent is found."""
    bench = pool(ANY)
    declare(bench, EACH)
    bench.jump(0.5)
    notes(bench, ALICE)
    assert (bench.state(), opened(bench)) == (State.ALIVE, [])
    notes(bench, ALICE, times=7)
    assert opened(bench) == []
    notes(bench, ALICE, times=2)
    assert opened(bench) == [("w", Cause.TIMEOUT, BOB.pid)]


def test_a_pool_that_is_idle_is_so_when_each_is_judged_by_itself() -> None:
    bench = pool(ANY)
    bench.say(Kind.WORK, "w", None, None, who=ALICE)
    bench.jump(100.0)
    declare(bench, EACH)
    notes(bench, ALICE, times=5)
    assert opened(bench) == []


def test_a_worker_s_word_is_as_good() -> None:
    bench = Bench()
    for value in range(30):
        bench.jump(1.0)
        for each in (ALICE, BOB):
            bench.say(Kind.NOTE, "w", value, None, who=each, declaration=ANY)
    bench.say(Kind.DECLARE, who=ALICE, declaration=EACH)
    for each in (ALICE, BOB):
        bench.jump(0.5)
        bench.say(Kind.NOTE, "w", 1, None, who=each, declaration=EACH)
    assert (bench.state(), opened(bench)) == (State.ALIVE, [])


def test_from_each_to_any_the_last_feed_of_all_counts() -> None:
    """``ALICE`` was nearly due."""
    bench = pool(EACH)
    notes(bench, BOB, times=9)
    declare(bench, ANY)
    bench.jump(9.0)
    assert opened(bench) == []
    bench.jump(1.1)
    assert [cause for _, cause, _ in opened(bench)] == [Cause.TIMEOUT]


def test_an_extension_of_one_process_is_the_pool_s_until_any_of_them_feeds() -> None:
    bench = pool(EACH)
    bench.say(Kind.EXTEND, "w", 60.0, who=ALICE)
    declare(bench, ANY)
    bench.jump(55.0)
    assert opened(bench) == []
    notes(bench, BOB)
    bench.jump(10.1)
    assert len(opened(bench)) == 1


@pytest.mark.parametrize("before", [ANY, EACH])
def test_where_only_the_newest_may_feed_from_now_on_the_end_of_another_one_is_no_incident(before: Any) -> None:
    """And its silence is none; the newest one is judged."""
    bench = pool(before)
    declare(bench, TEN)
    assert owner(bench) == BOB
    ends(bench, ALICE, 1)
    assert (bench.state(), opened(bench)) == (State.ALIVE, [])
    ends(bench, BOB, 1)
    assert opened(bench) == [("w", Cause.EXITED, BOB.pid)]


def test_the_former_ones_are_refused_then() -> None:
    """Also the one whose word it was."""
    bench = Bench()
    feeds(bench, ALICE, BOB, declaration=EACH, times=5)
    for _ in range(30):
        bench.jump(1.0)
        bench.feed(who=ALICE, declaration=TEN)
    assert opened(bench) == [("w", Cause.TIMEOUT, BOB.pid)]
    assert owner(bench) == BOB


@pytest.mark.parametrize("before", [ANY, EACH])
def test_so_it_is_over_a_restart(before: Any) -> None:
    house = House(w=before)
    for _ in range(5):
        for who in (ALICE, BOB):
            house.feed(who=who)
        house.run(1.0)
    house.operators["w"] = TEN
    house.crash(1.0)
    house.feed(who=BOB)
    house.engine.processes.exited(ALICE, house.now, house.out, 1)
    house.run(1.0)
    assert (house.state(), opened(house)) == (State.ALIVE, [])


def test_who_says_with_its_first_feed_that_only_the_newest_may_feed_is_the_owner() -> None:
    """Its end is an incident, though it has fed but once."""
    bench = Bench()
    bench.engine.processes.tells_end = lambda process: True
    bench.engine.declare("w", Policy(EACH, worker_declares=True), bench.now, bench.out)
    bench.feed(who=ALICE, declaration=TEN)
    assert owner(bench) == ALICE
    ends(bench, ALICE, 1)
    assert opened(bench) == [("w", Cause.EXITED, ALICE.pid)]
