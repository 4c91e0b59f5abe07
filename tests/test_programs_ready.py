"""A program is ready when its spec says so, and what starts after it starts then, whatever the order."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from banken_supervisor.engine.policy import Group, Readiness, Restart, Strategy
from banken_supervisor.programs.engine.groups import Grouping
from banken_supervisor.programs.engine.states import ProgramState
from program_bench import Bench, spec

NOTIFY = Readiness(notify=True)


def state(bench: Bench, name: str) -> ProgramState:
    program = bench.core.get(name)
    assert program is not None
    return program.state


def test_what_starts_after_another_waits_until_that_is_ready() -> None:
    """A process is not enough; and the order, which says otherwise, does not count."""
    bench = Bench(spec("app", after=("db",), order=1), spec("db", ready=NOTIFY, order=5), start=False)
    assert bench.ask("start", ["app", "db"]) == ["spawn db"]
    assert bench.started("db") == []
    assert state(bench, "app") is ProgramState.QUEUED
    assert [event.data for event in bench.events if event.type.value == "program-waits"] == [{"for": ["db"]}]
    bench.now += 3.0
    assert bench.words(bench.core.ready("db", bench.now)) == ["spawn app"]
    assert bench.events[-1].data == {"after": 3.0}
    assert bench.words(bench.core.ready("db", bench.now)) == []
    bench.started("app")
    assert bench.ask("stop", ["app", "db"]) == ["15 app"]  # and in the other direction
    assert bench.exited("app") == ["15 db"]


def test_without_readiness_the_process_is_enough() -> None:
    """A chain of three starts one after the other."""
    bench = Bench(spec("c", after=("b",)), spec("b", after=("a",)), spec("a"), start=False)
    assert bench.ask("start", ["a", "b", "c"]) == ["spawn a"]
    assert bench.started("a") == ["spawn b"]
    assert bench.started("b") == ["spawn c"]


def test_others_do_not_wait_long_for_one_that_waits() -> None:
    """One that waits for what is never ready holds up a later order for ten seconds, and then nobody."""
    bench = Bench(spec("db", ready=NOTIFY), spec("app", after=("db",)), spec("web", order=2), start=False)
    assert bench.ask("start", ["db", "app", "web"]) == ["spawn db"]
    assert bench.started("db") == []
    assert bench.wait(9.9) == []
    assert bench.wait(0.2) == ["spawn web"]
    bench.started("web")
    assert bench.words(bench.core.ready("db", bench.now)) == ["spawn app"]


def test_one_that_went_down_is_not_ready() -> None:
    """After a failure it is waited for again; after an end in order what came after it may start."""
    specs = spec("db", ready=NOTIFY), spec("app", after=("db",), restart=Restart.NEVER)
    bench = Bench(*specs, start=False)
    bench.ask("start", ["db", "app"])
    bench.started("db")
    bench.words(bench.core.ready("db", bench.now))
    bench.started("app")
    bench.exited("app", 0)
    bench.exited("db", 1)
    assert bench.ask("start", "app") == []
    assert bench.wait(1.0) == ["spawn db"]
    assert bench.started("db") == []
    assert bench.words(bench.core.ready("db", bench.now)) == ["spawn app"]
    once = Bench(spec("migrate", restart=Restart.ON_FAILURE), spec("app", after=("migrate",)), start=False)
    assert once.ask("start", "migrate") == ["spawn migrate"]
    once.started("migrate")
    once.exited("migrate", 0)
    assert once.ask("start", "app") == ["spawn app"]


def test_one_that_is_ready_when_it_has_ended() -> None:
    """A job: a clean end lets others start, its process and an unclean end do not. A new run is waited for."""
    job = spec("job", ready=Readiness(ended=True), restart=Restart.ON_FAILURE)
    bench = Bench(job, spec("app", after=("job",)), start=False)
    assert bench.ask("start", ["job", "app"]) == ["spawn job"]
    assert bench.started("job") == []
    assert bench.exited("job", 1) == []
    assert bench.wait(1.0) == ["spawn job"]
    bench.started("job")
    assert bench.exited("job", 0) == ["spawn app"]
    assert [event.type.value for event in bench.events].count("program-ready") == 1
    bench.started("app")
    bench.ask("stop", "app")
    bench.exited("app", 0)
    assert bench.ask("start", ["job", "app"]) == ["spawn job"]
    bench.started("job")
    assert bench.ask("stop", "job") == ["15 job"]
    assert bench.exited("job", 0) == [], "one that was stopped has prepared nothing"


def test_a_job_that_gives_up_is_not_ready() -> None:
    """With one attempt, its failure is no readiness."""
    job = spec("job", ready=Readiness(ended=True), restart=Restart.NEVER)
    bench = Bench(job, spec("app", after=("job",)), start=False)
    bench.ask("start", ["job", "app"])
    bench.started("job")
    assert bench.exited("job", 3) == []
    assert state(bench, "app") is ProgramState.QUEUED


def test_one_that_waits_can_be_stopped_and_its_spec_changed() -> None:
    """A stop ends its waiting. A config in which it waits for nobody starts it."""
    specs = spec("db", ready=NOTIFY), spec("app", after=("db",))
    bench = Bench(*specs, start=False)
    bench.ask("start", ["db", "app"])
    bench.started("db")
    assert bench.ask("stop", "app") == []
    assert state(bench, "app") is ProgramState.STOPPED
    assert bench.words(bench.core.ready("db", bench.now)) == []
    bench.ask("restart", "db")
    bench.exited("db", 0)
    bench.started("db")
    assert bench.ask("start", "app") == []
    assert bench.words(bench.core.apply((specs[0], spec("app")), (), bench.now)) == ["spawn app"]


def test_a_group_restart_keeps_the_order() -> None:
    """All for one: what starts after another waits for it again."""
    group = Group("all", ("db", "app"), strategy=Strategy.ONE_FOR_ALL)
    bench = Bench(spec("db", ready=NOTIFY), spec("app", after=("db",)), groups=(group,), start=False)
    bench.ask("start", ["db", "app"])
    bench.started("db")
    bench.words(bench.core.ready("db", bench.now))
    bench.started("app")
    assert bench.exited("db", 1) == ["15 app"]
    bench.exited("app", 0)
    assert bench.wait(1.0) == ["spawn db"]
    assert bench.started("db") == []
    assert bench.words(bench.core.ready("db", bench.now)) == ["spawn app"]


def test_an_adopted_one_is_as_it_was() -> None:
    """It is ready if it was, and else waited for."""
    for was in (True, False):
        bench = Bench(spec("db", ready=NOTIFY), spec("app", after=("db",)), start=False)
        bench.words(bench.core.started("db", 1, bench.now, adopted=True, ready=was))
        assert bench.ask("start", "app") == (["spawn app"] if was else [])


def test_a_stop_may_be_given_more_time() -> None:
    """No earlier than asked for, and never earlier than it was."""
    bench = Bench(spec("db"))
    bench.ask("stop", "db")
    bench.core.extend_stop("db", bench.now + 1.0)
    bench.core.extend_stop("db", bench.now + 5.0)
    assert bench.wait(4.9) == []
    assert bench.wait(0.2) == ["kill db"]


@given(st.data())
def test_ranks(data: Any) -> None:
    """Whatever the orders: what starts after another has the higher rank, and the others stay in their order."""
    count = data.draw(st.integers(1, 8))
    names = [f"p{number}" for number in range(count)]
    specs = [
        spec(
            name, order=data.draw(st.integers(-2, 2)),
            after=tuple(data.draw(st.sets(st.sampled_from(names[:place])))) if place else (),
        )
        for place, name in enumerate(names)
    ]  # fmt: skip
    grouping = Grouping(data.draw(st.permutations(specs)))
    for each in specs:
        assert all(grouping.rank(other) < grouping.rank(each.name) for other in each.after)
        if not each.after:
            assert grouping.rank(each.name) == (each.order, 0, 0)
