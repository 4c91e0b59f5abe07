"""The pure core: what arrives changes watchdogs, what is due becomes a verdict. A jumped clock, no waiting."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from banken.protocol.codec import encode
from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration, Feeders, Kind, Message, ProcessIdentity
from banken_supervisor.engine.effects import Event, EventType, RunCallback
from banken_supervisor.engine.states import State
from engine_kit import ALICE, BOB, TEN, Bench, counted_bench, opened


@pytest.fixture
def bench() -> Iterator[Bench]:
    with counted_bench() as made:
        yield made


def test_a_silent_worker_expires_at_its_timeout_and_not_before(bench: Bench) -> None:
    """Fed at 0 with a timeout of 10: nothing at 9.99, a verdict at 10."""
    bench.feed()
    assert bench.said() == ["declared", "first-fed"]
    bench.jump(9.99)
    assert bench.said() == []
    bench.jump(0.012)
    runs = [effect for effect in bench.out if isinstance(effect, RunCallback)]
    assert bench.said() == ["expired"]
    assert [(run.name, run.cause, run.run) for run in runs] == [("w", Cause.TIMEOUT, 1)]
    assert runs[0].silence == pytest.approx(10.002)
    assert runs[0].due == pytest.approx(1010.0)


def test_a_fed_worker_never_expires(bench: Bench) -> None:
    """A thousand feeds nine seconds apart: no verdict."""
    for _ in range(1000):
        bench.feed()
        bench.jump(9.0)
    assert bench.said() == ["declared", "first-fed"]


def test_the_resolution_is_added_to_the_deadline(bench: Bench) -> None:
    """The sender may have swallowed a feed for that long."""
    bench.feed(resolution=0.5)
    bench.jump(10.4)
    assert bench.state() is State.ALIVE
    bench.jump(0.2)
    assert bench.state() is State.EXPIRED


def test_the_callback_runs_again_every_interval_until_a_feed(bench: Bench) -> None:
    """Runs 1, 2, 3 at 10, 13, 16 s; a feed ends it and the next incident has another id."""
    bench.feed()
    bench.jump(10.0)
    for _ in range(2):
        bench.jump(3.0)
    runs = [effect for effect in bench.out if isinstance(effect, RunCallback)]
    assert [run.run for run in runs] == [1, 2, 3]
    assert {run.incident for run in runs} == {"run-1"}
    bench.feed()
    assert bench.said()[-4:] == ["expired", "callback-repeated", "callback-repeated", "recovered"]
    bench.jump(10.0)
    assert [effect.incident for effect in bench.out if isinstance(effect, RunCallback)] == ["run-2"]


def test_runs_that_a_stall_made_miss_are_not_made_up_for(bench: Bench) -> None:
    """One run after a leap over ten intervals, the next one an interval later."""
    bench.feed()
    bench.jump(10.0)
    bench.out.clear()
    bench.jump(30.0)
    assert bench.said() == ["callback-repeated"]
    bench.jump(2.9)
    assert bench.said() == []
    bench.jump(0.2)
    assert bench.said() == ["callback-repeated"]


def test_never_fed_is_a_verdict_of_its_own(bench: Bench) -> None:
    """Declared and silent for ``grace``: cause grace."""
    bench.say(Kind.DECLARE, declaration=TEN)
    bench.jump(19.9)
    assert bench.state() is State.WAITING
    bench.jump(0.2)
    runs = [(e.cause, e.reason) for e in bench.out if isinstance(e, RunCallback)]
    assert runs == [(Cause.GRACE, "its worker declared it, and never fed it in its 20 s grace")]


def test_a_feed_that_is_known_by_its_bytes_does_all_that_a_decoded_one_does(bench: Bench) -> None:
    """The second feed is not decoded, and counts; after a verdict it is looked at again."""
    bench.feed()
    decoded = bench.engine.decoded_bytes
    bench.jump(9.0)
    bench.feed()
    assert bench.engine.decoded_bytes == decoded
    bench.jump(9.0)
    assert bench.state() is State.ALIVE
    bench.jump(2.0)
    assert bench.state() is State.EXPIRED
    bench.feed()
    assert bench.engine.decoded_bytes > decoded
    assert bench.state() is State.ALIVE


def test_an_exception_of_the_source_loses_nothing(bench: Bench) -> None:
    """What was yielded before the exception has been taken: that is how a drain ends."""

    def source() -> Iterator[bytes]:
        for name in ("a", "b"):
            yield encode(Message(Kind.FEED, name, ALICE, 0.0, None))
        raise BlockingIOError

    with pytest.raises(BlockingIOError):
        bench.engine.intake(source(), bench.now, bench.out)
    assert len(bench.engine) == 2


def test_a_failure_is_a_verdict_at_once(bench: Bench) -> None:
    """``fail`` opens an incident with the worker's reason; a second one is told, not doubled; a feed ends it."""
    bench.feed()
    bench.say(Kind.FAIL, "w", "disk on fire")
    (run,) = [effect for effect in bench.out if isinstance(effect, RunCallback)]
    assert (run.cause, run.reason) == (Cause.FAILED, "disk on fire")
    assert bench.said() == ["declared", "first-fed", "expired"]
    bench.say(Kind.FAIL, "w", "still")
    assert bench.said() == ["failed"]
    bench.feed()
    assert bench.said() == ["recovered"]


