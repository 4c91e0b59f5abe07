"""Several processes feed one name, each judged by itself, and one of them has an incident: what the others say
meanwhile, and what they do afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from banken.protocol.incidents import Cause
from banken.protocol.messages import Feeders, Kind, ProcessIdentity
from banken_supervisor.engine.claim_gate import Role
from banken_supervisor.engine.effects import Propose, RunStep
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.states import State
from engine_kit import ALICE, BOB, TEN, Bench, ends, feeds, opened, told

EACH = TEN._replace(feeders=Feeders.EACH)
CAROL = ProcessIdentity(b"bootboot", 30, 300, b"cccc")


def hung(bench: Bench | None = None) -> Bench:
    """``ALICE`` hangs, and has an incident; ``BOB`` and ``CAROL`` feed."""
    bench = Bench() if bench is None else bench
    bench.engine.processes.tells_end = lambda process: True
    feeds(bench, ALICE, BOB, CAROL, declaration=EACH)
    feeds(bench, BOB, CAROL, declaration=EACH, times=11)
    assert opened(bench) == [("w", Cause.TIMEOUT, ALICE.pid)]
    return bench


def say(bench: Bench, kind: Kind, *args: Any, who: ProcessIdentity = BOB) -> None:
    assert bench.say(kind, "w", *args, who=who, declaration=EACH) is None


def owner(bench: Bench) -> ProcessIdentity | None:
    record = bench.engine.get("w")
    assert record is not None
    return record.owner


@pytest.mark.parametrize(
    "word",
    [(Kind.FAIL, "lost my peer"), (Kind.DECLARE,), (Kind.LEAVING, None), (Kind.LEAVING, "KeyError"),
     (Kind.RELEASE,), (Kind.EXTEND, 5.0), (Kind.WORK, 5.0, None), (Kind.RESUME,)],
)  # fmt: skip
def test_no_word_of_another_process_makes_the_incident_its_own(word: Any) -> None:
    """The one that hangs is looked at on, and its feed alone ends the incident."""
    bench = hung()
    say(bench, *word)
    assert owner(bench) == ALICE
    feeds(bench, CAROL, declaration=EACH, times=3)
    if word[0] is not Kind.RELEASE:
        feeds(bench, BOB, declaration=EACH, times=3)
    assert (bench.state(), owner(bench)) == (State.EXPIRED, ALICE)
    bench.feed(who=ALICE, declaration=EACH)
    assert bench.state() is State.ALIVE


def test_a_failure_of_another_process_is_told() -> None:
    """It says whose it is. It is none of the one that the incident is about: whose work goes on ends that."""
    bench = hung()
    say(bench, Kind.FAIL, "lost my peer")
    assert [(each["reason"], each.get("pid")) for each in told(bench, "failed")] == [("lost my peer", BOB.pid)]
    say(bench, Kind.WORK, None, None, who=ALICE)
    assert bench.state() is State.ALIVE


def test_who_said_that_it_ends_has_its_time_also_after_the_incident_of_another() -> None:
    short = EACH._replace(timeout=2.0)
    bench = Bench()
    bench.engine.processes.tells_end = lambda process: True
    feeds(bench, ALICE, BOB, CAROL, declaration=short)
    feeds(bench, BOB, CAROL, declaration=short, times=3)
    assert opened(bench) == [("w", Cause.TIMEOUT, ALICE.pid)]
    bench.say(Kind.LEAVING, "w", None, who=BOB, declaration=short)
    feeds(bench, ALICE, CAROL, declaration=short, times=8)
    assert len(opened(bench)) == 1
    feeds(bench, ALICE, CAROL, declaration=short, times=3)
    assert opened(bench)[1:] == [("w", Cause.TIMEOUT, BOB.pid)]


def test_who_became_idle_in_the_incident_of_another_is_not_waited_for() -> None:
    bench = hung()
    say(bench, Kind.WORK, None, None)
    feeds(bench, ALICE, CAROL, declaration=EACH, times=30)
    assert (len(opened(bench)), bench.state()) == (1, State.ALIVE)


def test_who_was_idle_and_fed_in_the_incident_of_another_is_waited_for() -> None:
    bench = Bench()
    feeds(bench, ALICE, BOB, CAROL, declaration=EACH)
    say(bench, Kind.WORK, None, None)
    feeds(bench, CAROL, declaration=EACH, times=11)
    assert opened(bench) == [("w", Cause.TIMEOUT, ALICE.pid)]
    bench.feed(who=BOB, declaration=EACH)
    feeds(bench, ALICE, CAROL, declaration=EACH, times=11)
    assert opened(bench)[1:] == [("w", Cause.TIMEOUT, BOB.pid)]


@pytest.mark.parametrize("how", ["ended", "released"])
def test_when_the_one_that_hung_is_gone_any_other_one_ends_its_incident(how: str) -> None:
    """Also where one of them is idle, and will not feed for long."""
    bench = Bench()
    feeds(bench, BOB, ALICE, CAROL, declaration=EACH)
    say(bench, Kind.WORK, None, None, who=CAROL)
    feeds(bench, BOB, declaration=EACH, times=11)
    assert opened(bench) == [("w", Cause.TIMEOUT, ALICE.pid)]
    if how == "ended":
        ends(bench, ALICE, -9)
    else:
        say(bench, Kind.RELEASE, who=ALICE)
    bench.feed(who=BOB, declaration=EACH)
    assert bench.state() is State.ALIVE
    feeds(bench, BOB, declaration=EACH, times=30)
    assert len(opened(bench)) == 1
    assert [bench.engine.table.names_of(each) for each in (ALICE, BOB, CAROL)] == [0, 1, 1]


@pytest.mark.parametrize("how", ["ended", "released", Kind.FAIL, Kind.DECLARE])
def test_no_step_is_done_to_a_process_that_does_not_hang(how: Any) -> None:
    """The ladder climbs on after the one that hung is gone, or another one has spoken."""
    bench = Bench()
    ladder = Ladder((Step("signal", after=0.0), Step("kill", after=5.0)))
    bench.engine.declare("w", Policy(EACH, ladder=ladder), bench.now, bench.out)
    bench = hung(bench)
    if how == "ended":
        ends(bench, ALICE, -9)
    elif how == "released":
        say(bench, Kind.RELEASE, who=ALICE)
    else:
        say(bench, how, *(("lost my peer",) if how is Kind.FAIL else ()))
    for _ in range(6):
        bench.jump(1.0)
    steps = [each for each in bench.out if isinstance(each, RunStep)]
    assert [each.step.do for each in steps] == ["signal", "kill"]
    assert {each.process for each in steps} <= {ALICE, None}


# -- in a pause ----------------------------------------------------------------------------------


def test_who_became_idle_in_a_pause_is_not_waited_for_after_it() -> None:
    bench = Bench()
    feeds(bench, ALICE, BOB, declaration=EACH)
    bench.say(Kind.PAUSE, "w", 5.0, who=None)
    say(bench, Kind.WORK, None, None)
    feeds(bench, ALICE, declaration=EACH, times=30)
    assert (opened(bench), bench.state()) == ([], State.ALIVE)


def test_who_was_idle_and_fed_in_a_pause_is_waited_for_after_it() -> None:
    bench = Bench()
    feeds(bench, ALICE, BOB, declaration=EACH)
    say(bench, Kind.WORK, None, None)
    bench.say(Kind.PAUSE, "w", 5.0, who=None)
    bench.feed(who=BOB, declaration=EACH)
    feeds(bench, ALICE, declaration=EACH, times=16)
    assert opened(bench) == [("w", Cause.TIMEOUT, BOB.pid)]


def test_one_that_is_idle_in_a_pause_does_not_make_the_others_so() -> None:
    bench = Bench()
    feeds(bench, ALICE, BOB, declaration=EACH)
    bench.say(Kind.PAUSE, "w", 5.0, who=None)
    say(bench, Kind.WORK, None, None)
    bench.jump(16.0)
    bench.jump(16.0)
    assert opened(bench) == [("w", Cause.TIMEOUT, ALICE.pid)]


def test_who_is_idle_and_pauses_the_incident_of_another_is_idle_after_the_pause() -> None:
    bench = Bench()
    feeds(bench, ALICE, BOB, CAROL, declaration=EACH)
    feeds(bench, BOB, CAROL, declaration=EACH, times=11)
    say(bench, Kind.WORK, None, None)
    say(bench, Kind.PAUSE, 5.0)
    feeds(bench, ALICE, CAROL, declaration=EACH, times=30)
    assert (len(opened(bench)), bench.state()) == (1, State.ALIVE)


# -- progress ------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [ALICE, BOB])
@pytest.mark.parametrize("role", [Role.ALONE, Role.LEADER])
def test_progress_that_stands_still_is_of_the_one_that_made_it(first: ProcessIdentity, role: Role) -> None:
    """Another one only feeds, and ends nothing by that; whoever moves the value ends it, also before the others of
    a cluster know of it."""
    bench = Bench()
    bench.engine.succession.gate.role = role
    said = EACH._replace(progress_timeout=15.0)
    for second in range(24):
        bench.jump(1.0)
        for who in (first, ALICE if first is BOB else BOB):
            if who is BOB:
                bench.say(Kind.NOTE, "w", min(second, 3), None, who=BOB, declaration=said)
            else:
                bench.feed(who=ALICE, declaration=said)
    if role is Role.ALONE:
        assert opened(bench) == [("w", Cause.NO_PROGRESS, BOB.pid)]
        assert owner(bench) == BOB
    else:
        assert [each.cause for each in bench.out if isinstance(each, Propose)] == [Cause.NO_PROGRESS]
    bench.say(Kind.NOTE, "w", 4, None, who=ALICE, declaration=said)
    assert bench.state() is State.ALIVE
    assert not bench.engine.succession.gate.held


@pytest.mark.parametrize("who_feeds", ["a new one", "the idle one"])
def test_after_all_were_idle_the_value_has_a_whole_time(who_feeds: str) -> None:
    """``ALICE`` made progress, and has nothing to do. What was no progress then is none of ``BOB``'s, who comes."""
    bench = Bench()
    said = EACH._replace(progress_timeout=15.0)
    for value in (1, 2):
        bench.say(Kind.NOTE, "w", value, None, who=ALICE, declaration=said)
    bench.say(Kind.WORK, "w", None, None, who=ALICE, declaration=said)
    bench.jump(1000.0)
    who = BOB if who_feeds == "a new one" else ALICE
    feeds(bench, who, declaration=said, times=14)
    assert opened(bench) == []
    feeds(bench, who, declaration=said, times=4)
    assert opened(bench) == [("w", Cause.NO_PROGRESS, ALICE.pid)]


