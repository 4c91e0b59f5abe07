"""Ends of processes while their watchdog is paused."""

from __future__ import annotations

import pytest

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration, Kind
from banken_supervisor.engine.policy import EXIT_ONLY, Policy, Window
from banken_supervisor.engine.states import State
from engine_kit import ALICE, BOB, Bench, ends, feeds, opened, told


def test_a_paused_process_that_ends_well_is_released() -> None:
    """Else the end of the pause would be an incident. One that ends badly stays paused."""
    for status, state in ((0, None), (-9, State.PAUSED)):
        bench = Bench()
        bench.feed()
        bench.say(Kind.PAUSE, "w", 0.0)
        ends(bench, ALICE, status)
        assert bench.state() is state


@pytest.mark.parametrize("idle", [False, True])
@pytest.mark.parametrize("word", [Kind.PAUSE, Kind.RESUME])
def test_a_process_that_dies_in_a_pause_is_an_incident_when_that_is_over(word: Kind, idle: bool) -> None:
    """At its end, not a whole timeout later; one that was idle would never have been found."""
    bench = Bench()
    bench.feed()
    if idle:
        bench.say(Kind.WORK, "w", None, None)
    bench.say(Kind.PAUSE, "w", 3.0, who=None)
    ends(bench, ALICE, -9)
    bench.jump(2.0)
    assert bench.state() is State.PAUSED
    if word is Kind.RESUME:
        bench.say(Kind.RESUME, who=None)
    bench.jump(1.1)
    bench.jump(0.1)
    assert opened(bench) == [("w", Cause.EXITED, ALICE.pid)]
    assert [data["reason"] for data in told(bench, "expired")] == ["pid 100: ended by SIGKILL"]


def test_what_it_said_of_its_end_in_a_pause_is_the_reason() -> None:
    """The traceback, as without a pause."""
    bench = Bench()
    bench.feed()
    bench.say(Kind.PAUSE, "w", 3.0, who=None)
    bench.say(Kind.LEAVING, "w", "OSError: no disk")
    ends(bench, ALICE, 1)
    bench.jump(3.1)
    bench.jump(0.1)
    assert opened(bench) == [("w", Cause.FAILED, ALICE.pid)]
    assert [data["reason"] for data in told(bench, "expired")] == ["OSError: no disk"]


@pytest.mark.parametrize("is_restarted", [True, False])
@pytest.mark.parametrize("is_fed", [True, False])
@pytest.mark.parametrize("word", [Kind.PAUSE, Kind.RESUME])
def test_what_was_not_fed_since_its_start_has_its_grace_after_a_pause(
    word: Kind, is_fed: bool, is_restarted: bool
) -> None:
    """Whether it was started before the pause or in it. One that was fed in the pause has its timeout."""
    bench = Bench()
    bench.engine.processes.is_program = lambda name: name == "w"
    bench.engine.declare("w", Policy(Declaration(30.0, 30.0, 600.0)), bench.now, bench.out)
    if is_restarted:
        bench.feed()
    bench.say(Kind.PAUSE, "w", 60.0, who=None)
    bench.jump(30.0)
    if is_restarted:
        bench.engine.processes.restarted("w", bench.now, bench.out)
    if is_fed:
        feeds(bench, BOB)
    if word is Kind.RESUME:
        bench.say(Kind.RESUME, who=None)
    bench.jump(30.1)
    bench.jump(30.1)
    assert [cause for _, cause, _ in opened(bench)] == ([Cause.TIMEOUT] if is_fed else [])
    bench.jump(600.0)
    assert [cause for _, cause, _ in opened(bench)] == ([Cause.TIMEOUT] if is_fed else [Cause.GRACE])


@pytest.mark.parametrize("word", [Kind.PAUSE, Kind.RESUME])
def test_what_had_an_incident_for_want_of_its_first_feed_has_its_grace_after_a_pause(word: Kind) -> None:
    """Somebody mends its start-up in the pause, and it takes as long as ever."""
    bench = Bench()
    bench.engine.declare("w", Policy(Declaration(30.0, 30.0, 600.0), expect=True), bench.now, bench.out)
    bench.jump(601.0)
    assert [cause for _, cause, _ in opened(bench)] == [Cause.GRACE]
    bench.say(Kind.PAUSE, "w", 60.0, who=None)
    if word is Kind.RESUME:
        bench.say(Kind.RESUME, who=None)
    bench.jump(61.0)
    bench.jump(500.0)
    assert bench.state() is State.WAITING
    bench.jump(101.0)
    assert [cause for _, cause, _ in opened(bench)] == [Cause.GRACE, Cause.GRACE]


@pytest.mark.parametrize("how", ["fed", "restarted", "released"])
def test_who_is_replaced_in_a_pause_is_no_incident(how: str) -> None:
    """Whatever is done to it there is done on purpose, if another process has the name when the pause is over."""
    bench = Bench()
    bench.feed()
    bench.say(Kind.PAUSE, "w", 3.0, who=None)
    ends(bench, ALICE, -9)
    if how == "restarted":
        bench.engine.processes.restarted("w", bench.now, bench.out)
    elif how == "released":
        bench.say(Kind.RELEASE, who=None)
    else:
        feeds(bench, BOB)
    bench.jump(5.0)
    bench.jump(0.1)
    assert opened(bench) == []
    assert bench.state() is {"fed": State.ALIVE, "restarted": State.WAITING, "released": None}[how]