def test_a_pause_suspends_judgement_and_ends_with_a_whole_timeout(bench: Bench) -> None:
    """Paused for an hour: silence is nothing; then ten seconds to feed."""
    bench.feed()
    bench.say(Kind.PAUSE, "w", 3600.0)
    bench.jump(3599.0)
    assert bench.state() is State.PAUSED
    bench.jump(1.1)
    assert bench.state() is State.ALIVE
    bench.jump(9.9)
    assert bench.state() is State.ALIVE
    bench.jump(0.2)
    assert bench.state() is State.EXPIRED
    assert bench.said() == ["declared", "first-fed", "paused", "resumed", "expired"]


def test_a_pause_without_end_lasts_until_it_is_resumed(bench: Bench) -> None:
    """Ten years are nothing; resume gives a whole timeout; feeds meanwhile change nothing."""
    bench.feed()
    bench.say(Kind.PAUSE, "w", 0.0)
    bench.jump(3e8)
    bench.feed()
    assert bench.state() is State.PAUSED
    bench.say(Kind.RESUME)
    bench.jump(9.9)
    assert bench.state() is State.ALIVE
    bench.jump(0.2)
    assert bench.state() is State.EXPIRED


def test_a_pause_closes_the_open_incident(bench: Bench) -> None:
    """An operator has taken over: no more runs, and the incident says how it ended."""
    bench.feed()
    bench.jump(10.0)
    bench.out.clear()
    bench.say(Kind.PAUSE, "w", 0.0)
    (closed,) = [e for e in bench.out if isinstance(e, Event) and e.type is EventType.CLOSED]
    assert closed.data["how"] == "paused"
    bench.out.clear()
    bench.jump(100.0)
    assert bench.said() == []


def test_extend_gives_time_once(bench: Bench) -> None:
    """The next feed may come at 60 s; the one after it has the usual timeout again."""
    bench.feed()
    bench.say(Kind.EXTEND, "w", 60.0)
    bench.jump(59.0)
    assert bench.state() is State.ALIVE
    bench.feed()
    bench.jump(9.9)
    assert bench.state() is State.ALIVE
    bench.jump(0.2)
    assert bench.state() is State.EXPIRED


def test_an_extension_runs_out(bench: Bench) -> None:
    """And never makes a deadline earlier."""
    bench.feed()
    bench.say(Kind.EXTEND, "w", 1.0)
    bench.jump(9.0)
    assert bench.state() is State.ALIVE
    bench.say(Kind.EXTEND, "w", 30.0)
    bench.jump(30.1)
    assert bench.state() is State.EXPIRED


@pytest.mark.parametrize("feeders", Feeders)
@pytest.mark.parametrize("who", [ALICE, None])
def test_a_shorter_extension_counts_from_when_it_is_said(
    bench: Bench, feeders: Feeders, who: ProcessIdentity | None
) -> None:
    """Its worker needs less time than it had thought, and hangs then. So it is where an operator says it."""
    for _ in range(2):
        bench.feed(declaration=TEN._replace(feeders=feeders))
    bench.say(Kind.EXTEND, "w", 3600.0, who=who)
    bench.jump(10.0)
    bench.say(Kind.EXTEND, "w", 30.0, who=who)
    bench.jump(29.9)
    assert bench.state() is State.ALIVE
    bench.jump(0.2)
    assert bench.state() is State.EXPIRED


@pytest.mark.parametrize("feeders", Feeders)
def test_what_says_that_it_ends_has_no_extension(bench: Bench, feeders: Feeders) -> None:
    """It has the time to end, and hangs in it."""
    bench.engine.processes.tells_end = lambda process: True
    for _ in range(2):
        bench.feed(declaration=TEN._replace(feeders=feeders))
    bench.say(Kind.EXTEND, "w", 3600.0)
    bench.jump(10.0)
    bench.say(Kind.LEAVING, "w", None)
    bench.jump(9.9)
    assert bench.state() is State.ALIVE
    bench.jump(0.2)
    assert bench.state() is State.EXPIRED


def test_released_is_forgotten(bench: Bench) -> None:
    """No verdict after a release; a later feed declares it anew."""
    bench.feed()
    bench.say(Kind.RELEASE)
    assert bench.state() is None
    bench.jump(100.0)
    assert bench.said() == ["declared", "first-fed", "released"]
    bench.feed()
    assert bench.said() == ["declared", "first-fed"]


def test_releasing_what_is_unknown_is_refused_quietly(bench: Bench) -> None:
    """Counted, told to the asker, not announced."""
    refused = bench.say(Kind.RELEASE, "nobody")
    assert refused is not None
    assert refused.reason == "unknown"
    assert bench.said() == []
    assert bench.engine.admission.refused["unknown"] == 1


