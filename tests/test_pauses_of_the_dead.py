"""A pause closes the incident of a watchdog. That its process has ended, or its program was given up, is so after
it, too: that is judged again."""

from __future__ import annotations

from typing import Any

import pytest

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration, Exit, Feeders, Kind
from banken_supervisor.engine.claim_gate import Role
from banken_supervisor.engine.effects import Propose
from banken_supervisor.engine.policy import EXIT_ONLY, Group, Policy, Window
from banken_supervisor.engine.snapshot import PastIncident
from banken_supervisor.engine.states import State
from engine_kit import ALICE, BOB, ELSEWHERE, TEN, Bench, ends, feeds, opened, told
from restart_kit import House, said

NIGHT = Window("0 3 * * *", 60.0)
PAUSE_S = 60.0
EACH = TEN._replace(feeders=Feeders.EACH)
SIGSEGV = (Cause.EXITED, f"pid {ALICE.pid}: ended by SIGSEGV")


def pause(bench: Bench, how: str = "pause") -> None:
    """It begins, by an operator's word or a maintenance window, and the incident ends by that."""
    if how == "window":
        bench.engine.maintenance.open_windows({NIGHT: PAUSE_S}, bench.now)
        bench.engine.maintenance.go_on(bench.now, bench.out)
    else:
        bench.say(Kind.PAUSE, "w", PAUSE_S, who=None)
    assert bench.state() is State.PAUSED
    assert [each["how"] for each in told(bench, "closed")] == ["paused"]
    bench.out.clear()


def after(bench: Bench, seconds: float = 1e6) -> list[tuple[Any, Any]]:
    """Cause and reason of what is found at the end of the pause, and long after it."""
    bench.jump(PAUSE_S - 1.0)
    assert opened(bench) == []
    bench.jump(1.1)
    bench.jump(0.1)
    at_once = told(bench, "expired")
    bench.jump(seconds)
    assert told(bench, "expired") == at_once
    return [(each["cause"], each["reason"]) for each in at_once]


def worker(feeders: Feeders = Feeders.LATEST) -> Bench:
    """One without a timeout, of no program."""
    bench = Bench()
    declaration = EXIT_ONLY.declaration._replace(feeders=feeders)
    bench.engine.rules.replace_patterns([("w*", Policy(declaration))])
    bench.feed(declaration=declaration)
    bench.jump(1.0)
    bench.feed(declaration=declaration)
    return bench


def program(**more: Any) -> Bench:
    """One without a timeout, as the config makes them: each of its processes is judged by itself."""
    bench = Bench()
    bench.engine.processes.is_program = lambda name: name == "w"
    declaration = EXIT_ONLY.declaration._replace(feeders=Feeders.EACH, **more)
    bench.engine.declare("w", Policy(declaration, maintenance=(NIGHT,)), bench.now, bench.out)
    return bench


# -- workers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("feeders", Feeders)
def test_one_that_was_killed_is_an_incident_again(feeders: Feeders) -> None:
    bench = worker(feeders)
    ends(bench, ALICE, -11)
    pause(bench)
    assert after(bench) == [SIGSEGV]
    assert [each["pid"] for each in told(bench, "expired")] == [ALICE.pid]


@pytest.mark.parametrize("feeders", Feeders)
def test_one_that_died_of_an_exception_is_an_incident_again(feeders: Feeders) -> None:
    """That incident is a failure. With the exception for its reason, before and after."""
    bench = worker(feeders)
    bench.engine.processes.tells_end = lambda process: True
    bench.say(Kind.LEAVING, "w", "KeyError: 'x'")
    ends(bench, ALICE, 1)
    assert [cause for _, cause, _ in opened(bench)] == [Cause.FAILED]
    pause(bench)
    assert after(bench) == [(Cause.EXITED, "KeyError: 'x'")]