def test_the_value_has_a_whole_time_also_after_what_an_idle_one_says_in_the_incident_of_another() -> None:
    """Both were idle; ``BOB`` has failed, and goes on later than ``ALICE``."""
    bench = Bench()
    said = EACH._replace(progress_timeout=15.0)
    for who in (ALICE, BOB):
        bench.say(Kind.NOTE, "w", 1, None, who=who, declaration=said)
        bench.say(Kind.WORK, "w", None, None, who=who, declaration=said)
    bench.say(Kind.FAIL, "w", "it is broken", who=BOB)
    bench.jump(1000.0)
    bench.feed(who=ALICE, declaration=said)
    bench.feed(who=BOB, declaration=said)
    bench.jump(0.1)
    assert opened(bench) == [("w", Cause.FAILED, BOB.pid)]


def test_when_an_incident_for_want_of_progress_ends_with_its_process_the_others_have_a_whole_time() -> None:
    bench = Bench()
    bench.engine.processes.tells_end = lambda process: True
    said = EACH._replace(progress_timeout=15.0)
    for _ in range(2):
        bench.say(Kind.NOTE, "w", 1, None, who=ALICE, declaration=said)
    for _ in range(17):
        feeds(bench, ALICE, BOB, declaration=said, times=1)
    assert opened(bench) == [("w", Cause.NO_PROGRESS, ALICE.pid)]
    bench.say(Kind.LEAVING, "w", None, who=ALICE)
    ends(bench, ALICE, 0)
    feeds(bench, BOB, declaration=said, times=14)
    assert (len(opened(bench)), bench.state()) == (1, State.ALIVE)
    feeds(bench, BOB, declaration=said, times=3)
    assert opened(bench)[1:] == [("w", Cause.NO_PROGRESS, BOB.pid)]


