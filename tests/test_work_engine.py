"""Work in the engine: what is due when, what idle means, and what ends either. A clock that is set."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

import pytest

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration, Feeders, Kind, Scope
from banken_supervisor.control.control_api import row
from banken_supervisor.engine.effects import Event, RunCallback
from banken_supervisor.engine.snapshot import checkpoint
from banken_supervisor.engine.states import State
from engine_kit import ALICE, BOB, Bench, counted_bench, opened

GET = Scope("GET /x", 1.0, 4.0, 4711, "worker-2", "")


@pytest.fixture
def bench() -> Iterator[Bench]:
    with counted_bench() as made:
        yield made


def work(bench: Bench, seconds: float | None, scope: Scope | None = None, **more: object) -> None:
    assert bench.say(Kind.WORK, "w", seconds, scope, **more) is None


def test_work_is_due_when_it_says_and_not_when_a_feed_would_be(bench: Bench) -> None:
    """With a timeout of 10 s: 4 s of work are late after 4 s, and 40 s of it are not before 40."""
    bench.feed(resolution=0.5)
    work(bench, 4.0, resolution=0.5)
    bench.jump(3.99)
    assert bench.state() is State.ALIVE
    bench.jump(0.02)
    assert bench.state() is State.EXPIRED
    work(bench, 40.0)
    bench.jump(39.9)
    assert bench.state() is State.ALIVE
    bench.jump(0.2)
    assert bench.state() is State.EXPIRED


def test_what_is_idle_is_not_judged_and_the_next_message_ends_that(bench: Bench) -> None:
    """A month of nothing is no incident; a feed afterwards has the timeout again, and its bytes are known again."""
    bench.feed()
    work(bench, None)
    bench.jump(86400.0 * 30)
    record = bench.engine.get("w")
    assert record is not None
    assert row(record, bench.now)["state"] == "idle"
    assert row(record, bench.now)["left"] is None
    bench.feed()
    bench.feed()
    assert record.frame is not None
    assert row(record, bench.now)["state"] == "alive"
    bench.jump(10.1)
    assert bench.state() is State.EXPIRED


def test_a_thousand_messages_make_no_event_and_no_change_of_the_checkpoint(bench: Bench) -> None:
    """Beside the first one, by which the watchdog becomes known."""
    bench.engine.table.tracks_changes = True
    work(bench, 5.0)
    assert bench.said() == ["declared", "first-fed"]
    bench.engine.table.changed.clear()
    for _ in range(500):
        work(bench, 5.0, GET)
        bench.jump(0.01)
        work(bench, None)
        bench.jump(0.01)
    assert bench.said() == []
    assert not bench.engine.table.changed


def test_the_incident_names_the_work_how_long_it_ran_and_its_thread(bench: Bench) -> None:
    """The message came when it had run for 1 s; 3 s later it is late."""
    work(bench, 3.0, GET)
    bench.jump(3.0)
    (run,) = [effect for effect in bench.out if isinstance(effect, RunCallback)]
    assert run.cause is Cause.TIMEOUT
    assert run.reason == "'GET /x' has run for 4.0 s; its limit is 4 s in thread worker-2"


def test_other_messages_end_what_was_said_of_work(bench: Bench) -> None:
    """The incident of a feed that is late has nothing of work that ended before."""
    work(bench, 3.0, GET)
    bench.feed()
    bench.jump(10.1)
    (run,) = [effect for effect in bench.out if isinstance(effect, RunCallback)]
    assert run.reason is None


def test_idle_is_judged_by_its_end(bench: Bench) -> None:
    """Its process ends without a word: an incident at once."""
    work(bench, None)
    bench.engine.processes.exited(ALICE, bench.now, bench.out)
    bench.jump(0.01)
    assert bench.state() is State.EXPIRED
    assert [effect.cause for effect in bench.out if isinstance(effect, RunCallback)] == [Cause.EXITED]


def test_a_pause_keeps_idle_and_gives_work_a_whole_timeout(bench: Bench) -> None:
    """Resumed, what was idle is idle; what was at work has the watchdog's timeout, as after any pause."""
    for seconds, after in ((None, State.ALIVE), (2.0, State.EXPIRED)):
        work(bench, seconds)
        bench.say(Kind.PAUSE, "w", 5.0)
        bench.jump(5.1)
        bench.jump(9.8)
        assert bench.state() is State.ALIVE
        bench.jump(0.3)
        assert bench.state() is after