@pytest.mark.parametrize("feeders", Feeders)
def test_one_that_failed_and_died_after_that_is_an_incident_again(feeders: Feeders) -> None:
    bench = worker(feeders)
    bench.say(Kind.FAIL, "w", "disk full")
    ends(bench, ALICE, -11)
    assert len(opened(bench)) == 1
    pause(bench)
    assert after(bench) == [SIGSEGV]


@pytest.mark.parametrize("when", ["in the pause", "before it"])
@pytest.mark.parametrize("word", [Kind.FEED, Kind.DECLARE])
@pytest.mark.parametrize("feeders", Feeders)
def test_one_that_is_replaced_is_no_incident(feeders: Feeders, word: Kind, when: str) -> None:
    bench = worker(feeders)
    declaration = EXIT_ONLY.declaration._replace(feeders=feeders)
    ends(bench, ALICE, -11)
    if when == "in the pause":
        pause(bench)
    bench.say(word, who=BOB, declaration=declaration)
    if when == "before it":
        bench.say(Kind.PAUSE, "w", PAUSE_S, who=None)
        bench.out.clear()
    assert after(bench) == []
    ends(bench, BOB, -11)
    bench.jump(0.1)
    assert opened(bench) == [("w", Cause.EXITED, BOB.pid)]


def test_one_that_is_pinged_in_the_pause_is_no_incident() -> None:
    """What has taken its place names no process."""
    bench = worker()
    ends(bench, ALICE, -11)
    pause(bench)
    bench.feed(who=None)
    assert after(bench) == []
    assert bench.state() is State.ALIVE


@pytest.mark.parametrize("again", [False, True])
def test_one_whose_program_is_stopped_in_the_pause_is_no_incident(again: bool) -> None:
    """It would have ended by that, too. It is fed once more by what is started after it."""
    bench = worker()
    bench.engine.on_purpose.belongs(ALICE, "p")
    ends(bench, ALICE, -11)
    pause(bench)
    bench.engine.on_purpose.program_down("p", bench.now, bench.out, again=again, removed=False)
    if again:
        bench.engine.on_purpose.program_up("p", bench.now)
    assert after(bench) == []
    assert bench.state() is State.WAITING
    bench.feed(who=BOB)
    assert bench.state() is State.ALIVE


def test_one_that_only_hung_is_alive_after_the_pause() -> None:
    bench = worker()
    bench.say(Kind.FAIL, "w", "disk full")
    pause(bench)
    assert after(bench) == []
    assert bench.state() is State.ALIVE


def test_who_died_long_ago_is_no_matter_where_others_have_fed_since() -> None:
    """What names no process feeds on, and is late before the pause: a whole timeout begins after it."""
    bench = Bench()
    bench.feed(declaration=TEN)
    ends(bench, ALICE, -11)
    bench.feed(who=None)
    bench.jump(11.0)
    assert [cause for _, cause, _ in opened(bench)] == [Cause.EXITED, Cause.TIMEOUT]
    bench.out = []
    bench.say(Kind.PAUSE, "w", PAUSE_S, who=None)
    bench.jump(PAUSE_S + 0.1)
    bench.jump(9.0)
    assert opened(bench) == []
    bench.jump(2.0)
    assert [cause for _, cause, _ in opened(bench)] == [Cause.TIMEOUT]


def test_the_others_live_where_one_of_several_died() -> None:
    bench = Bench()
    feeds(bench, ALICE, BOB, declaration=EACH, times=3)
    ends(bench, ALICE, -11)
    pause(bench)
    bench.jump(PAUSE_S + 0.1)
    bench.feed(who=BOB, declaration=EACH)
    bench.jump(1.0)
    assert (bench.state(), opened(bench)) == (State.ALIVE, [])
    bench.jump(10.0)
    assert opened(bench) == [("w", Cause.TIMEOUT, BOB.pid)]


