"""A new supervisor goes on where the former one was: pure, with a journal that has no disk."""

from __future__ import annotations

import pytest

from banken.protocol.messages import Declaration, Exit, Feeders, Kind
from banken_supervisor.engine.effects import Effect, EndIncident, Event, RunCallback, RunStep, StepRan, WatchProcess
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.ladder import Budget, Ladder, Step
from banken_supervisor.engine.policy import EXIT_ONLY, CheckRule, Group, Policy
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.snapshot import RETURN_S, SHARE_MAX, Snapshot
from banken_supervisor.engine.states import State
from engine_kit import events_of
from restart_kit import ALICE, BOB, TEN, House, said


def steps(effects: list[Effect]) -> list[tuple[int, int]]:
    return [(e.number, e.run) for e in effects if isinstance(e, RunStep)]


def incident_of(house: House, name: str = "w") -> str:
    record = house.engine.get(name)
    assert record is not None
    assert record.details is not None
    assert record.details.incident is not None
    return record.details.incident.id


def test_each_has_its_whole_timeout_again_and_nothing_is_said() -> None:
    """A watchdog that was alive, its owner and its declaration are back without a word, and due after the time
    that workers need to come back, a whole timeout, and at most half of one more."""
    house = House()
    house.feed()
    house.run(5.0)
    assert house.crash() == (1, 0)
    assert [e for e in house.out if not isinstance(e, WatchProcess)] == []
    assert [e.process for e in house.out if isinstance(e, WatchProcess)] == [ALICE]
    assert said(house.run(RETURN_S + 10.0 - 0.25)) == []
    late = house.run(10.0 * SHARE_MAX + 0.5)
    assert said(late)[:1] == [("expired", "w")]
    assert house.out[-1] is not None


def test_those_that_are_gone_do_not_fall_due_together() -> None:
    """A thousand silent ones are spread over about a second, and none is due before its full timeout."""
    house = House()
    for number in range(1000):
        house.feed(f"w{number}")
    house.crash()
    began = house.now
    moments = []
    for _ in range(80):
        house.now += 0.25
        if house.engine.verdicts.sweep(house.now, house.out):
            house.engine.verdicts.judge(house.now, house.now, house.out)
        moments += [house.now - began for e in house.out if isinstance(e, RunCallback)]
        house.out.clear()
    assert len(moments) == 1000
    assert min(moments) >= 10.0 + RETURN_S
    assert 0.5 <= max(moments) - min(moments) <= 1.5


def test_a_feed_after_the_restart_is_a_feed_and_no_news() -> None:
    """The worker's next feed meets its record: no declaration, no first feed, no verdict."""
    house = House()
    house.feed()
    house.crash()
    house.forget()
    assert said(house.run(60.0, feeding=("w",))) == []
    assert house.state() is State.ALIVE


def test_what_was_released_does_not_come_back() -> None:
    """Nor is it judged, after any number of restarts."""
    house = House()
    house.feed()
    house.say(Kind.RELEASE, "w")
    assert house.restart_now() == set()
    assert house.restart_now() == set()


def test_who_was_never_fed_has_its_grace_again() -> None:
    house = House()
    house.say(Kind.DECLARE, "w", declared=TEN)
    house.crash()
    assert house.state() is State.WAITING
    assert said(house.run(RETURN_S + 20.0 - 0.25)) == []
    assert said(house.run(10.0 * SHARE_MAX + 0.5)) == [("expired", "w")]


@pytest.mark.parametrize(("seconds", "away", "left"), [(500.0, 100.0, 400.0), (50.0, 100.0, RETURN_S)])
def test_a_pause_goes_on_to_its_end(seconds: float, away: float, left: float) -> None:
    """By the clock on the wall; one that is over by then ends when the worker can have come back."""
    house = House()
    house.feed()
    house.say(Kind.PAUSE, "w", seconds)
    house.crash(away)
    assert house.state() is State.PAUSED
    assert said(house.run(left - 0.25)) == []
    assert said(house.run(0.5)) == [("resumed", "w")]
    assert said(house.run(10.0 - 0.5)) == []
    assert said(house.run(0.5)) == [("expired", "w")]


def test_a_pause_without_an_end_has_none_afterwards() -> None:
    house = House()
    house.feed()
    house.say(Kind.PAUSE, "w", 0.0)
    house.crash()
    assert said(house.run(2000.0)) == []
    assert house.state() is State.PAUSED