def test_an_idle_one_is_so_after_the_pause_that_ends_the_incident_of_another() -> None:
    """``BOB`` has been heard once, and has nothing to do; ``ALICE`` has released the name in her incident."""
    bench = Bench()
    bench.engine.declare("w", Policy(EACH, ladder=Ladder((Step(do="kill"),))), bench.now, bench.out)
    feeds(bench, ALICE)
    bench.say(Kind.WORK, "w", None, None, who=BOB)
    bench.jump(10.1)
    assert opened(bench) == [("w", Cause.TIMEOUT, ALICE.pid)]
    bench.say(Kind.RELEASE, "w", who=ALICE)
    bench.say(Kind.PAUSE, "w", 5.0, who=None)
    bench.jump(6.0)
    bench.jump(1000.0)
    assert (len(opened(bench)), bench.state()) == (1, State.ALIVE)


def test_who_is_left_after_the_end_of_an_idle_one_in_a_pause_is_waited_for() -> None:
    """It was heard once, and is not judged by itself: its timeout begins with the end of the pause."""
    bench = Bench()
    feeds(bench, ALICE, declaration=EACH)
    bench.feed(who=BOB, declaration=EACH)
    bench.say(Kind.PAUSE, "w", 5.0, who=None)
    say(bench, Kind.WORK, None, None, who=ALICE)
    ends(bench, ALICE, 0)
    bench.jump(6.0)
    assert bench.state() is State.ALIVE
    bench.jump(10.5)
    assert bench.state() is State.EXPIRED


