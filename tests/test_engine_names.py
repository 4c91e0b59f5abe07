"""The pure core: who owns a name, and whose word on its timing stands: the operator's or the worker's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from banken.protocol.messages import Declaration, Feeders, Kind, ProcessIdentity
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import EXIT_ONLY, Policy
from banken_supervisor.engine.states import State
from banken_supervisor.engine.table import POOL_FRAMES_MAX
from engine_kit import ALICE, BOB, ELSEWHERE, TEN, Bench, counted_bench, opened


@pytest.fixture
def bench() -> Iterator[Bench]:
    with counted_bench() as made:
        yield made


def test_a_restarted_worker_takes_its_name_over(bench: Bench) -> None:
    """A later process start owns the name; the earlier process is refused and the contest told once."""
    bench.feed(who=ALICE)
    bench.feed(who=BOB)
    assert bench.said() == ["declared", "first-fed"]
    for _ in range(3):
        bench.jump(4.0)
        bench.feed(who=ALICE)
    assert bench.state() is State.EXPIRED, "the old one's feeds prove nothing"
    assert bench.said() == ["contest", "refused", "refused", "expired", "refused"]
    bench.feed(who=BOB)
    assert bench.state() is State.ALIVE


def test_on_one_host_the_order_of_arrival_does_not_matter(bench: Bench) -> None:
    """After a restart of the supervisor the newer process may be heard first: the older is refused."""
    bench.feed(who=BOB)
    assert bench.say(Kind.FEED, "w", who=ALICE) is not None
    assert bench.say(Kind.FEED, "w", who=BOB) is None


def test_across_hosts_the_last_to_arrive_owns_the_name(bench: Bench) -> None:
    """Start ticks of different boots cannot be compared; whoever was displaced stays so."""
    bench.feed(who=BOB)
    assert bench.say(Kind.FEED, "w", who=ELSEWHERE) is None
    assert bench.say(Kind.FEED, "w", who=BOB) is not None
    assert bench.say(Kind.RELEASE, "w", who=BOB) is not None, "nor may it release what is not its own"


def test_a_pool_is_fed_by_any_process() -> None:
    """feeders='any': each process proves life, known by its bytes, for more processes than are remembered."""
    bench = Bench()
    pool = TEN._replace(feeders=Feeders.ANY)
    workers = [ProcessIdentity(b"bootboot", pid, pid, b"pppp") for pid in range(1, POOL_FRAMES_MAX + 10)]
    for who in workers * 2:
        bench.jump(9.0)
        bench.feed(who=who, declaration=pool)
    assert bench.said() == ["declared", "first-fed"]
    for who in workers[:-1]:
        bench.say(Kind.RELEASE, who=who, declaration=pool)
    assert bench.said() == []
    bench.say(Kind.RELEASE, who=workers[-1], declaration=pool)
    bench.jump(50.0)
    assert bench.said() == ["released"]


def test_a_new_process_that_declares_gets_a_grace_of_its_own(bench: Bench) -> None:
    """Start-up after a restart is not silence: the old incident is closed as reborn."""
    bench.feed(who=ALICE)
    bench.jump(10.0)
    bench.out.clear()
    bench.say(Kind.DECLARE, who=BOB)
    assert bench.said() == ["closed"]
    bench.jump(19.0)
    assert bench.state() is State.WAITING
    bench.jump(1.1)
    assert bench.state() is State.EXPIRED


@pytest.mark.parametrize("who", [None, ALICE])
@pytest.mark.parametrize("feeders", list(Feeders))
@pytest.mark.parametrize("kind", [Kind.DECLARE, Kind.EXTEND])
def test_another_grace_begins_when_it_is_declared(
    bench: Bench, who: ProcessIdentity | None, feeders: Feeders, kind: Kind
) -> None:
    """It has waited for longer than that already. The same grace, said again, gives no time; nor does another
    timeout."""
    long = TEN._replace(feeders=feeders)
    short = long._replace(grace=4.0)
    bench.say(Kind.DECLARE, who=who, declaration=long)
    bench.jump(8.0)
    bench.say(kind, "w", *((0.5,) if kind is Kind.EXTEND else ()), who=ALICE if kind is Kind.DECLARE else who,
              declaration=short)  # fmt: skip
    for _ in range(3):
        bench.jump(1.0)
        bench.say(Kind.DECLARE, who=who, declaration=short._replace(timeout=bench.now))
    assert bench.state() is State.WAITING
    bench.jump(0.9)
    assert bench.state() is State.WAITING
    bench.jump(0.2)
    assert [cause for _, cause, _ in opened(bench)] == ["grace"]


def test_the_operators_word_stands(bench: Bench) -> None:
    """Declared by both: the operator's timeout rules, and the difference is told once."""
    bench.engine.declare("w", Declaration(5.0, 1.0, 5.0), bench.now, bench.out)
    for _ in range(3):
        bench.feed(declaration=Declaration(500.0, 1.0, 500.0))
        bench.jump(4.0)
    assert bench.said() == ["declared", "conflict", "first-fed"]
    bench.jump(1.1)
    assert bench.state() is State.EXPIRED


def test_an_operator_may_speak_after_the_worker(bench: Bench) -> None:
    """A declaration with a shorter timeout is in force at once, without another feed."""
    bench.feed(declaration=Declaration(500.0, 1.0, 500.0))
    bench.engine.declare("w", Declaration(5.0, 1.0, 5.0), bench.now, bench.out)
    bench.jump(5.1)
    assert bench.state() is State.EXPIRED


