"""Programs in groups, decided: who goes down with one, in which order they come back, and on whose budget."""

from __future__ import annotations

from typing import Any

import pytest

from banken_supervisor.engine.ladder import Budget
from banken_supervisor.engine.policy import Group, Restart, Strategy
from banken_supervisor.programs.engine.groups import Grouping
from program_bench import Bench, spec

NAMES = ("a", "b", "c")


def grouped(strategy: Strategy, budget: Budget | None = None, **fields: Any) -> Bench:
    return Bench(
        *(spec(name, **fields) for name in NAMES), groups=(Group("g", NAMES, strategy=strategy, budget=budget),)
    )


@pytest.mark.parametrize(
    ("strategy", "down"),
    [(Strategy.ONE_FOR_ONE, []), (Strategy.ONE_FOR_ALL, ["c", "a"]), (Strategy.REST_FOR_ONE, ["c"])],
)
def test_the_strategy_decides_who_goes_down_with_one(strategy: Strategy, down: list[str]) -> None:
    """In reverse order, each when the former is gone; then, after the backoff, up in order, one after the other."""
    bench = grouped(strategy)
    words = bench.exited("b")
    for name in down:
        assert words == [f"15 {name}"]
        words = bench.exited(name, -15)
    assert words == []
    waited, words = bench.until_due()
    assert waited == 1.0
    for name in sorted([*down, "b"]):
        assert words == [f"spawn {name}"]
        words = bench.started(name)
    assert words == []
    assert {bench.state(name) for name in NAMES} == {"running"}


def test_a_round_waits_for_the_last_one_to_go() -> None:
    """Also past the backoff, and through its SIGKILL."""
    bench = grouped(Strategy.ONE_FOR_ALL)
    bench.exited("a")
    assert bench.wait(1.9) == []
    assert bench.wait(0.1) == ["kill c"]
    assert bench.exited("c", -9) == ["15 b"]
    assert bench.exited("b", 0) == ["spawn a"]


def test_those_that_are_down_on_purpose_stay_down() -> None:
    """Stopped by request, or done by its policy: a round of the group does not start it."""
    bench = grouped(Strategy.ONE_FOR_ALL)
    bench.ask("stop", "c")
    bench.exited("c", 0)
    assert bench.exited("a") == ["15 b"]
    bench.exited("b", 0)
    assert bench.until_due()[1] == ["spawn a"]
    assert bench.started("a") == ["spawn b"]
    assert bench.started("b") == []


def test_a_member_that_ends_for_good_takes_nobody_along() -> None:
    """A success under on-failure is no reason for a round."""
    bench = grouped(Strategy.ONE_FOR_ALL, restart=Restart.ON_FAILURE)
    assert bench.exited("b", 0) == []
    assert [bench.state(name) for name in NAMES] == ["running", "stopped", "running"]


def test_a_group_has_a_budget_of_its_own() -> None:
    """Two restarts of any members; the third is given up, and with it those that cannot do without it."""
    bench = grouped(Strategy.REST_FOR_ONE, Budget(2, 60.0))
    for _ in range(2):
        bench.exited("c")
        bench.until_due()
        bench.started("c")
    assert bench.exited("b") == ["15 c"]
    bench.exited("c", -15)
    assert [bench.state(name) for name in NAMES] == ["running", "given-up", "stopped"]
    assert bench.told("program-gave-up") == [{"of": "g", "count": 2, "period": 60.0}]
    assert bench.told("program-stopped")[-1]["why"] == "b was given up"
    assert bench.wait(1000) == []


def test_members_that_wait_for_their_restart_count_for_the_group() -> None:
    """Three end at one moment and the budget is two: the third is given up though nobody was started yet."""
    bench = grouped(Strategy.ONE_FOR_ONE, Budget(2, 60.0))
    for name in NAMES:
        bench.exited(name)
    assert [bench.state(name) for name in NAMES] == ["backoff", "backoff", "given-up"]


def test_a_restart_by_request_may_take_the_group_along() -> None:
    """As if it had ended by itself, but at once and uncounted; without with_group it goes alone."""
    bench = grouped(Strategy.REST_FOR_ONE)
    assert bench.ask("restart", "b") == ["15 b"]
    assert bench.exited("b", 0) == ["spawn b"]
    bench.started("b")
    assert bench.ask("restart", "b", with_group=True) == ["15 c"]
    assert bench.exited("c", 0) == ["15 b"]
    assert bench.exited("b", 0) == ["spawn b"]
    assert bench.started("b") == ["spawn c"]


def test_a_stop_in_the_midst_of_a_round_takes_one_out() -> None:
    """The others come up without it."""
    bench = grouped(Strategy.ONE_FOR_ALL)
    bench.exited("a")
    bench.ask("stop", "b")
    bench.exited("c", 0)
    bench.exited("b", 0)
    assert bench.until_due()[1] == ["spawn a"]
    assert bench.started("a") == ["spawn c"]
    assert bench.state("b") == "stopped"


def test_an_end_during_a_round_begins_a_new_one() -> None:
    """a comes up and dies before b and c are asked for: all wait again, and each is spawned once."""
    bench = grouped(Strategy.ONE_FOR_ALL)
    bench.exited("a")
    bench.exited("c", 0)
    bench.exited("b", 0)
    assert bench.until_due()[1] == ["spawn a"]
    assert bench.failed("a") == []
    assert bench.until_due()[1] == ["spawn a"]
    assert bench.started("a") == ["spawn b"]
    assert bench.started("b") == ["spawn c"]


def test_the_start_order_comes_before_the_order_of_members() -> None:
    """And patterns name members, too; a program follows the first group that has a strategy."""
    specs = [spec("w-1"), spec("w-2", order=-1), spec("db"), spec("x")]
    first = Group("first", ("db", "w-*"), strategy=Strategy.REST_FOR_ONE)
    second = Group("second", ("*",), strategy=Strategy.ONE_FOR_ALL)
    grouping = Grouping(specs, (first, second))
    assert grouping.others("w-2") == ("db", "w-1")
    assert grouping.others("db") == ("w-1",)
    assert grouping.others("w-1") == ()
    assert grouping.others("x") == ()
    assert [each.name for each in grouping.groups_of("db")] == ["first", "second"]
