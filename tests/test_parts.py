"""What belongs to one process alone (sections, ``NAME@PID``), and what is said of a worker that failed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from banken.protocol.messages import CLEAN, Declaration, Kind
from banken_supervisor.engine.effects import RunCallback
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.states import State
from engine_kit import ALICE, TEN, Bench, counted_bench, ends, opened, told

PART = f"job@{ALICE.pid}"


@pytest.fixture
def bench() -> Iterator[Bench]:
    with counted_bench() as made:
        yield made


def begin(bench: Bench, name: str = PART) -> None:
    """It declares this, and works."""
    bench.say(Kind.DECLARE, name, declaration=TEN)
    bench.say(Kind.WORK, name, 3.0, None)


def end_work(bench: Bench, name: str = PART) -> None:
    bench.say(Kind.WORK, name, None, None)


def test_a_part_ends_as_its_process_does(bench: Bench) -> None:
    """Celery's 155: what the process declares for its own watchdog holds for what is made in it."""
    bench.feed("celery-1", declaration=Declaration(10.0, 3.0, 20.0, clean=(*CLEAN, 155)))
    begin(bench)
    ends(bench, ALICE, 155)
    assert opened(bench) == []
    assert bench.state() is bench.state("celery-1") is bench.state(PART) is None


def test_a_process_that_is_killed_is_one_incident(bench: Bench) -> None:
    bench.feed("celery-1")
    begin(bench)
    ends(bench, ALICE, -9)
    assert opened(bench) == [("celery-1", "exited", ALICE.pid)]
    assert bench.state(PART) is None


@pytest.mark.parametrize("hung", [False, True])
def test_the_incident_of_a_part_ends_with_its_process(bench: Bench, hung: bool) -> None:
    """Nobody will come who could end it."""
    begin(bench)
    bench.jump(4.0 if hung else 1.0)
    ends(bench, ALICE, -9)
    assert opened(bench) == [(PART, "timeout" if hung else "exited", ALICE.pid)]
    assert [each["how"] for each in told(bench, "closed")] == ["ended"]
    assert bench.state(PART) is None


def test_with_a_ladder_it_stays_open(bench: Bench) -> None:
    """A notice after a while, say, is still to be sent."""
    bench.engine.rules.replace_patterns([("job@*", Policy(TEN, Ladder((Step("log", 5.0),))))])
    begin(bench)
    ends(bench, ALICE, -9)
    assert bench.state(PART) is State.EXPIRED


@pytest.mark.parametrize(("idle", "incidents"), [(True, 0), (False, 1)])
def test_a_process_that_nobody_saw_end(bench: Bench, idle: bool, incidents: int) -> None:
    """It had ended before it could be watched. With nothing to do it has ended well; at work it has not."""
    begin(bench)
    if idle:
        end_work(bench)
    bench.engine.processes.ended_unseen(ALICE, bench.now, bench.out)
    bench.jump(0.0)
    assert len(opened(bench)) == incidents
    assert bench.state(PART) is None


def test_a_worker_that_cannot_be_seen_may_be_elsewhere(bench: Bench) -> None:
    """Another container's client, say, which knows nothing of namespaces: its silence counts."""
    bench.feed("worker-3", declaration=TEN)
    begin(bench)
    bench.engine.processes.ended_unseen(ALICE, bench.now, bench.out)
    bench.jump(0.0)
    assert bench.state("worker-3") is State.ALIVE
    assert opened(bench) == []


def test_a_failure_in_the_middle_of_an_incident_stays(bench: Bench) -> None:
    """Late work, ``fail`` (gunicorn's own timeout), then the end of that work: only a feed ends it."""
    begin(bench, "w")
    bench.jump(4.0)
    bench.say(Kind.FAIL, "w", "gunicorn's timeout")
    end_work(bench, "w")
    assert bench.state() is State.EXPIRED
    bench.feed(declaration=TEN)
    assert bench.state() is State.ALIVE


@pytest.mark.parametrize(
    ("says_so", "status", "fails", "do", "finished"),
    [
        (True, 0, False, "log", True),
        (False, 0, False, "log", False),  # os._exit(0), as a server ends a child that hangs
        (True, 3, False, "log", False),
        (False, -15, False, "log", False),
        (True, 0, True, "log", False),
        (True, 0, False, "kill", False),
    ],
)
def test_a_worker_that_was_late_and_finished_has_finished(
    bench: Bench, says_so: bool, status: int, fails: bool, do: str, finished: bool
) -> None:
    """What else ends it while it has an incident leaves that open, for a new process or a feed."""
    bench.engine.processes.tells_end = lambda process: True
    bench.engine.declare("w", Policy(TEN, Ladder((Step(do),))), bench.now, bench.out)
    bench.feed()
    bench.jump(11.0)
    if fails:
        bench.say(Kind.FAIL, "w", "no disk")
    if says_so:
        bench.say(Kind.LEAVING, "w", None)
    ends(bench, ALICE, status)
    assert bench.state() is (None if finished else State.EXPIRED)
    assert [each["how"] for each in told(bench, "closed")] == ["ended"] * finished


def test_a_given_up_incident_outlives_a_good_end(bench: Bench) -> None:
    bench.feed(declaration=TEN)
    bench.jump(11.0)
    bench.engine.processes.abandon("w", "spent", bench.now, bench.out)
    bench.engine.processes.tells_end = lambda process: True
    bench.say(Kind.LEAVING, "w", None)
    ends(bench, ALICE, 0)
    assert bench.state() is State.GIVEN_UP


def test_late_work_that_ends_has_ended(bench: Bench) -> None:
    begin(bench, "w")
    bench.jump(4.0)
    end_work(bench, "w")
    assert bench.state() is State.ALIVE


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"load@{ALICE.pid}.1", "'load' has run for longer than its 20 s"),
        ("w", "its worker declared it, and never fed it in its 20 s grace"),
    ],
)
def test_what_was_never_fed_is_told_as_what_it_is(bench: Bench, name: str, reason: str) -> None:
    """That it does not call banken is guessed only of what has never said a word (test_judged_real.py)."""
    bench.say(Kind.DECLARE, name, declaration=TEN)
    bench.jump(21.0)
    assert [each.reason for each in bench.out if isinstance(each, RunCallback)] == [reason]
