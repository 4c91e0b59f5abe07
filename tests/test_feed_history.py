"""When feeds came: what is noted, what leaves a hole, what a verdict tells of it. A jumped clock."""

from __future__ import annotations

from typing import Any

import pytest

from banken.protocol.codec import encode
from banken.protocol.incidents import Cause, Incident
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor.actions.action_context import ActionContext
from banken_supervisor.actions.base import ActionTarget
from banken_supervisor.engine.effects import Effect, Event, EventType, RunStep
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.feed_history import (
    BURST,
    EVIDENCE_MAX,
    FEEDS_MAX,
    GAP_EDGES,
    HOLES_MAX,
    RATE,
    RECORDED_AGAIN,
    RECORDED_MAX,
    NoteBudget,
)
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.rules import Rules
from banken_supervisor.evidence import feeds_text, render

ALICE = ProcessIdentity(b"bootboot", 100, 1000, b"aaaa")
BOB = ProcessIdentity(b"bootboot", 200, 2000, b"bbbb")
TEN = Declaration(10.0, 3.0, 20.0)


class Bench:
    """A engine, fed as the sockets feed it."""

    def __init__(self, word: Declaration | Policy = TEN) -> None:
        rules = Rules(TEN)
        if isinstance(word, Policy):
            rules.declare("w", word)
        self.engine = Engine(rules, "run", b"token")
        self.now = 1000.0
        self.out: list[Effect] = []

    def feed(
        self, *names: str, after: float = 0.0, who: ProcessIdentity | None = ALICE, kind: Kind = Kind.FEED
    ) -> None:
        self.now += after
        args = {Kind.NOTE: (None, None), Kind.PAUSE: (1000,)}.get(kind, ())
        frames = [encode(Message(kind, name, who, 0.0, None, args)) for name in names or ("w",)]
        self.engine.intake(iter(frames), self.now, self.out)

    def judge(self, after: float) -> None:
        self.now += after
        if self.engine.verdicts.sweep(self.now, self.out):
            self.engine.verdicts.judge(self.now, self.now, self.out)

    def gaps(self, name: str = "w") -> list[float]:
        record = self.engine.get(name)
        assert record is not None
        return [round(gap, 3) for _, gap in self.engine.history.feeds(record, self.now)]

    def expired(self) -> dict[str, Any]:
        (event,) = (e for e in self.out if isinstance(e, Event) and e.type is EventType.EXPIRED)
        return event.data

    def counted(self) -> dict[float, int]:
        counts = zip((*GAP_EDGES, float("inf")), self.engine.history.gap_counts, strict=True)
        return {edge: count for edge, count in counts if count}


@pytest.mark.parametrize("kind", [Kind.FEED, Kind.NOTE])
def test_the_gaps_are_those_between_the_feeds(kind: Kind) -> None:
    """Whether a feed is known by its bytes or decoded; the first one has none."""
    bench = Bench()
    for gap in (0.0, 1.0, 2.0, 0.5):
        bench.feed(after=gap, kind=kind)
    assert bench.gaps() == [1.0, 2.0, 0.5]
    record = bench.engine.get("w")
    assert record is not None
    assert bench.engine.history.feeds(record, bench.now + 4.0) == ((6.5, 1.0), (4.5, 2.0), (4.0, 0.5))
    assert bench.counted() == {0.5: 1, 1.0: 1, 2.0: 1}
    assert bench.engine.history.gap_sum == 3.5


def test_the_last_ones_are_kept() -> None:
    """As many as are promised, and the newest."""
    bench = Bench()
    for number in range(100):
        bench.feed(after=number / 100)
    assert bench.gaps() == [number / 100 for number in range(100 - FEEDS_MAX, 100)]


def test_no_gap_is_made_up_for_a_burst() -> None:
    """Of feeds that were not noted nothing is told, nor of the time across them; the count of time goes on."""
    bench = Bench()
    for _ in range(3):
        bench.feed(after=1.0)
    bench.engine.history.allowed = 0
    for _ in range(5):
        bench.feed(after=0.25)
    assert bench.gaps() == [1.0, 1.0]
    bench.engine.history.allowed = BURST
    for _ in range(3):
        bench.feed(after=3.0)
    assert bench.gaps() == [1.0, 1.0, 3.0, 3.0]
    assert bench.counted() == {1.0: 2, 5.0: 3}, "what a noted feed adds to the histogram is true after a hole, too"
    bench.judge(9.9)
    assert bench.engine.get("w").state.value == "alive"  # type: ignore[union-attr]


