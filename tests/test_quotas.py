"""How much one process may ask for: names, identities, starts in the future, and runs of its callbacks."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from banken.process_identity import own_identity
from banken.protocol.messages import Declaration, Feeders, Kind, ProcessIdentity
from banken_supervisor.engine.admission import INCARNATIONS_MAX
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.engine.policy import Quotas
from banken_supervisor.engine.repeat_pace import BURST, RATE, WAIT_MAX, RepeatPace
from banken_supervisor.engine.states import State
from banken_supervisor.processes.handle import SUPPORTED
from banken_supervisor.processes.process_watcher import ProcessWatcher, ticks_now
from engine_kit import ALICE, BOB, ELSEWHERE, Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


def reason(bench: Bench, *args: object, **more: object) -> str | None:
    refused = bench.say(*args, **more)  # type: ignore[arg-type]
    return None if refused is None else refused.reason


# -- names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.FEED, Kind.NOTE, Kind.DECLARE, Kind.WORK, Kind.FAIL])
def test_one_process_has_so_many_names_and_others_have_theirs(bench: Bench, kind: Kind) -> None:
    args = {Kind.NOTE: (1, None), Kind.WORK: (5.0, None), Kind.FAIL: ("no",)}.get(kind, ())
    bench.engine.set_quotas(Quotas(names_per_process=3))
    for number in range(3):
        assert reason(bench, kind, f"w-{number}", *args) is None
    assert reason(bench, kind, "w-3", *args) == "names"
    assert reason(bench, kind, "w-3", *args, who=ALICE._replace(nonce=b"zzzz")) == "names"
    assert reason(bench, kind, "w-2", *args) is None
    assert reason(bench, kind, "other", *args, who=BOB) is None
    assert reason(bench, kind, "nobodys", *args, who=None) is None
    bench.say(Kind.RELEASE, "w-0")
    assert reason(bench, kind, "w-3", *args) is None


def test_what_names_no_process_has_so_many_names(bench: Bench) -> None:
    """Pings, and commands. What the operator declares is not among them."""
    bench.engine.set_quotas(Quotas(names_per_process=3))
    for number in range(5):
        bench.engine.watch(f"declared-{number}", bench.now, bench.out, awaited=True)
    for number in range(3):
        assert reason(bench, Kind.FEED, f"ping-{number}", who=None) is None
    for kind in (Kind.FEED, Kind.DECLARE):
        assert reason(bench, kind, "ping-3", who=None) == "names"
    assert reason(bench, Kind.FEED, "ping-0", who=None) is None
    assert reason(bench, Kind.FEED, "other", who=BOB) is None
    bench.say(Kind.RELEASE, "ping-0", who=None)
    bench.feed("ping-1")  # a process has it now
    bench.now += 2.0
    assert reason(bench, Kind.FEED, "ping-3", who=None) is None
    assert reason(bench, Kind.FEED, "ping-4", who=None) is None
    assert reason(bench, Kind.FEED, "ping-5", who=None) == "names"


def test_a_process_that_ended_leaves_room_for_the_next(bench: Bench) -> None:
    bench.engine.set_quotas(Quotas(names_per_process=2))
    for number in range(3):
        bench.say(Kind.FEED, f"w-{number}")
    bench.engine.processes.exited(ALICE, bench.now, bench.out, 0)
    bench.jump(0.0)
    assert bench.state("w-0") is None
    assert reason(bench, Kind.FEED, "w-2", who=BOB) is None


def test_all_together_have_so_many_names_and_what_is_watched_goes_on(bench: Bench) -> None:
    bench.engine.set_quotas(Quotas(names=2))
    bench.say(Kind.FEED, "a")
    bench.say(Kind.FEED, "b", who=BOB)
    assert reason(bench, Kind.FEED, "c", who=ELSEWHERE) == "full"
    assert reason(bench, Kind.FEED, "a", who=ELSEWHERE) is None
    told = [effect for effect in bench.out if isinstance(effect, Event) and effect.type is EventType.REFUSED]
    assert "raise [supervisor.limits] names" in told[0].data["text"]


# -- identities ------------------------------------------------------------------------------------------


def test_a_process_has_few_identities_whatever_it_says(bench: Bench) -> None:
    """Each has a descriptor of the supervisor's, which notices its end."""
    forged = [ALICE._replace(nonce=number.to_bytes(4, "big")) for number in range(1000)]
    for number, who in enumerate(forged):
        bench.say(Kind.FEED, f"w-{number}", who=who)
    assert len(bench.engine) == INCARNATIONS_MAX
    assert bench.engine.admission.refused["identity"] == 1000 - INCARNATIONS_MAX
    assert reason(bench, Kind.FEED, "honest", who=BOB) is None
    assert reason(bench, Kind.FEED, "w-0", who=forged[0]) is None
    bench.engine.processes.exited(forged[0], bench.now, bench.out, 0)
    bench.jump(0.0)
    assert reason(bench, Kind.FEED, "w-999", who=forged[999]) is None