def test_an_extension_is_kept_and_its_end_too() -> None:
    """Who was allowed an hour is not convicted after ten seconds; a feed ends the extension, here as there."""
    house = House()
    house.feed()
    house.say(Kind.EXTEND, "w", 500.0)
    house.crash(100.0)
    assert said(house.run(400.0)) == []
    house.feed()
    house.crash(1.0)
    assert said(house.run(30.0))[0] == ("expired", "w")


def test_an_extension_that_a_verdict_has_ended_does_not_come_back() -> None:
    """The worker failed and was fed again long before its extension's end: after the restart its timeout counts."""
    house = House()
    house.feed()
    house.say(Kind.EXTEND, "w", 500.0)
    house.say(Kind.FAIL, "w", "no disk")
    house.feed()
    house.crash(1.0)
    assert said(house.run(30.0))[0] == ("expired", "w")


def test_an_open_incident_goes_on_under_its_id() -> None:
    """It is not announced again; the feed that ends it tells how long it really lasted; the next has another id."""
    house = House()
    house.feed()
    house.run(10.5)
    first, opened = incident_of(house), house.now
    assert house.crash() == (1, 1)
    assert house.state() is State.EXPIRED
    assert incident_of(house) == first
    house.run(1.0)
    assert said(house.out) == []
    house.feed()
    (over,) = [e for e in house.out if isinstance(e, Event)]
    assert (over.type.value, over.data["incident"]) == ("recovered", first)
    assert over.data["lasted"] == pytest.approx(house.now - opened, abs=1.0)
    house.run(10.5)
    assert incident_of(house) not in (first, None)
    assert first not in house.shelf.opened


LADDER = Ladder((Step("dump"), Step("signal", 30.0), Step("kill", 60.0), Step("log", 600.0)))


def test_a_step_that_was_begun_is_not_begun_again() -> None:
    """What fell due meanwhile is done once, each in its order, and not before a worker that recovered meanwhile has
    had its time; what is due later comes at its time after the verdict."""
    house = House(w=Policy(TEN, LADDER))
    house.feed()
    house.run(10.0)
    assert steps(house.out) == [(0, 1)]
    opened = house.now
    house.crash(100.0)
    assert steps(house.run(RETURN_S + 10.0 - 0.25)) == []
    assert steps(house.run(0.5)) == [(1, 1), (2, 1)]
    house.crash(100.0)
    assert steps(house.run(opened + 600.0 - house.now - 0.25)) == []
    assert steps(house.run(0.5)) == [(3, 1)]
    assert steps(house.run(1000.0)) == []


def test_who_recovered_meanwhile_is_not_climbed() -> None:
    """Its first feed comes within the time that it has, and ends the incident before the overdue step."""
    house = House(w=Policy(TEN, LADDER))
    house.feed()
    house.run(10.5)
    house.crash(100.0)
    house.run(RETURN_S + 9.0)
    house.feed()
    assert steps(house.run(200.0, feeding=("w",))) == []
    assert house.state() is State.ALIVE


def test_a_step_that_repeats_goes_on() -> None:
    """Missed repetitions are not made up for, and its runs are counted on."""
    house = House(w=Policy(TEN, Ladder((Step("log", repeat=20.0),))))
    house.feed()
    house.run(10.0 + 45.0)
    assert steps(house.out) == [(0, 1), (0, 2), (0, 3)]
    house.crash(100.0)
    assert steps(house.run(19.0)) == []
    assert steps(house.run(22.0)) == [(0, 4), (0, 5)]


def ran_before(house: House) -> list[tuple[str, str, int, int, float]]:
    return [
        (e.run.about.incident, e.run.step.do, e.run.number, e.run.run, house.now - e.run.about.opened)
        for e in house.out
        if isinstance(e, StepRan)
    ]


def test_who_was_told_of_an_incident_is_named_again() -> None:
    """Each step that was begun, once, with its last run and the incident as it was opened; the end names them, too.
    Of an incident that is over nothing is said."""
    house = House(w=Policy(TEN, Ladder((Step("dump"), Step("notify", 30.0, repeat=20.0)))))
    house.feed()
    house.run(10.0 + 55.0)
    id_ = incident_of(house)
    house.crash(100.0)
    assert ran_before(house) == [(id_, "dump", 0, 1, 155.0), (id_, "notify", 1, 2, 155.0)]
    assert steps(house.out) == []
    house.feed()
    assert [(e.incident, e.steps) for e in house.out if isinstance(e, EndIncident)] == [(id_, (0, 1))]
    house.crash()
    assert ran_before(house) == []


