"""Several processes feed one name: whom an incident is about, what is told of it, and what ends it."""

from __future__ import annotations

from typing import Any

import pytest

from banken.protocol.incidents import Cause
from banken.protocol.messages import Feeders, Kind, ProcessIdentity, Scope
from banken_supervisor.engine.effects import RunStep
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.states import State
from engine_kit import ALICE, BOB, TEN, Bench, ends, feeds, opened, told

EACH = TEN._replace(feeders=Feeders.EACH)
CAROL = ProcessIdentity(b"bootboot", 30, 300, b"cccc")
SCOPE = Scope("import", 1.0, 60.0, 0, "", "")


def climbing(bench: Bench, *steps: str) -> None:
    """The ladder: one step at once, the next ones every 5 s."""
    ladder = Ladder(tuple(Step(each, after=5.0 * number) for number, each in enumerate(steps)))
    bench.engine.declare("w", Policy(EACH, ladder=ladder), bench.now, bench.out)


def done(bench: Bench) -> list[tuple[str, ProcessIdentity | None]]:
    return [(each.step.do, each.process) for each in bench.out if isinstance(each, RunStep)]


def hung(bench: Bench) -> None:
    """``ALICE`` hangs, and has an incident; ``BOB`` said that it is idle."""
    bench.engine.processes.tells_end = lambda process: True
    feeds(bench, BOB, ALICE, declaration=EACH)
    bench.say(Kind.WORK, "w", None, None, who=BOB)
    bench.jump(12.0)
    assert opened(bench) == [("w", Cause.TIMEOUT, ALICE.pid)]


@pytest.mark.parametrize("word", [(Kind.DECLARE,), (Kind.EXTEND, 5.0), (Kind.FAIL, "bad"), (Kind.WORK, None, None)])
@pytest.mark.parametrize("how", ["ended", "failed"])
def test_no_step_is_done_to_another_process_when_the_one_that_failed_is_gone(word: Any, how: str) -> None:
    """Nor to the one that comes in its place, before it feeds. That a process has nothing to do ends no failure."""
    bench = Bench()
    climbing(bench, "log", "kill")
    feeds(bench, BOB, ALICE)
    bench.say(Kind.WORK, "w", None, None, who=BOB)
    if how == "failed":
        bench.say(Kind.FAIL, "w", "no disk")
    ends(bench, ALICE, 1)
    bench.jump(1.0)
    kind, *arguments = word
    bench.say(kind, "w", *arguments, who=CAROL)
    bench.say(kind, "w", *arguments, who=BOB)
    for _ in range(5):
        bench.jump(1.0)
    if how == "failed" or kind is not Kind.WORK:
        assert [do for do, _ in done(bench)] == ["log", "kill"]
    assert {process for _, process in done(bench)} <= {ALICE, None}


def test_an_end_is_told_as_the_one_of_its_process() -> None:
    """With its own silence and feeds, and not with what the next one that is due said."""
    bench = Bench()
    climbing(bench, "log")
    feeds(bench, ALICE, BOB)
    bench.jump(5.0)
    bench.say(Kind.WORK, "w", 3.0, SCOPE, who=BOB)
    ends(bench, ALICE, 1)
    (event,) = told(bench, "expired")
    assert (event["pid"], event["silence"]) == (ALICE.pid, 5.0)
    assert [each.scope for each in bench.out if isinstance(each, RunStep)] == [None]


@pytest.mark.parametrize("how", ["released", "ended"])
def test_who_goes_in_order_after_its_hang_leaves_no_incident(how: str) -> None:
    """``BOB`` is idle: it would be long until it says something. It is idle on."""
    bench = Bench()
    hung(bench)
    if how == "released":
        bench.say(Kind.RELEASE, "w")
    else:
        bench.say(Kind.LEAVING, "w", None)
        ends(bench, ALICE, 0)
    assert [each["how"] for each in told(bench, "closed")] == [how]
    bench.jump(1000.0)
    assert (bench.state(), len(opened(bench)), told(bench, "recovered")) == (State.ALIVE, 1, [])
    bench.feed(who=BOB)
    bench.jump(10.1)
    assert opened(bench)[1:] == [("w", Cause.TIMEOUT, BOB.pid)]