def test_beating_is_not_progressing(bench: Bench) -> None:
    """With a progress timeout of 5, feeds alone do not help; a changed value does."""
    declared = TEN._replace(progress_timeout=5.0)
    bench.say(Kind.NOTE, "w", 1, None, declaration=declared)
    for _ in range(4):
        bench.jump(1.2)
        bench.feed(declaration=declared)
    bench.jump(0.3)
    assert [e.cause for e in bench.out if isinstance(e, RunCallback)] == [Cause.NO_PROGRESS]
    bench.feed(declaration=declared)
    assert bench.state() is State.EXPIRED
    bench.say(Kind.NOTE, "w", 1, None, declaration=declared)
    assert bench.state() is State.EXPIRED
    bench.say(Kind.NOTE, "w", 2, "moving", declaration=declared)
    assert bench.state() is State.ALIVE
    for step in range(3, 20):
        bench.jump(4.9)
        bench.say(Kind.NOTE, "w", step, None, declaration=declared)
    assert bench.state() is State.ALIVE


def test_what_gives_no_progress_value_has_none_that_stands_still(bench: Bench) -> None:
    """Whatever else it says of itself. Its first value begins the time."""
    declared = TEN._replace(progress_timeout=5.0)
    for kind, args in ((Kind.NOTE, (None, "loading")), (Kind.WORK, (8.0, None)), (Kind.FEED, ())):
        for _ in range(3):
            bench.say(kind, "w", *args, declaration=declared)
            bench.jump(4.0)
    assert opened(bench) == []
    bench.say(Kind.NOTE, "w", 1, None, declaration=declared)
    bench.jump(5.0)
    bench.jump(0.1)
    assert [cause for _, cause, _ in opened(bench)] == [Cause.NO_PROGRESS]


def test_a_new_process_begins_its_progress_anew_even_during_a_pause(bench: Bench) -> None:
    """The value that the former process had reached is movement when the next one reaches it.

    Found by a night of the simulation, seed 1908.
    """
    steady = Declaration(10.0, 3.0, 20.0, progress_timeout=30.0)
    bench.say(Kind.NOTE, "w", 2, None, declaration=steady)
    bench.say(Kind.PAUSE, "w", 0.0)
    bench.say(Kind.DECLARE, who=BOB, declaration=steady)
    bench.jump(25.0)
    bench.say(Kind.RESUME, who=BOB, declaration=steady)
    bench.jump(8.0)
    bench.say(Kind.NOTE, "w", 2, None, who=BOB, declaration=steady)
    for _ in range(4):
        bench.jump(7.0)
        bench.feed(who=BOB, declaration=steady)
    assert "expired" not in bench.said()


def test_status_and_progress_are_told_with_the_incident(bench: Bench) -> None:
    """The last thing a worker said is part of what is known about its silence."""
    bench.say(Kind.NOTE, "w", 17, "loading shard 3")
    bench.jump(10.0)
    (run,) = [effect for effect in bench.out if isinstance(effect, RunCallback)]
    assert (run.progress, run.status) == (17, "loading shard 3")


def test_verdicts_come_in_bounded_portions(bench: Bench) -> None:
    """Ten thousand deadlines at one moment: each judged once, at most as many at a time as asked for."""
    for number in range(10_000):
        bench.feed(f"w{number}")
    bench.out.clear()
    bench.now += 11.0
    assert bench.engine.verdicts.sweep(bench.now, bench.out)
    more, portions = True, []
    while more:
        more = bench.engine.verdicts.judge(bench.now, bench.now, bench.out, 700)
        portions.append(sum(isinstance(e, RunCallback) for e in bench.out))
        bench.out.clear()
    assert max(portions) == 700
    assert sum(portions) == 10_000


def test_a_feed_between_suspicion_and_verdict_acquits(bench: Bench) -> None:
    """A suspect that is fed before judge is called is armed again and lives."""
    bench.feed()
    bench.now += 11.0
    assert bench.engine.verdicts.sweep(bench.now, bench.out)
    bench.feed()
    assert not bench.engine.verdicts.judge(bench.now, bench.now, bench.out)
    assert bench.state() is State.ALIVE
    bench.jump(10.1)
    assert bench.state() is State.EXPIRED


def test_nothing_is_judged_beyond_the_horizon(bench: Bench) -> None:
    """A deadline later than the horizon waits for the next one."""
    bench.feed()
    bench.now += 11.0
    bench.engine.verdicts.sweep(bench.now, bench.out)
    bench.engine.verdicts.judge(bench.now - 5.0, bench.now, bench.out)
    assert bench.state() is State.ALIVE
    bench.jump(0.0)
    assert bench.state() is State.EXPIRED


def test_a_late_listener_is_told_of_the_open_incident(bench: Bench) -> None:
    """As an event that says that it is a replay; nothing when there is none."""
    bench.feed()
    assert bench.engine.incidents.replay("w", bench.now) is None
    bench.jump(10.0)
    event = bench.engine.incidents.replay("w", bench.now)
    assert event is not None
    assert event.data["replay"] is True
    assert event.data["incident"] == "run-1"