def test_who_was_told_that_it_was_given_up_is_named_again() -> None:
    """And whom the ladder tells no longer is not: its step is another one now."""
    ladder = Ladder((Step("webhook", repeat=5.0, budget=Budget(2, 600.0)),), (Step("notify"),))
    house = House(w=Policy(TEN, ladder))
    house.feed()
    house.run(30.0)
    (id_,) = house.shelf.given_up
    house.crash()
    assert [each[:4] for each in ran_before(house)] == [(id_, "webhook", 0, 2), (id_, "notify", 1, 1)]
    house.operators["w"] = Policy(TEN, Ladder((Step("log"),), (Step("notify"),)))
    house.crash()
    assert [each[:4] for each in ran_before(house)] == [(id_, "notify", 1, 1)]


def test_a_release_before_a_restart_renews_no_budget() -> None:
    """Its watchdog is not brought back; when it comes again, what was spent is spent."""
    house = House(**{"w*": Policy(TEN, Ladder((Step("restart", budget=Budget(2, 600.0)),)))})
    for number in range(3):
        house.say(Kind.FEED, "w1")
        house.run(11.0)
        house.say(Kind.FEED, "w1")
        house.say(Kind.RELEASE, "w1")
        house.keep()
        if number == 1:
            house.crash()
    told = [each for each in house.out if isinstance(each, Event) and each.type.value == "given-up"]
    assert [each.name for each in told] == ["w1"]


def test_a_restart_renews_no_budget() -> None:
    """Three restarts in ten minutes, two of them by the former supervisor: one more, and then it is given up."""
    step = Step("restart", budget=Budget(3, 600.0))
    house = House(w=Policy(TEN, Ladder((step,))))
    for _ in range(2):
        house.feed()
        house.run(10.5)
    assert steps(house.out) == [(0, 1), (0, 1)]
    house.feed()
    house.crash(10.0)
    house.run(30.0)
    assert steps(house.out) == [(0, 1)]
    house.feed()
    house.crash(10.0)
    assert steps(house.run(30.0)) == []
    assert house.state() is State.GIVEN_UP


def test_what_was_given_up_stays_so_until_it_is_fed() -> None:
    """Nothing is done, nobody is told; a feed ends it, with the incident's id and its whole duration."""
    house = House(w=Policy(TEN, Ladder((Step("restart", repeat=5.0, budget=Budget(2, 600.0)),), (Step("log"),))))
    house.feed()
    house.run(30.0)
    assert house.state() is State.GIVEN_UP
    (id_,) = house.shelf.given_up
    house.crash()
    assert house.state() is State.GIVEN_UP
    assert said(house.run(2000.0)) == []
    house.feed()
    (over,) = [e for e in house.out if isinstance(e, Event)]
    assert (over.type.value, over.data["incident"]) == ("recovered", id_)
    assert over.data["lasted"] > 2000.0


def test_a_group_that_was_given_up_stays_so_until_enough_are_alive() -> None:
    """It has no record of its own: its open incident brings it back. Is there no such group any more, it ends."""
    house = House()
    ladder = Ladder((Step("restart", budget=Budget(1, 600.0), repeat=1.0),))
    house.groups = [Group("all", ("w",), at_least=1, ladder=ladder)]
    house.restart_now()
    house.feed()
    house.run(15.0)
    assert house.state("all") is State.GIVEN_UP
    (id_,) = house.shelf.given_up
    house.crash()
    assert house.state("all") is State.GIVEN_UP
    assert ("recovered", "all") in said(house.run(1.0, feeding=("w",)))
    assert id_ in house.shelf.closed


def test_a_record_that_is_behind_its_incident_gives_way() -> None:
    """The incident is the truth: recovered but on record as expired is alive, given up but on record as expired is
    given up, expired but on record as alive is expired."""
    house = House()
    for name in ("recovered", "given-up", "fresh"):
        house.feed(name)
    house.run(10.5)
    shelf = house.shelf
    left = shelf.left(house.now)
    fresh = [begun for begun in left.open if begun.name == "fresh"]
    given_up = [begun._replace(given_up=True) for begun in left.open if begun.name == "given-up"]
    on_record = {"recovered": State.EXPIRED, "given-up": State.EXPIRED, "fresh": State.ALIVE}
    records = [each._replace(state=on_record[each.name]) for each in left.watchdogs]
    engine = Engine(Rules(TEN), "later", b"token")
    engine.restore(Snapshot(records, [*fresh, *given_up]), 5000.0, [])
    states = {record.name: record.state for record in engine.table}
    assert states == {"recovered": State.ALIVE, "given-up": State.GIVEN_UP, "fresh": State.EXPIRED}
    assert {s: n for s, n in engine.table.states.items() if n} == dict.fromkeys(states.values(), 1)


