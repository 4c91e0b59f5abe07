"""How often a watchdog may be fed: too fast is found, and nothing that only arrives bunched is called so."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banken.clock import START
from banken.protocol.codec import encode
from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration, Kind, Message
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import Event, EventType, RunCallback
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.rate_limit import BURST, CALM, SLACK, Backlog, Bucket, fed
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.states import State
from engine_kit import ALICE, BOB, Bench

TEN = Declaration(10.0, 3.0, 20.0)
EACH = 2.0
"""The min_interval of most cases."""


def verdict(times: list[float], behind: float = 0.0, min_interval: float = EACH) -> int | None:
    """Index of the first feed that is too fast; None: none is."""
    pace: Bucket | None = None
    for place, at in enumerate(times):
        pace = fed(pace, at, behind, min_interval)
        if pace.fast:
            return place
    return None


@pytest.mark.parametrize(
    ("what", "times", "behind", "expected"),
    [
        ("exactly the pace, for long", [EACH * n for n in range(10_000)], 0.0, None),
        ("slower", [3.0 * n for n in range(1000)], 0.0, None),
        ("once early", [0.0, 2.0, 2.1, 4.1, 6.1], 0.0, None),
        ("a burst of three", [100.0] * 3, 0.0, None),
        ("a burst beyond burst and slack", [100.0] * 10, 0.0, 3),
        ("ten after a stall that held back ten", [100.0] * 10, 20.0, None),
        ("more than the stall can explain", [100.0] * 30, 20.0, 13),
        ("twice the pace", [1.0 * n for n in range(100)], 0.0, 6),
        ("a runaway loop", [0.001 * n for n in range(100)], 0.0, 3),
        ("a tenth above the pace", [EACH / 1.1 * n for n in range(1000)], 0.0, 28),
    ],
)
def test_a_table_of_paces(what: str, times: list[float], behind: float, expected: int | None) -> None:
    """Each row of feeds, and which of them is the first too fast."""
    assert verdict(times, behind) == expected, what


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([0.001, 0.01, 0.3, 2.0, 60.0]),
    st.floats(0.0, 30.0),
)
def test_who_keeps_the_pace_is_never_too_fast_however_late_its_feeds_arrive(
    seed: int, min_interval: float, behind: float
) -> None:
    """Feeds at least min_interval apart, each late by anything up to what may be, in order: no verdict."""
    random = Random(seed)
    at, times, late = 0.0, [], 0.0
    for _ in range(200):
        at += min_interval * (1.0 if random.random() < 0.7 else 1.0 + random.random())
        if random.random() < 0.2:
            late = random.choice((0.0, 1.0, random.random())) * (behind + SLACK)
        times.append(max(at + late, times[-1] if times else 0.0))
    assert verdict(times, behind, min_interval) is None
    assert all(later >= earlier for earlier, later in pairwise(times))


def test_the_backlog_is_the_time_since_all_was_read_and_wears_off() -> None:
    """Ten seconds without a complete read: feeds may be ten seconds late, a second later nine."""
    backlog = Backlog(100.0)
    assert backlog.wake(100.5) == pytest.approx(0.5)
    backlog.drained(complete=True)
    assert backlog.wake(110.5) == pytest.approx(10.0)
    backlog.drained(complete=False)
    assert backlog.wake(111.5) == pytest.approx(11.0), "nor has it all been read since"
    backlog.drained(complete=True)
    assert backlog.wake(112.5) == pytest.approx(10.0)
    for _ in range(20):
        backlog.drained(complete=True)
        last = backlog.wake(backlog._woke + 1.0)
    assert last == pytest.approx(1.0)


# -- in the engine ------------------------------------------------------------------------------------


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.engine.rules.declare("w", Policy(TEN, min_interval=EACH))
    return made


def runaway(bench: Bench, feeds: int = 20) -> None:
    for _ in range(feeds):
        bench.now += 0.01
        bench.feed()


def test_too_fast_is_a_verdict_with_its_cause_and_needs_each_feed_looked_at(bench: Bench) -> None:
    """A runaway loop: one incident, told with the allowed pace; without min_interval there is none."""
    runaway(bench)
    (run,) = [effect for effect in bench.out if isinstance(effect, RunCallback)]
    assert (run.cause, run.reason) == (Cause.TOO_FAST, "fed more often than once in 2 s")
    assert bench.said() == ["declared", "first-fed", "expired"]
    free = Bench()
    runaway(free, 100)
    assert free.said() == ["declared", "first-fed"]


def test_it_ends_when_the_pace_has_been_kept_for_a_while_and_not_before(bench: Bench) -> None:
    """Going on so changes nothing; six feeds that keep the pace end it, and the next incident needs as much."""
    runaway(bench)
    bench.said()
    runaway(bench)
    assert bench.state() is State.EXPIRED
    for _ in range(CALM - 1):
        bench.now += EACH
        bench.feed()
    assert bench.state() is State.EXPIRED
    bench.now += EACH
    bench.feed()
    assert bench.state() is State.ALIVE
    assert bench.said() == ["recovered"]
    runaway(bench, BURST)
    assert bench.state() is State.ALIVE
    runaway(bench)
    assert bench.state() is State.EXPIRED


def test_a_new_process_begins_anew(bench: Bench) -> None:
    """What the former process fed is not the new one's fault."""
    runaway(bench, BURST)
    bench.feed(who=BOB)
    assert bench.state() is State.ALIVE
    for _ in range(BURST - 1):
        bench.feed(who=BOB)
    assert bench.state() is State.ALIVE


def test_feeds_in_a_pause_are_not_counted(bench: Bench) -> None:
    """A hundred during a pause, then the usual pace."""
    bench.feed(who=ALICE)
    bench.say(Kind.PAUSE, "w", 0.0)
    runaway(bench, 100)
    bench.say(Kind.RESUME)
    for _ in range(10):
        bench.now += EACH
        bench.feed()
    assert "expired" not in bench.said()


@pytest.mark.parametrize(("every", "expected"), [(2.05, 0), (0.2, 1)])
def test_stalls_naps_and_floods_convict_nobody(every: float, expected: int) -> None:
    """A whole watch, stopped for up to a minute, napping, overloaded, with feeds read late and bunched."""
    random = Random(7)
    rules = Rules(TEN)
    rules.declare("w", Policy(TEN._replace(timeout=600.0), min_interval=EACH))
    driver = Driver(Engine(rules, "run", b"token"), 50.0)
    frame = encode(Message(Kind.FEED, "w", ALICE, 0.0, None))
    real = sent_until = 50.0
    told: list[Event] = []
    for _ in range(3000):
        asked = driver.patience()
        real += random.choice((0.001, min(asked, 0.5), 1.0, 1.05, 7.0 if random.random() < 0.2 else 0.1))
        if random.random() < 0.02:
            real += random.choice((3.0, 60.0))
        driver.wake(real, asked)
        complete = random.random() > 0.2
        arrived = int((real - sent_until) / every)
        taken = arrived if complete else min(arrived, 1)
        sent_until += taken * every
        driver.read(iter([frame] * taken))
        driver.drained(taken, complete)
        driver.decide()
        told += [e for e in driver.out if isinstance(e, Event) and e.type is EventType.EXPIRED]
        driver.out.clear()
    assert driver.clock.lost > 100.0
    assert driver.now - START < real - 50.0 - 100.0
    assert len(told) >= expected if expected else not told
