"""What steps have used up in incidents that are closed, from one leader to the next."""

from __future__ import annotations

import time

import pytest

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration
from banken_supervisor.coordination.records import (
    SPENT,
    Begun,
    Claim,
    Foreign,
    SpentRun,
    pack,
    pack_spent,
    unpack_spent,
)
from banken_supervisor.coordination.store import Item, Snapshot
from banken_supervisor.engine.ladder import Budget, Ladder, Step, step_key
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.snapshot import PastIncident, PastRun
from banken_supervisor.runtime.claimed_incidents import with_begun, with_ended
from banken_supervisor.runtime.spent_budgets import AGE_MAX_S, RUNS_MAX, SpentBudgets
from engine_kit import Bench

LADDER = Ladder((Step("log"), Step("exec", after=1.0, budget=Budget(2, 600.0))))


def claim(*begun: Begun) -> Claim:
    return Claim("i-1", "timeout", time.time(), 1.0, 1.0, "m1", begun=begun)


def snapshot(**values: bytes) -> Snapshot:
    return Snapshot(1, "x", {SPENT + name: Item(value, 1) for name, value in values.items()})


def test_runs_with_a_budget_are_written_and_added_up() -> None:
    """Of those the ladder has now, at this place; from one member to the next."""
    now, budgets = time.time(), SpentBudgets()
    assert budgets.close("w", claim(), LADDER) is None
    assert budgets.close("w", claim(Begun(0, 1, "log", now)), LADDER) is None
    gone = Begun(7, 1, "exec", now), Begun(1, 1, "kill", now)
    written = budgets.close("w", claim(Begun(0, 1, "log", now), Begun(1, 1, "exec", now - 5.0), *gone), LADDER)
    assert written is not None
    assert unpack_spent(written) == (SpentRun(1, "exec", now - 5.0),)
    other = SpentBudgets()
    assert other.read(snapshot(w=written)) == []
    again = other.close("w", claim(Begun(1, 1, "exec", now)), LADDER)
    assert again is not None
    assert [each.at for each in unpack_spent(again)] == [now - 5.0, now]
    (one, two) = other.past()["w"]
    assert (one.step, one.action, one.age) == (1, "exec", pytest.approx(5.0, abs=1.0))
    assert two.age == pytest.approx(0.0, abs=1.0)


def test_it_is_bounded() -> None:
    """In time and in number; what is over can be dropped."""
    now, budgets = time.time(), SpentBudgets()
    old = pack_spent((SpentRun(1, "exec", now - AGE_MAX_S - 1.0),))
    assert budgets.read(snapshot(old=old, new=pack_spent((SpentRun(1, "exec", now),)))) == ["old"]
    assert set(budgets.past()) == {"new"}
    many = tuple(Begun(1, number, "exec", now) for number in range(RUNS_MAX + 50))
    written = budgets.close("new", claim(*many), LADDER)
    assert written is not None
    assert len(unpack_spent(written)) == RUNS_MAX


def test_a_claim_does_not_grow_with_a_step_that_is_repeated() -> None:
    """Without a budget only its last run stays; with one as many as it looks at; what has not ended stays."""
    plain, limited = LADDER.steps
    grown = claim(Begun(1, 1, "exec", 0.0), Begun(0, 1, "log", 0.0))
    for number in range(2, 2_000):
        grown = with_begun(with_ended(grown, 0, number - 1), Begun(0, number, "log", float(number)), plain)
    assert grown.begun == (Begun(1, 1, "exec", 0.0), Begun(0, 1_999, "log", 1_999.0))
    for number in range(2, 2_000):
        ended = with_ended(grown, 1, number - 1) if number != 2 else grown
        grown = with_begun(ended, Begun(1, number, "exec", float(number)), limited)
    kept = [each.run for each in grown.begun if each.step == 1]
    assert kept == [1, *range(1_999 - RUNS_MAX, 2_000)]


@pytest.mark.parametrize(
    "odd",
    [
        b"", b"\xc1", pack(), pack(runs=None), pack(runs=[[1, "exec"]]), pack(runs=[["1", "exec", 0.0]]),
        pack(v=2, runs=[]), pack(runs=[[1, "exec", 0.0, 0]]),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_left_alone(odd: bytes) -> None:
    with pytest.raises(Foreign):
        unpack_spent(odd)
    budgets = SpentBudgets()
    assert budgets.read(snapshot(w=odd)) == []
    assert budgets.past() == {}
    assert budgets.close("w", claim(Begun(1, 1, "exec", time.time())), LADDER) is None


def runs(bench: Bench, name: str = "w") -> list[float]:
    """How long ago the step with a budget ran, as far as the engine knows."""
    record = bench.engine.get(name)
    assert record is not None
    return [bench.now - at for at in record.detailed().step_runs.get(step_key(LADDER, 1), [])]


def test_a_leader_counts_what_was_spent_and_nothing_twice() -> None:
    """What it knew itself from a former term is in the store; and so is what ran in an incident that is open. What
    is this host's alone is its own."""
    bench = Bench()
    for name in ("w", "own"):
        bench.engine.declare(name, Policy(Declaration(10.0, 3.0, 20.0), LADDER), bench.now, bench.out)
        record = bench.engine.get(name)
        assert record is not None
        record.detailed().step_runs = {step_key(LADDER, 1): [bench.now - 50.0]}
    bench.engine.succession.gate.is_local = lambda record: record.name == "own"
    bench.engine.succession.follow(bench.now)
    past = PastIncident("i-1", "w", Cause.TIMEOUT, 5.0, 10.0, 10.0, steps=(
        PastRun(0, 1, "log", 5.0), PastRun(1, 1, "exec", 4.0)
    ))  # fmt: skip
    spent = {"w": [PastRun(1, 1, "exec", 50.0)], "gone": [PastRun(1, 1, "exec", 3.0)]}
    bench.engine.rules.replace_patterns([("g*", Policy(Declaration(10.0, 3.0, 20.0), LADDER))])
    bench.engine.succession.lead([past], bench.now, bench.out, spent)
    assert runs(bench) == pytest.approx([50.0, 4.0])
    assert runs(bench, "own") == pytest.approx([50.0])
    bench.feed("gone")  # it was not watched here then
    assert runs(bench, "gone") == pytest.approx([3.0])