def test_a_turn_that_begins_at_leisure_takes_all_that_it_gets() -> None:
    """Where the bucket runs over in the middle, the rest is fed all the same, and leaves a hole."""
    bench = Bench()
    names = [f"w{number}" for number in range(10)]
    bench.feed(*names)
    bench.feed(*names, after=1.0)
    bench.engine.history.allowed = 4
    bench.feed(*names, "new", *names, after=1.0)
    assert {record.fed_at for record in bench.engine.table} == {bench.now}
    bench.engine.history.allowed = BURST
    for _ in range(2):
        bench.feed(*names, after=2.0)
    assert bench.gaps("w9") == [1.0, 2.0]
    assert set(bench.gaps("w0")) <= {1.0, 2.0}, "never the 2.0 + 1.0 across the hole"


def test_just_as_many_as_may_be_noted_leave_no_hole() -> None:
    """The bucket is full to the brim, and nothing more came."""
    bench = Bench()
    bench.feed("a", "b")
    bench.engine.history.allowed = 2
    for _ in range(3):
        bench.feed("a", "b", after=1.0)
    assert bench.gaps("a") == bench.gaps("b") == [1.0, 1.0, 1.0]


def test_holes_are_remembered_to_a_number() -> None:
    """What is older than the oldest hole that is remembered is told no more, rather than told wrong."""
    bench = Bench()
    bench.feed()
    bench.engine.history.allowed = 0
    bench.feed("other", after=0.1)
    bench.engine.history.allowed = BURST
    bench.feed(after=2.0)
    for _ in range(HOLES_MAX + 3):
        bench.engine.history.allowed = 0
        bench.feed("other", after=0.1)
        bench.engine.history.allowed = BURST
        bench.feed("other", after=0.1)
        bench.feed("other", after=0.1)
    bench.feed(after=1.0)
    bench.feed(after=1.0)
    assert bench.gaps() == [1.0], "and not 2.1 across a hole that is forgotten"
    assert set(bench.gaps("other")) == {0.1}


def test_a_long_burst_is_one_hole() -> None:
    """However many turns it has: what was known before it stays known."""
    bench = Bench()
    for _ in range(3):
        bench.feed(after=1.0)
    bench.engine.history.allowed = 0
    for _ in range(2 * HOLES_MAX):
        bench.feed(after=0.1)
    assert bench.gaps() == [1.0, 1.0]


def test_a_new_process_begins_a_trail_of_its_own() -> None:
    """What the former one did is no evidence about this one."""
    bench = Bench()
    for _ in range(3):
        bench.feed(after=1.0)
    bench.feed(after=7.0, who=BOB)
    assert bench.gaps() == []
    bench.feed(after=2.0, who=BOB)
    assert bench.gaps() == [2.0]
    bench.engine.processes.restarted("w", bench.now, bench.out)
    assert bench.gaps() == []


def test_a_resume_is_no_feed() -> None:
    """It sets the time back; a gap is between feeds, and one with a pause in it is not counted among the usual."""
    bench = Bench()
    bench.feed()
    bench.feed(after=1.0)
    bench.feed(kind=Kind.PAUSE)
    bench.feed(after=100.0, kind=Kind.RESUME)
    bench.feed(after=1.0)
    assert bench.gaps() == [1.0, 101.0]
    assert bench.counted() == {1.0: 1}