def test_a_new_process_has_a_grace_and_no_work(bench: Bench) -> None:
    """What the former process said of its work says nothing of the new one."""
    work(bench, None)
    bench.say(Kind.DECLARE, who=BOB)
    assert bench.state() is State.WAITING
    bench.jump(20.1)
    assert bench.state() is State.EXPIRED


def test_progress_is_no_subject_while_idle(bench: Bench) -> None:
    """With progress_timeout 5 s: idle for an hour is none, 5 s of work without progress is one."""
    declared = Declaration(10.0, 3.0, 20.0, progress_timeout=5.0)
    bench.say(Kind.NOTE, "w", 1, None, declaration=declared)
    work(bench, None, declaration=declared)
    bench.jump(3600.0)
    assert bench.state() is State.ALIVE
    work(bench, 60.0, declaration=declared)
    bench.jump(4.9)
    assert bench.state() is State.ALIVE
    bench.jump(0.2)
    assert bench.state() is State.EXPIRED


@pytest.mark.parametrize(("kind", "args"), [(Kind.FEED, ()), (Kind.NOTE, (1, None)), (Kind.NOTE, (None, "on"))])
def test_a_feed_ends_idle_for_the_progress_too(bench: Bench, kind: Kind, args: tuple[Any, ...]) -> None:
    """The time in which it was idle is not held against its value."""
    declared = Declaration(10.0, 3.0, 20.0, progress_timeout=5.0)
    bench.say(Kind.NOTE, "w", 1, None, declaration=declared)
    work(bench, None, declaration=declared)
    bench.jump(3600.0)
    bench.say(kind, "w", *args, declaration=declared)
    bench.jump(4.9)
    assert bench.state() is State.ALIVE
    bench.jump(0.2)
    assert bench.state() is State.EXPIRED


@pytest.mark.parametrize("kind", [Kind.FEED, Kind.WORK])
def test_who_was_idle_in_an_incident_for_want_of_progress_has_not_moved_its_value(bench: Bench, kind: Kind) -> None:
    declared = Declaration(10.0, 3.0, 20.0, progress_timeout=5.0)
    bench.say(Kind.NOTE, "w", 1, None, declaration=declared)
    bench.jump(5.1)
    work(bench, None, declaration=declared)
    bench.jump(1.0)
    bench.say(kind, "w", *((60.0, None) if kind is Kind.WORK else ()), declaration=declared)
    assert bench.state() is State.EXPIRED
    bench.say(Kind.NOTE, "w", 2, None, declaration=declared)
    assert bench.state() is State.ALIVE


def test_who_was_idle_gives_no_time_to_another_one_that_makes_no_progress(bench: Bench) -> None:
    """Where each is judged by itself: something could go on."""
    declared = Declaration(10.0, 3.0, 20.0, Feeders.EACH, progress_timeout=5.0)
    bench.say(Kind.NOTE, "w", 1, None, declaration=declared)
    for _ in range(6):
        bench.feed(declaration=declared)
        work(bench, None, who=BOB, declaration=declared)
        bench.jump(0.9)
        work(bench, 60.0, who=BOB, declaration=declared)
    assert [(cause, pid) for _, cause, pid in opened(bench)] == [("no-progress", ALICE.pid)]


def test_after_a_restart_of_the_supervisor_idle_has_a_timeout_until_it_is_said_again(bench: Bench) -> None:
    """Nothing of it is kept: the checkpoint is that of a watchdog that is alive."""
    work(bench, None)
    record = bench.engine.get("w")
    assert record is not None
    kept = checkpoint(record, bench.engine.table.program_of, bench.now)
    assert kept is not None
    assert (kept.state, kept.left) == (State.ALIVE, None)


def test_work_closes_an_incident_as_a_feed_does(bench: Bench) -> None:
    """Recovered, by how fed."""
    bench.feed()
    bench.jump(10.1)
    bench.said()
    work(bench, None)
    (event,) = [effect for effect in bench.out if isinstance(effect, Event)]
    assert (event.type.value, event.data["how"]) == ("recovered", "fed")


def test_idle_in_a_group_counts_as_alive(bench: Bench) -> None:
    """It is well: only nothing is due."""
    work(bench, None)
    record = bench.engine.get("w")
    assert record is not None
    assert record.is_idle
    assert bench.engine.table.states[State.ALIVE] == 1
    assert record.detailed().work_due == inf