@pytest.mark.parametrize("pauses", [False, True])
def test_a_program_has_not_ended_with_its_last_process_that_did_in_order(pauses: bool) -> None:
    bench = Bench()
    bench.engine.processes.is_program = lambda name: name == "w"
    bench.engine.processes.tells_end = lambda process: True
    feeds(bench, ALICE, declaration=EACH)
    bench.jump(10.0)
    if pauses:
        bench.say(Kind.PAUSE, "w", 5.0, who=None)
    bench.say(Kind.LEAVING, "w", None)
    ends(bench, ALICE, 0)
    assert bench.state() is (State.PAUSED if pauses else State.EXPIRED)


@pytest.mark.parametrize("status", [1, -9, None])
def test_who_dies_after_its_hang_leaves_its_incident(status: int | None) -> None:
    bench = Bench()
    hung(bench)
    ends(bench, ALICE, status)
    assert (bench.state(), told(bench, "closed")) == (State.EXPIRED, [])


def test_who_was_made_to_release_the_name_is_not_waited_for() -> None:
    """A signal of the ladder made it do so. It lives on, and another process has taken its place."""
    bench = Bench()
    climbing(bench, "signal")
    feeds(bench, ALICE)
    bench.jump(12.0)
    bench.say(Kind.RELEASE, "w")
    assert bench.state() is State.EXPIRED
    feeds(bench, BOB, times=30)
    assert (bench.state(), len(opened(bench))) == (State.ALIVE, 1)
    ends(bench, ALICE, 0)
    assert bench.state() is State.ALIVE


def test_a_failure_in_a_pool_is_told_as_the_one_of_who_said_it() -> None:
    bench = Bench()
    feeds(bench, ALICE, BOB, declaration=TEN._replace(feeders=Feeders.ANY))
    bench.say(Kind.FAIL, "w", "no disk")
    assert opened(bench) == [("w", Cause.FAILED, ALICE.pid)]


def test_no_step_is_done_to_another_process_of_a_pool_when_the_one_that_failed_is_gone() -> None:
    bench = Bench()
    ladder = Ladder((Step("log", after=0.0), Step("kill", after=5.0)))
    declared = TEN._replace(feeders=Feeders.ANY)
    bench.engine.declare("w", Policy(declared, ladder=ladder), bench.now, bench.out)
    feeds(bench, BOB, ALICE)
    bench.say(Kind.FAIL, "w", "no disk")
    ends(bench, ALICE, 1)
    for _ in range(6):
        bench.jump(1.0)
    assert [do for do, _ in done(bench)] == ["log", "kill"]
    assert {process for _, process in done(bench)} <= {ALICE, None}


@pytest.mark.parametrize("last", [(Kind.FEED,), (Kind.WORK, 30.0, None), (Kind.WORK, None, None)])
def test_who_spoke_but_once_is_judged_by_its_own_word_when_no_other_one_is_left(last: Any) -> None:
    """``ALICE`` fed before it, and goes."""
    bench = Bench()
    feeds(bench, ALICE, declaration=EACH)
    bench.jump(5.0)
    kind, *arguments = last
    bench.say(kind, "w", *arguments, who=BOB, declaration=EACH)
    bench.jump(4.0)
    bench.say(Kind.RELEASE, "w")
    bench.jump({(30.0, None): 25.9, (None, None): 1000.0}.get(tuple(arguments), 5.9))
    assert opened(bench) == []
    bench.jump(0.2)
    assert len(opened(bench)) == (arguments != [None, None])