def test_with_too_many_watchdogs_nobody_has_a_trail() -> None:
    """And when they are few again everybody has; feeds count in all cases."""
    bench = Bench()
    bench.feed()
    bench.feed(after=1.0)
    crowd = [f"w{number}" for number in range(RECORDED_MAX)]
    bench.feed(*crowd[:-1])
    bench.feed(crowd[-1], "w", crowd[0], after=1.0)  # the one too many, and known ones behind it in one portion
    assert [bench.engine.table.by_name[name].fed_at for name in ("w", crowd[0])] == [bench.now] * 2
    bench.feed(after=1.0)
    assert bench.gaps() == []
    assert all(record.feed_times is None for record in bench.engine.table)
    bench.feed(*crowd[RECORDED_AGAIN - 1 :], kind=Kind.RELEASE)
    assert len(bench.engine) == RECORDED_AGAIN
    for _ in range(3):
        bench.feed(after=1.0)
    bench.feed(crowd[0])
    assert bench.gaps() == [1.0, 1.0]


def test_the_bucket_lets_through_what_comes_at_leisure() -> None:
    """A steady rate below RATE for ever; one above it not, until it has been quiet for as long as a burst lasts."""
    bucket = NoteBudget(0.0)
    for number in range(1, 2000):
        assert bucket.wake(number * 0.1) > 0
        bucket.drained(int(RATE * 0.1 * 0.9))
    at = 200.0
    assert bucket.wake(at) > 0
    bucket.drained(50_000)
    assert bucket.wake(at) == 0
    assert bucket.wake(at + 0.9 * BURST / RATE) == 0, "not before it is empty: half-noted trails help nobody"
    assert bucket.wake(at + 1.1 * BURST / RATE) == BURST
    assert bucket.wake(at + 1.1 * BURST / RATE) == BURST
    noted = 0
    for at in (400.0 + number * 0.01 for number in range(1000)):
        noted += min(100, bucket.wake(at))
        bucket.drained(200)
    assert noted < 5_000, "of 200,000 at four times the rate"


def test_a_verdict_tells_the_last_feeds() -> None:
    """With their gaps, the newest last, so many and no more; once, for it is the journal that keeps them."""
    bench = Bench(Policy(TEN, ladder=Ladder((Step("dump"),))))
    for number in range(40):
        bench.feed(after=1 + number / 100)
    bench.judge(10.0)
    feeds = bench.expired()["feeds"]
    assert len(feeds) == EVIDENCE_MAX
    assert feeds[-1] == (10.0, 1.39)
    assert feeds[-2] == (11.39, 1.38)
    (step,) = (e for e in bench.out if isinstance(e, RunStep))
    assert step.feeds == feeds
    bench.judge(3.1)
    (again,) = (e for e in bench.out if isinstance(e, Event) and e.type is EventType.CALLBACK_REPEATED)
    assert "feeds" not in again.data


def test_a_verdict_without_feeds_tells_none() -> None:
    """Nobody fed it, or once only: there is no gap to tell."""
    bench = Bench()
    bench.engine.declare("w", TEN, bench.now, bench.out)
    bench.judge(20.0)
    assert "feeds" not in bench.expired()


def test_the_feeds_in_words() -> None:
    """As people read them, with a mark where some are missing."""
    feeds = [[33.0, 1.0], [32.0, 1.0], [30.9, 1.1], [30.0, 0.9]]
    assert feeds_text(feeds, 30.0) == "1 s, 1 s, 1.1 s, 0.9 s apart; then 30 s of silence"
    assert feeds_text([[2.0, 0.004], [1.0, 0.5]], 0.02) == "4 ms, …, 0.5 s, … apart; then 20 ms of silence"


@pytest.mark.parametrize("who", [None, ProcessIdentity(b"elsewher", 1, 1, b"aaaa")])
def test_a_dump_has_the_feeds_the_status_and_the_progress(who: ProcessIdentity | None) -> None:
    """Also where no process can be looked at; shown without the worker's escapes."""
    incident = Incident("run-1", "w", Cause.TIMEOUT, 0.0, 4.0, 3.0, 1, None, "epoch\x1b[2J 3", 0)
    world = ActionContext("/nowhere", lambda name, incident: None, lambda name: None)
    found = dict(world.collect(ActionTarget(incident, who, feeds=((5.0, 1.0), (4.0, 1.0))), 1.0))
    assert found["said"]["feeds"] == [[5.0, 1.0], [4.0, 1.0]]
    lines = render(found)
    assert "last feeds: 1 s, 1 s apart; then 4 s of silence" in lines
    assert "last progress: 0" in lines
    assert not any("\x1b" in line for line in lines)