def test_a_second_pause_does_not_forget_it() -> None:
    bench = worker()
    ends(bench, ALICE, -11)
    pause(bench)
    bench.jump(30.0)
    bench.say(Kind.PAUSE, "w", PAUSE_S, who=None)
    assert after(bench) == [SIGSEGV]
    bench.out.clear()
    bench.say(Kind.PAUSE, "w", PAUSE_S, who=None)
    bench.out.clear()
    assert after(bench) == [SIGSEGV]


# -- programs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["pause", "window"])
@pytest.mark.parametrize("ended", [False, True])
def test_a_program_that_was_given_up_is_given_up_again(how: str, ended: bool) -> None:
    """And the group that it is missed in, too few."""
    bench = program()
    bench.feed()
    bench.engine.quorums.set([Group("all", ("w",), 1)], Declaration(60.0, 60.0, 60.0), bench.now, bench.out)
    bench.jump(0.0)
    if ended:
        bench.engine.processes.program_ended("w", "exit status 3", bench.now)
        bench.jump(0.1)
    bench.engine.processes.abandon("w", "given up: 3 restarts", bench.now, bench.out)
    assert bench.state() is State.GIVEN_UP
    pause(bench, how)
    bench.jump(PAUSE_S + 0.1)
    if how == "window":
        bench.engine.maintenance.open_windows({}, bench.now)
        bench.engine.maintenance.go_on(bench.now, bench.out)
    bench.jump(0.1)
    bench.jump(1.0)
    assert [each["reason"] for each in told(bench, "expired") if each["cause"] != Cause.TOO_FEW] == [
        "exit status 3" if ended else "given up: 3 restarts"
    ]
    assert (bench.state(), bench.state("all")) == (State.GIVEN_UP, State.EXPIRED)
    bench.engine.processes.restarted("w", bench.now, bench.out)
    assert bench.state() is State.WAITING
    bench.engine.processes.program_ended("w", "exit status 4", bench.now)
    bench.jump(0.1)
    assert bench.state() is State.EXPIRED  # a new life: it is not given up yet


@pytest.mark.parametrize("before", ["never fed", "fed", "failed", "its process told first", "could not be started"])
def test_a_program_that_ended_and_is_not_started_by_itself_is_an_incident_again(before: str) -> None:
    bench = program()
    if before != "never fed":
        feeds(bench, ALICE)
    if before in ("failed", "could not be started"):
        bench.say(Kind.FAIL, "w", "no such file", who=None)
    if before == "its process told first":
        bench.engine.processes.exited(ALICE, bench.now, bench.out, 3)
        bench.jump(0.1)
    bench.engine.processes.program_ended("w", "exit status 3", bench.now)
    bench.jump(0.1)
    if before in ("fed", "failed"):
        bench.engine.processes.exited(ALICE, bench.now, bench.out, 3)
        bench.jump(0.1)
    pause(bench)
    assert after(bench) == [(Cause.EXITED, "exit status 3")]


def test_a_program_that_is_started_again_in_the_pause_is_no_incident() -> None:
    bench = program()
    bench.engine.processes.program_ended("w", "exit status 3", bench.now)
    bench.jump(0.1)
    bench.engine.processes.abandon("w", "given up: 3 restarts", bench.now, bench.out)
    pause(bench)
    bench.engine.processes.restarted("w", bench.now, bench.out)
    assert after(bench) == []


def test_a_program_whose_worker_died_lives() -> None:
    """Only the end of the program is judged, and that has not come."""
    bench = program()
    latest = EXIT_ONLY.declaration._replace(feeders=Feeders.LATEST)
    bench.engine.declare("w", Policy(latest), bench.now, bench.out)
    bench.feed()
    ends(bench, ALICE, -11)
    assert len(opened(bench)) == 1
    pause(bench)
    assert after(bench) == []
    bench.engine.processes.program_ended("w", "exit status 3", bench.now)
    bench.jump(0.1)
    assert [each["reason"] for each in told(bench, "expired")] == ["exit status 3"]