# -- what names no process -----------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.ALONE, Role.LEADER])
def test_a_ping_proves_nothing_of_a_process_that_hangs(role: Role) -> None:
    """Neither before its incident nor in it: each would end it, and the next verdict open another one."""
    bench = Bench()
    bench.engine.succession.gate.role = role
    feeds(bench, ALICE, BOB, declaration=EACH)
    for _ in range(30):
        feeds(bench, BOB, declaration=EACH, times=1)
        bench.say(Kind.FEED, who=None)
    if role is Role.ALONE:
        assert (opened(bench), bench.state()) == ([("w", Cause.TIMEOUT, ALICE.pid)], State.EXPIRED)
    else:
        assert len([each for each in bench.out if isinstance(each, Propose)]) == 1
    bench.feed(who=ALICE, declaration=EACH)
    assert bench.state() is State.ALIVE


def test_a_ping_ends_a_failure_that_was_said_without_a_process() -> None:
    """``banken fail``, and then ``banken feed``."""
    bench = Bench()
    feeds(bench, ALICE, BOB, declaration=EACH)
    bench.say(Kind.FAIL, "w", "it smells", who=None)
    assert bench.state() is State.EXPIRED
    bench.say(Kind.FEED, who=None)
    assert bench.state() is State.ALIVE


def test_who_is_silent_is_found_at_once_when_a_feed_of_nobody_ends_an_incident() -> None:
    """A command feeds the name after a failure that an operator has said: that proves nothing of ``BOB``."""
    bench = Bench()
    feeds(bench, BOB, ALICE, declaration=EACH)
    bench.say(Kind.FAIL, "w", "it is broken", who=None)
    feeds(bench, ALICE, declaration=EACH, times=18)
    bench.say(Kind.FEED, "w", who=None)
    assert bench.state() is State.ALIVE
    bench.jump(0.25)
    assert opened(bench)[1:] == [("w", "timeout", BOB.pid)]


def test_who_released_after_a_step_has_ended_another_one_may_feed_again() -> None:
    """``ALICE`` is killed by the ladder. ``BOB``, who lives, releases the name, which stays, and comes back."""
    bench = Bench()
    kills = Policy(EACH, ladder=Ladder((Step(do="kill"),)))
    bench.engine.declare("w", kills, bench.now, bench.out)
    feeds(bench, ALICE, BOB)
    feeds(bench, BOB, times=11)
    ends(bench, ALICE, -9)
    bench.say(Kind.RELEASE, who=BOB)
    assert bench.state() is State.EXPIRED, "the last of them was ended by a step"
    feeds(bench, BOB)
    assert (bench.state(), bench.engine.admission.refused) == (State.ALIVE, {})
    bench.jump(10.1)
    assert opened(bench)[1:] == [("w", Cause.TIMEOUT, BOB.pid)]


@pytest.mark.parametrize("feeders", Feeders)
def test_who_outlives_a_step_of_the_ladder_and_releases_may_feed_again(feeders: Feeders) -> None:
    """A `with` block ends in an incident, whose ladder has sent a signal; the same process begins the next one."""
    bench = Bench()
    declared = EACH._replace(feeders=feeders)
    bench.engine.declare("w", Policy(declared, ladder=Ladder((Step(do="signal"),))), bench.now, bench.out)
    feeds(bench, ALICE)
    bench.jump(10.1)
    assert opened(bench) == [("w", Cause.TIMEOUT, ALICE.pid)]
    bench.say(Kind.RELEASE, who=ALICE)
    bench.say(Kind.DECLARE, who=ALICE, declared=declared)
    bench.feed(who=ALICE)
    assert (bench.state(), bench.engine.admission.refused) == (State.ALIVE, {})
    bench.jump(10.1)
    assert opened(bench)[1:] == [("w", Cause.TIMEOUT, ALICE.pid)]


@pytest.mark.parametrize("kind", [Kind.EXTEND, Kind.LEAVING])
def test_the_time_that_one_asks_for_in_an_incident_of_a_dead_one_is_kept_for_it(kind: Kind) -> None:
    """The next feed of a third one ends that incident."""
    bench = Bench()
    bench.engine.processes.tells_end = lambda process: True
    feeds(bench, ALICE, BOB, CAROL, declaration=EACH)
    ends(bench, ALICE, -9)
    bench.jump(9.0)
    bench.say(kind, "w", 15.0 if kind is Kind.EXTEND else None, who=BOB)
    for _ in range(9):
        bench.jump(1.0)
        bench.feed(who=CAROL, declaration=EACH)
    assert (bench.state(), opened(bench)) == (State.ALIVE, [("w", Cause.EXITED, ALICE.pid)])
    for _ in range(7):
        bench.jump(1.0)
        bench.feed(who=CAROL, declaration=EACH)
    assert opened(bench)[1:] == [("w", Cause.TIMEOUT, BOB.pid)]