def test_an_incident_without_a_record_is_brought_back_with_its_timeout() -> None:
    house = House()
    house.feed(declared=Declaration(7.0, 5.0, 7.0))
    house.run(8.0)
    house.shelf.registry.clear()
    assert house.crash(1.0) == (0, 1)
    record = house.engine.get("w")
    assert record is not None
    assert (record.state, record.declaration.timeout) == (State.EXPIRED, 7.0)


# -- whose word it was --------------------------------------------------------------------------------


def test_what_only_a_former_config_named_does_not_come_back() -> None:
    """Its open incident is closed; what a worker feeds stays, by what was in force for it."""
    house = House(**{"old": TEN, "fed-*": Policy(TEN, LADDER), "kept": TEN})
    house.feed("fed-1")
    house.run(25.0, feeding=("fed-1",))
    assert house.state("old") is State.EXPIRED
    house.operators = {"kept": TEN}
    house.crash()
    assert {record.name for record in house.engine.table} == {"kept", "fed-1"}
    assert said(house.out) == [("closed", "old")]
    (over,) = [e for e in house.out if isinstance(e, Event)]
    assert over.data["how"] == "forgotten"
    record = house.engine.get("fed-1")
    assert record is not None
    assert not record.operator
    assert record.policy is None
    assert house.restart_now() == {"kept", "fed-1"}
    assert "old" not in house.shelf.registry


def test_what_a_command_feeds_by_a_pattern_comes_back() -> None:
    """``banken feed backup`` from cron: nobody's process, the operator's declaration."""
    day = Declaration(90_000.0, 60.0, 90_000.0)
    house = House(**{"backup*": day})
    house.feed("backup-1", who=None, declared=None)
    house.crash(3600.0)
    assert said(house.run(3600.0)) == []
    assert house.state("backup-1") is State.ALIVE


@pytest.mark.parametrize("ends", [Exit.NEVER, Exit.UNCLEAN])
def test_a_check_that_is_no_more_is_nothing_that_a_pattern_fits(ends: Exit) -> None:
    """Nothing would feed it. What is fed, under any name, goes on: as above."""
    anything = TEN._replace(exit=ends)
    rule = CheckRule("web", "exec true", 2.0, 2)
    check = Policy(TEN._replace(exit=Exit.NEVER), depends_on=("web",), expect=True, check=rule)
    house = House(**{"web/check": check, "*": Policy(anything, LADDER)})
    house.feed("db/check", who=None, declared=None)
    assert house.restart_now() == {"web/check", "db/check"}
    del house.operators["web/check"]
    assert house.restart_now() == {"db/check"}
    assert house.restart_now() == {"db/check"}


def test_the_new_config_is_in_force_at_once() -> None:
    """Another timeout for a name that a worker feeds: what was recorded gives way to the operator's word."""
    house = House(**{"w*": Declaration(100.0, 10.0, 100.0)})
    house.feed("w")
    house.operators = {"w*": Declaration(5.0, 10.0, 5.0)}
    house.crash()
    assert said(house.run(RETURN_S + 5.0 + 2.75))[:1] == [("expired", "w")]


def test_a_program_that_is_no_more_does_not_leave_its_watchdog() -> None:
    """One that never fed is judged by its end alone: without the program there is no end."""
    house = House(p=EXIT_ONLY)
    house.operators = {}
    assert house.restart_now() == set()


def test_a_group_counts_its_members_again_and_its_incident_goes_on() -> None:
    """Too few before and after: one incident, under one id; closed when enough are alive again."""
    house = House()
    house.groups = [Group("g", ("a", "b"), at_least=2)]
    house.crash(0.0)
    for name in ("a", "b"):
        house.feed(name)
    house.run(5.0, feeding=("a", "b"))
    house.run(12.0, feeding=("a",))
    assert house.state("g") is State.EXPIRED
    first = incident_of(house, "g")
    house.crash(5.0)
    house.run(3.0, feeding=("a",))
    assert house.state("g") is State.EXPIRED
    assert incident_of(house, "g") == first
    house.run(1.0, feeding=("a", "b"))
    assert ("recovered", "g") in said(house.out)
    house.groups = []
    assert "g" not in house.restart_now()


def test_a_pool_comes_back_as_a_pool() -> None:
    house = House()
    pool = TEN._replace(feeders=Feeders.ANY)
    house.feed("pool", declared=pool)
    house.feed("pool", who=BOB, declared=pool)
    house.crash()
    house.feed("pool", who=BOB, declared=pool)
    house.feed("pool", declared=pool)
    assert house.engine.admission.refused == {}