@pytest.mark.parametrize("who", [ALICE, BOB])
def test_who_is_idle_in_an_incident_that_goes_on_is_idle_after_it(who: ProcessIdentity) -> None:
    """A failure does not end with the work. A pause ends the incident."""
    bench = Bench()
    feeds(bench, ALICE, BOB, declaration=EACH)
    bench.say(Kind.FAIL, "w", "no disk")
    if who is BOB:
        ends(bench, ALICE, 1)
    bench.say(Kind.WORK, "w", None, None, who=who)
    assert bench.state() is State.EXPIRED
    bench.say(Kind.PAUSE, "w", 5.0, who=None)
    bench.jump(5.0)
    bench.engine.processes.exited(BOB if who is ALICE else CAROL, bench.now, bench.out, 0)
    for _ in range(10):
        bench.jump(100.0)
    assert (bench.state(), len(opened(bench))) == (State.ALIVE, 1)


@pytest.mark.parametrize("feeders", [Feeders.EACH, Feeders.ANY])
@pytest.mark.parametrize("how", ["released", "ended"])
def test_who_starts_has_its_grace_when_the_others_are_gone(feeders: Feeders, how: str) -> None:
    """A rolling restart: the new process declares the name, and loads for longer than its timeout."""
    declared = TEN._replace(feeders=feeders, grace=60.0)
    bench = Bench()
    feeds(bench, ALICE, declaration=declared)
    bench.say(Kind.DECLARE, "w", who=BOB, declaration=declared)
    bench.jump(5.0)
    bench.feed(declaration=declared)
    if how == "released":
        bench.say(Kind.RELEASE, "w")
    else:
        ends(bench, ALICE, 0)
    bench.jump(54.9)
    assert opened(bench) == []
    bench.jump(0.2)
    assert opened(bench) == [("w", Cause.TIMEOUT, BOB.pid)]
    bench.feed(who=BOB, declaration=declared)
    bench.jump(9.9)
    assert bench.state() is State.ALIVE
    bench.jump(0.2)
    assert bench.state() is State.EXPIRED


@pytest.mark.parametrize("feeders", [Feeders.EACH, Feeders.ANY])
def test_who_starts_in_a_pause_has_its_grace_after_it(feeders: Feeders) -> None:
    declared = TEN._replace(feeders=feeders, grace=60.0)
    bench = Bench()
    feeds(bench, ALICE, declaration=declared)
    bench.say(Kind.PAUSE, "w", 5.0, who=None)
    bench.say(Kind.DECLARE, "w", who=BOB, declaration=declared)
    bench.say(Kind.RELEASE, "w")
    bench.jump(5.0)
    bench.jump(59.9)
    assert opened(bench) == []
    bench.jump(0.2)
    assert opened(bench) == [("w", Cause.GRACE, BOB.pid)]


def test_who_was_known_before_its_program_was_taken_down_has_its_time_again() -> None:
    """Its processes outlive that, and say that they are there when it is up again. One of them hangs."""
    bench = Bench()
    declared = EACH._replace(grace=20.0)
    feeds(bench, ALICE, BOB, declaration=declared)
    for each in (ALICE, BOB):
        bench.engine.on_purpose.belongs(each, "p")
    bench.engine.on_purpose.program_down("p", bench.now, bench.out, again=True, removed=False)
    bench.jump(1000.0)
    bench.engine.on_purpose.program_up("p", bench.now)
    for each in (ALICE, BOB):
        bench.jump(1.0)
        bench.say(Kind.DECLARE, "w", who=each, declaration=declared)
    bench.jump(1.0)
    assert (bench.state(), opened(bench)) == (State.WAITING, [])
    for _ in range(9):
        bench.feed(who=BOB, declaration=declared)
        bench.jump(1.0)
    assert (bench.state(), opened(bench)) == (State.ALIVE, [])
    bench.feed(who=BOB, declaration=declared)
    bench.jump(1.1)
    assert opened(bench) == [("w", Cause.TIMEOUT, ALICE.pid)]


def test_who_takes_the_place_of_one_that_is_gone_costs_it_no_count() -> None:
    """``ALICE`` lives, and said that it ends: of that nothing will be heard."""
    bench = Bench()
    feeds(bench, ALICE, declaration=EACH)
    bench.say(Kind.FAIL, "w", "no disk")
    bench.say(Kind.LEAVING, "w", None)
    feeds(bench, BOB, declaration=EACH)
    assert [bench.engine.table.names_of(each) for each in (ALICE, BOB)] == [0, 1]