def test_a_worker_may_change_its_mind(bench: Bench) -> None:
    """A declaration with another timeout replaces the last, shorter or longer."""
    bench.feed(declaration=Declaration(100.0, 1.0, 100.0))
    bench.feed(declaration=Declaration(5.0, 1.0, 5.0))
    bench.jump(4.9)
    bench.feed(declaration=Declaration(50.0, 1.0, 50.0))
    bench.jump(49.0)
    assert bench.state() is State.ALIVE
    bench.jump(1.1)
    assert bench.state() is State.EXPIRED


def test_undeclared_names_are_refused_where_the_operator_wants_it_so() -> None:
    """Without defaults a name must be declared by somebody; the refusal is told, but not every time."""
    bench = Bench(defaults=None)
    for _ in range(100):
        assert bench.say(Kind.FEED) is not None
    assert bench.said() == ["refused"]
    assert bench.engine.admission.refused["undeclared"] == 100
    bench.say(Kind.FEED, declaration=TEN)
    assert bench.state() is State.ALIVE


def test_a_pattern_declares_what_matches_it(bench: Bench) -> None:
    """The first matching pattern, and an exact name before any pattern."""
    patterns = [("worker-*", Declaration(7.0, 1.0, 7.0)), ("*", Declaration(8.0, 1.0, 8.0))]
    bench.engine.rules.replace_patterns(patterns)
    bench.engine.rules.declare("worker-9", Declaration(9.0, 1.0, 9.0))
    for name in ("worker-1", "worker-9", "other"):
        bench.feed(name)
    assert [record.declaration.timeout for record in bench.engine.table] == [7.0, 9.0, 8.0]


@pytest.mark.parametrize("order", ["exact first", "pattern first"])
def test_an_exact_name_of_the_config_comes_before_every_pattern(bench: Bench, order: str) -> None:
    """Wherever it stands in the file."""
    told = [("web-1", Declaration(2.0, 1.0, 2.0)), ("web-*", Declaration(60.0, 1.0, 60.0))]
    bench.engine.rules.replace_patterns(told if order == "exact first" else reversed(told))
    for name in ("web-1", "web-2"):
        bench.feed(name)
    assert [record.declaration.timeout for record in bench.engine.table] == [2.0, 60.0]


def test_a_strangers_probe_is_refused(bench: Bench) -> None:
    """Only the supervisor's own token settles a hold."""
    bench.say(Kind.PROBE, "banken", b"guess", 1)
    assert bench.engine.probes_seen == []
    assert bench.engine.admission.refused["probe"] == 1
    bench.say(Kind.PROBE, "banken", b"token", 7)
    assert bench.engine.probes_seen == [7]


def test_a_policy_that_yields_leaves_the_timing_to_the_worker(bench: Bench) -> None:
    """A program that is judged by its end alone has ten years; once its worker declares a timeout that one counts,
    without a conflict, and the operator's ladder is climbed."""
    ladder = Ladder((Step("log"),))
    bench.engine.declare("w", EXIT_ONLY._replace(ladder=ladder), bench.now, bench.out)
    bench.jump(86_400.0 * 365)
    assert bench.said() == ["declared"]
    bench.say(Kind.FEED, declaration=TEN)
    bench.jump(9.9)
    assert bench.said() == ["first-fed"]
    bench.jump(0.2)
    assert bench.said() == ["expired", "action"]
    bench.engine.declare("w", EXIT_ONLY, bench.now, bench.out)  # a reload changes nothing of that
    record = bench.engine.get("w")
    assert record is not None
    assert (record.declaration, record.operator) == (TEN, False)


def test_a_policy_that_does_not_yield_stands_over_the_worker(bench: Bench) -> None:
    """The operator's own timing is in force, and the difference is told."""
    bench.engine.declare("w", Policy(Declaration(5.0, 3.0, 5.0)), bench.now, bench.out)
    bench.say(Kind.FEED, declaration=TEN)
    bench.jump(5.1)
    assert bench.said() == ["declared", "conflict", "first-fed", "expired"]


def test_a_process_that_owns_no_name_any_more_is_forgotten(bench: Bench) -> None:
    """Ten thousand processes take one name from each other, and the last one releases it: nothing is left of
    them."""
    for number in range(10_000):
        bench.feed(who=ALICE._replace(pid=1000 + number, start=1000 + number))
    assert len(bench.engine.table._owned) == 1
    bench.say(Kind.RELEASE, who=ALICE._replace(pid=10_999, start=10_999))
    assert len(bench.engine.table._owned) == 0


def test_the_end_of_a_process_counts_for_what_it_still_owns(bench: Bench) -> None:
    """It had a thousand names and lost all but one: that one is judged when it ends, and no other."""
    for number in range(1000):
        bench.feed(f"w-{number}", who=ALICE)
    for number in range(999):
        bench.feed(f"w-{number}", who=BOB)
    bench.said()
    bench.engine.processes.exited(ALICE, bench.now, bench.out)
    bench.jump(0.1)
    assert [(each.name, each.data["cause"]) for each in bench.out if getattr(each, "type", "") == "expired"] == [
        ("w-999", "exited")
    ]