def test_who_depends_on_one_that_is_down_is_marked_again() -> None:
    """Blamed before, blamed after, and not climbed; the parent's own incident climbs on."""
    child = Policy(TEN, Ladder((Step("kill"),)), depends_on=("parent",))
    house = House(parent=Policy(TEN, Ladder((Step("log"),))), child=child)
    for name in ("parent", "child"):
        house.feed(name)
    house.run(15.0)
    assert steps(house.out) == [(0, 1)]
    house.crash()
    record = house.engine.get("child")
    assert record is not None
    assert record.details is not None
    assert record.details.incident is not None
    assert record.details.incident.blamed == "parent"
    assert steps(house.run(100.0)) == []


def blamed_long(*ladder: Step) -> House:
    """``w`` has been blamed on ``db`` for a long time; that is back, and ``w`` has an incident of its own."""
    house = House(db=Policy(TEN), w=Policy(TEN, Ladder(ladder), depends_on=("db",)))
    for name in ("db", "w"):
        house.feed(name, declared=None)
    house.run(2000.0)
    house.forget()
    while not any(each.type.value == "callback-repeated" for each in events_of(house.out) if each.name == "w"):
        house.run(0.25, feeding=("db",))
    return house


def acted_at(house: House, seconds: float) -> list[tuple[int, float]]:
    """Steps of ``w`` in so many seconds, ``db`` being fed, and when each was begun."""
    found = []
    for _ in range(int(seconds)):
        done = house.run(1.0, feeding=("db",))
        found += [(each.number, house.now) for each in done if isinstance(each, RunStep)]
    return found


@pytest.mark.parametrize("restarts", [1, 3])
def test_a_climb_that_began_long_after_its_verdict_is_not_hurried(restarts: int) -> None:
    """It was blamed until then. What was begun says when the climb began, and the next step has its time."""
    house = blamed_long(Step("log"), Step("kill", after=600.0))
    began = house.now
    for _ in range(restarts):
        house.run(5.0, feeding=("db",))
        house.crash(5.0)
    assert acted_at(house, began + 599.0 - house.now) == []
    assert [number for number, _ in acted_at(house, 2.0)] == [1]


def test_of_a_climb_that_has_begun_nothing_the_first_step_alone_may_be_due() -> None:
    """Nothing says when it began: its first step is taken to be due, and the next has the time between them."""
    house = blamed_long(Step("log", after=60.0), Step("kill", after=600.0))
    house.run(5.0, feeding=("db",))
    house.crash(5.0)
    restarted = house.now
    log, kill = acted_at(house, 700.0)
    assert (log[0], kill[0]) == (0, 1)
    assert log[1] < restarted + 60.0
    assert kill[1] == pytest.approx(restarted + 540.0, abs=1.5)


def test_a_climb_whose_ladder_has_changed_is_not_hurried_either() -> None:
    """None of what was begun is there any more: the next step is one that is due after the last of it."""
    house = blamed_long(Step("log"), Step("kill", after=600.0))
    began = house.now
    house.run(5.0, feeding=("db",))
    house.operators["w"] = Policy(
        TEN, Ladder((Step("notify"), Step("dump", after=300.0), Step("kill", after=600.0))), depends_on=("db",)
    )
    house.crash(5.0)
    assert [(number, round(at - began, -1)) for number, at in acted_at(house, 700.0)] == [(1, 300.0), (2, 600.0)]


@pytest.mark.parametrize("depends_on", [(), ("db",)])
def test_a_climb_that_began_at_its_verdict_goes_on_by_that(depends_on: tuple[str, ...]) -> None:
    """Whether or not it might have been blamed; what fell due while no supervisor ran is due."""
    ladder = Ladder((Step("log"), Step("kill", after=600.0)))
    house = House(db=Policy(TEN), w=Policy(TEN, ladder, depends_on=depends_on))
    for name in ("db", "w"):
        house.feed(name, declared=None)
    house.run(10.5, feeding=("db",))
    verdict = house.now
    assert house.state() is State.EXPIRED
    house.crash(100.0)
    assert [round(at - verdict, -1) for _, at in acted_at(house, 600.0)] == [600.0]


def test_observing_does_not_tell_twice() -> None:
    """What would have been done was told; the next that is due is told at its time."""
    ladder = LADDER._replace(observe=True)
    house = House(w=Policy(TEN, ladder))
    house.feed()
    house.run(10.0)
    opened = house.now
    house.crash(100.0)
    told = [e.data["step"] for e in house.run(opened + 601.0 - house.now) if isinstance(e, Event)]
    assert told == [3]


# -- processes that ended meanwhile ---------------------------------------------------------------------