def test_one_that_was_given_up_is_so_after_the_pause_whatever_its_ends_count() -> None:
    bench = program(exit=Exit.NEVER)
    bench.engine.processes.abandon("w", "given up: 3 restarts", bench.now, bench.out)
    pause(bench)
    assert after(bench) == [(Cause.EXITED, "given up: 3 restarts")]
    assert bench.state() is State.GIVEN_UP


# -- over a restart, and in a cluster ------------------------------------------------------------


@pytest.mark.parametrize("when", ["before the pause", "in the pause"])
@pytest.mark.parametrize("cause", [Cause.EXITED, Cause.FAILED])
def test_it_is_known_over_a_restart_of_the_supervisor(when: str, cause: Cause) -> None:
    house = House(**{"w*": EXIT_ONLY})
    house.feed(declared=EXIT_ONLY.declaration)
    if cause is Cause.FAILED:
        house.say(Kind.FAIL, "w", "disk full")
    house.engine.processes.exited(ALICE, house.now, house.out, -11)
    house.run(1.0)
    if when == "before the pause":
        house.crash(5.0)
        house.engine.processes.gone(ALICE, house.now)
    house.say(Kind.PAUSE, "w", PAUSE_S, who=None)
    if when == "in the pause":
        house.crash(5.0)
        house.engine.processes.gone(ALICE, house.now)
    house.run(50.0)
    assert house.state() is State.PAUSED
    house.forget()
    assert ("expired", "w") in said(house.run(PAUSE_S))
    assert house.state() is State.EXPIRED


def test_the_others_live_where_one_of_several_died_before_a_restart() -> None:
    """The incident is open again, and its death is none of theirs."""
    house = House()
    for who in (ALICE, BOB) * 2:
        house.feed(who=who, declared=EACH)
    house.engine.processes.exited(ALICE, house.now, house.out, -11)
    house.run(0.5)
    house.crash(1.0)
    assert house.state() is State.EXPIRED
    house.say(Kind.PAUSE, "w", PAUSE_S, who=None)
    house.forget()
    for _ in range(20):
        house.run(5.0)
        house.feed(who=BOB, declared=EACH)
    assert ("expired", "w") not in said(house.out)
    assert house.state() is State.ALIVE


@pytest.mark.parametrize("role", [Role.LEADER, Role.FOLLOWER])
@pytest.mark.parametrize("is_open", [False, True])
def test_every_member_of_a_cluster_knows_it_after_a_pause(role: Role, is_open: bool) -> None:
    """``ELSEWHERE`` says that it ends, badly, and no status will come. Whose verdict was held judges it again."""
    bench = Bench()
    bench.engine.rules.replace_patterns([("w*", EXIT_ONLY)])
    gate = bench.engine.succession.gate
    gate.role = Role.LEADER if is_open else role
    bench.feed(who=ELSEWHERE, declaration=EXIT_ONLY.declaration)
    bench.say(Kind.LEAVING, "w", "KeyError: 'x'", who=ELSEWHERE)
    assert gate.held["w"].what.cause is Cause.FAILED
    if is_open:
        assert bench.engine.succession.open("w", "claimed-1", bench.now, bench.out)
        assert bench.state() is State.EXPIRED
        if role is Role.FOLLOWER:  # it leads no longer: its incident is another's
            bench.engine.succession.follow(bench.now)
    bench.say(Kind.PAUSE, "w", PAUSE_S, who=None)
    assert "w" not in gate.held
    bench.out.clear()
    bench.jump(PAUSE_S + 0.1)
    bench.jump(0.1)
    assert gate.held["w"].what.cause is Cause.EXITED
    assert gate.held["w"].what.death == "KeyError: 'x'"
    proposed = [(each.name, each.cause) for each in bench.out if isinstance(each, Propose)]
    assert proposed == ([("w", Cause.EXITED)] if role is Role.LEADER else [])