@pytest.mark.parametrize("word", [Kind.PAUSE, Kind.RESUME])
@pytest.mark.parametrize("is_fed", [False, True])
def test_what_has_no_timeout_is_after_a_pause_as_it_was(word: Kind, is_fed: bool) -> None:
    """What only checks, or its end, are judged of: it is not waiting for a feed that is due in ten years. Its end
    in the pause is judged."""
    bench = Bench(EXIT_ONLY.declaration)
    bench.engine.declare("w", EXIT_ONLY, bench.now, bench.out)
    bench.say(Kind.DECLARE, declaration=EXIT_ONLY.declaration)
    if is_fed:
        bench.feed()
    before = bench.state()
    assert before is (State.ALIVE if is_fed else State.WAITING)
    bench.say(Kind.PAUSE, "w", 3.0, who=None)
    assert bench.state() is State.PAUSED
    if word is Kind.RESUME:
        bench.say(Kind.RESUME, who=None)
    bench.jump(3.1)
    assert bench.state() is before
    bench.say(Kind.PAUSE, "w", 3.0, who=None)
    ends(bench, ALICE, -9)
    bench.jump(3.1)
    bench.jump(0.1)
    assert [cause for _, cause, _ in opened(bench)] == [Cause.EXITED]


NIGHT = Window("0 3 * * *", 3.0)


def paused_program(how: str, before: str) -> Bench:
    """A program without a timeout, which is paused: by an operator's word, or by a maintenance window."""
    bench = Bench()
    bench.engine.processes.is_program = lambda name: name == "w"
    bench.engine.declare("w", EXIT_ONLY._replace(maintenance=(NIGHT,)), bench.now, bench.out)
    if before != "never fed":
        bench.feed()
    if before == "released":
        bench.say(Kind.RELEASE)
    if how == "window":
        bench.engine.maintenance.open_windows({NIGHT: 3.0}, bench.now)
        bench.engine.maintenance.go_on(bench.now, bench.out)
    else:
        bench.say(Kind.PAUSE, "w", 3.0, who=None)
    assert bench.state() is State.PAUSED
    return bench


@pytest.mark.parametrize("how", ["pause", "resumed", "window"])
@pytest.mark.parametrize("before", ["never fed", "fed", "released"])
def test_a_program_that_ends_in_a_pause_is_an_incident_when_that_is_over(how: str, before: str) -> None:
    """It has no timeout: nothing else would ever tell of it."""
    bench = paused_program(how, before)
    bench.engine.processes.program_ended("w", "exit status 3", bench.now)
    bench.jump(1.0)
    assert opened(bench) == []
    if how == "resumed":
        bench.say(Kind.RESUME, who=None)
    bench.jump(2.1)
    bench.jump(0.1)
    assert [(data["cause"], data["reason"]) for data in told(bench, "expired")] == [(Cause.EXITED, "exit status 3")]


@pytest.mark.parametrize("before", ["never fed", "fed", "released"])
def test_a_program_that_is_started_again_in_a_pause_is_no_incident(before: str) -> None:
    """Also the end of its next process is judged by itself."""
    bench = paused_program("pause", before)
    bench.engine.processes.program_ended("w", "exit status 3", bench.now)
    bench.engine.processes.restarted("w", bench.now, bench.out)
    bench.jump(3.1)
    bench.jump(0.1)
    assert opened(bench) == []
    bench.engine.processes.program_ended("w", "exit status 4", bench.now)
    bench.jump(0.1)
    assert [data["reason"] for data in told(bench, "expired")] == ["exit status 4"]


@pytest.mark.parametrize("how", [None, "exit status 3"])
@pytest.mark.parametrize("again", [False, True])
def test_a_program_that_is_given_up_in_a_pause_is_given_up_when_that_is_over(how: str | None, again: bool) -> None:
    """``again``: it was started after that, in the pause, and has ended once more: its budget begins anew."""
    bench = Bench()
    processes = bench.engine.processes
    processes.is_program = lambda name: name == "w"
    bench.engine.declare("w", EXIT_ONLY, bench.now, bench.out)
    bench.say(Kind.PAUSE, "w", 5.0, who=None)
    if how:
        processes.program_ended("w", how, bench.now)
    processes.abandon("w", "given up: 3 restarts", bench.now, bench.out)
    bench.jump(2.0)
    assert bench.state() is State.PAUSED
    if again:
        processes.restarted("w", bench.now, bench.out)
        processes.program_ended("w", "exit status 4", bench.now)
    bench.jump(4.0)
    bench.jump(0.1)
    reason = "exit status 4" if again else how or "given up: 3 restarts"
    assert [each["reason"] for each in told(bench, "expired")] == [reason]
    assert bench.state() is (State.EXPIRED if again else State.GIVEN_UP)
    assert len(told(bench, "given-up")) == (not again)


def test_a_program_that_is_given_up_in_a_pause_and_started_again_is_no_incident() -> None:
    bench = Bench()
    processes = bench.engine.processes
    processes.is_program = lambda name: name == "w"
    bench.engine.declare("w", EXIT_ONLY, bench.now, bench.out)
    bench.say(Kind.PAUSE, "w", 5.0, who=None)
    processes.program_ended("w", "exit status 3", bench.now)
    processes.abandon("w", "given up: 3 restarts", bench.now, bench.out)
    processes.restarted("w", bench.now, bench.out)
    bench.jump(6.0)
    bench.jump(1.0)
    assert opened(bench) == []