@pytest.mark.parametrize("feeders", Feeders)
def test_one_name_is_fed_by_few_identities_of_a_process(bench: Bench, feeders: Feeders) -> None:
    declared = Declaration(10.0, 3.0, 20.0, feeders)
    for number in range(200):
        bench.say(Kind.FEED, who=ALICE._replace(nonce=number.to_bytes(4, "big")), declaration=declared)
    table = bench.engine.table
    assert len(table._owned) <= INCARNATIONS_MAX
    assert sum(map(len, table._incarnations.values())) == len(table._owned)


def test_who_started_in_the_future_takes_no_name(bench: Bench) -> None:
    """It would be the newest for ever: the honest one would be refused, and judged."""
    processes = bench.engine.processes
    processes.is_possible = lambda process: process.start < 5000
    bench.feed()
    liar = ALICE._replace(pid=7, start=2**63 - 1)
    assert reason(bench, Kind.FEED, who=liar) == "identity"
    assert reason(bench, Kind.DECLARE, who=liar) == "identity"
    assert reason(bench, Kind.FEED, "new", who=liar) == "identity"
    bench.now += 9.0
    bench.feed()
    bench.jump(9.0)
    assert bench.state() is State.ALIVE
    assert bench.engine.get("w").owner == ALICE  # type: ignore[union-attr]
    assert reason(bench, Kind.FEED, who=BOB) is None  # started later, and not in the future


@pytest.mark.skipif(not SUPPORTED, reason="this system cannot identify processes")
def test_the_kernel_knows_which_starts_are_possible() -> None:
    me, watcher = own_identity(), ProcessWatcher()
    try:
        assert watcher.is_possible(me)
        assert watcher.is_possible(me._replace(start=me.start - 1)), "an earlier process had this pid"
        assert not watcher.is_possible(me._replace(start=me.start + 1)), "this process has it"
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        ended = me._replace(pid=child)
        assert watcher.is_possible(ended._replace(start=ticks_now()))
        assert not watcher.is_possible(ended._replace(start=ticks_now() + 100_000))
        assert watcher.is_possible(ProcessIdentity(b"otherone", me.pid, 2**62, b"nnnn")), "of another host"
        assert watcher.is_possible(me._replace(start=0)), "not known"
    finally:
        watcher.close()


# -- runs of callbacks -----------------------------------------------------------------------------------


def runs(pace: RepeatPace, sources: list[object], interval: float, seconds: float) -> Counter[object]:
    """How often each runs in this time."""
    due = [(source, interval) for source in sources]
    found: Counter[object] = Counter()
    now = 0.0
    while now < seconds:
        for place, (source, at) in enumerate(due):
            if at <= now:
                found[source] += 1
                due[place] = source, pace.next_run(source, now + interval, now)
        now += 0.05
    return found


def test_few_run_as_often_as_they_ask() -> None:
    found = runs(RepeatPace(), list(range(20)), 1.0, 120.0)
    assert min(found.values()) >= 110


def test_a_crowd_of_dead_names_backs_off_and_another_process_does_not() -> None:
    found = runs(RepeatPace(), ["hog"] * 1000 + ["alice"], 1.0, 120.0)
    assert found["hog"] <= BURST + 1000 * 2 + RATE * 120
    assert found["alice"] >= 115


def test_everybody_runs_once_a_minute_at_least() -> None:
    pace, now = RepeatPace(), 1000.0
    for _ in range(3):
        for _ in range(5000):
            after = pace.next_run("hog", now + 1.0, now)
            assert after - now <= WAIT_MAX + 1e-6
        now += WAIT_MAX
    assert pace.next_run("hog", now + 3600.0, now) == now + 3600.0


def test_what_a_storm_asked_for_in_vain_is_no_debt() -> None:
    pace = RepeatPace()
    for _ in range(20_000):
        pace.next_run("hog", 1.0, 0.0)
    rested = WAIT_MAX + BURST / RATE + 1.0
    assert pace.next_run("hog", rested + 1.0, rested) == rested + 1.0


def test_the_engine_asks_it(bench: Bench) -> None:
    fast = Declaration(0.001, 0.001, 0.001)
    for number in range(50):
        bench.say(Kind.FEED, f"w-{number}", declaration=fast)
    bench.out.clear()
    for _ in range(2000):
        bench.jump(0.01)
    repeats = [
        effect for effect in bench.out if isinstance(effect, Event) and effect.type is EventType.CALLBACK_REPEATED
    ]
    assert 50 * 2 < len(repeats) <= BURST + RATE * 20 * 1.2  # 50 x 20 s / 10 ms would be 100,000