def test_who_leads_after_another_member_knows_it() -> None:
    """The incident is of a failure: the store does not say that the process has ended."""
    bench = Bench()
    bench.engine.rules.replace_patterns([("w*", EXIT_ONLY)])
    bench.engine.succession.gate.role = Role.FOLLOWER
    bench.feed(who=ELSEWHERE, declaration=EXIT_ONLY.declaration)
    bench.say(Kind.LEAVING, "w", "KeyError: 'x'", who=ELSEWHERE)
    bench.jump(5.0)
    left = PastIncident("other-1", "w", Cause.FAILED, 5.0, 0.0, 10.0, "KeyError: 'x'")
    assert bench.engine.succession.lead([left], bench.now, bench.out) == []
    assert bench.state() is State.EXPIRED
    pause(bench)
    bench.jump(PAUSE_S + 0.1)
    bench.jump(0.1)
    assert bench.engine.succession.gate.held["w"].what.cause is Cause.EXITED


def test_a_program_that_is_adopted_lives_although_one_of_its_workers_died() -> None:
    house = House()
    house.programs["w"] = Policy(EXIT_ONLY.declaration._replace(feeders=Feeders.LATEST))
    house.crash(0.0)
    house.feed(declared=None)
    house.engine.processes.exited(ALICE, house.now, house.out, -11)
    house.run(1.0)
    assert house.state() is State.EXPIRED
    house.crash(5.0)
    house.engine.notified.begun("w", None, house.now)
    assert house.state() is State.EXPIRED
    house.say(Kind.PAUSE, "w", PAUSE_S, who=None)
    house.forget()
    assert ("expired", "w") not in said(house.run(PAUSE_S + 5.0))


@pytest.mark.parametrize("feeders", Feeders)
def test_so_it_is_where_its_last_word_is_read_after_its_end_was_noticed(feeders: Feeders) -> None:
    """It says that it failed, and ends."""
    bench = worker(feeders)
    bench.engine.processes.exited(ALICE, bench.now, bench.out, -11)
    bench.say(Kind.FAIL, "w", "no disk")
    bench.jump(0.1)
    assert [each["status"] for each in told(bench, "exited")] == [-11]
    pause(bench)
    assert after(bench) == [SIGSEGV]


def test_so_it_is_where_the_last_word_of_a_program_is_read_after_its_end_was_noticed() -> None:
    bench = worker()
    bench.engine.processes.program_ended("w", "exit status 3", bench.now)
    bench.say(Kind.FAIL, "w", "no disk")
    bench.jump(0.1)
    pause(bench)
    assert after(bench) == [(Cause.EXITED, "exit status 3")]


def test_a_process_that_ended_just_before_its_program_has_ended() -> None:
    """It is none of the program's processes any more: another one's feed is heard."""
    bench = Bench()
    bench.engine.processes.is_program = lambda name: name == "w"
    feeds(bench, ALICE, BOB, declaration=EACH)
    bench.engine.processes.exited(ALICE, bench.now, bench.out, -11)
    bench.engine.processes.program_ended("w", "exit status 3", bench.now)
    bench.jump(0.1)
    assert [(each["cause"], each["reason"]) for each in told(bench, "expired")] == [("exited", "exit status 3")]
    bench.feed(who=BOB, declaration=EACH)
    assert bench.state() is State.ALIVE


def test_an_end_that_is_not_judged_yet_outlives_the_failure_of_another_process() -> None:
    """That one feeds again at once."""
    bench = Bench()
    feeds(bench, ALICE, BOB, declaration=EACH)
    bench.engine.processes.exited(ALICE, bench.now, bench.out, -11)
    bench.say(Kind.FAIL, "w", "no disk", who=BOB)
    bench.feed(who=BOB)
    assert bench.state() is State.ALIVE
    bench.jump(0.1)
    assert opened(bench) == [("w", Cause.FAILED, BOB.pid), ("w", Cause.EXITED, ALICE.pid)]
