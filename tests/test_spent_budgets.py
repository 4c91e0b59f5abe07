"""What a step has used up of its budget, when another supervisor goes on."""

from __future__ import annotations

import pytest

from banken.protocol.incidents import Cause
from banken_supervisor.engine.effects import RunStep
from banken_supervisor.engine.ladder import Budget, Ladder, Step
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.snapshot import PastIncident, PastRun
from banken_supervisor.engine.states import State
from engine_kit import TEN, Bench


@pytest.mark.parametrize("how", ["with its incident", "with its feed"])
def test_what_a_new_leader_does_not_watch_yet_has_the_budget_that_is_left(how: str) -> None:
    """Its worker had released it here. Found by a night of the cluster, seed 541032."""
    bench = Bench()
    step = Step("restart", after=1.0, budget=Budget(2, 600.0))
    bench.engine.rules.replace_patterns([("w*", Policy(TEN, Ladder((step,))))])
    ran = {"w": [PastRun(0, 1, "restart", age) for age in (300.0, 100.0)]}
    left = [PastIncident("other-1", "w", Cause.TIMEOUT, 0.5, 10.0, 10.0)] if how == "with its incident" else []
    assert bench.engine.succession.lead(left, bench.now, bench.out, ran) == []
    if not left:
        bench.feed()
        bench.jump(10.0)
        assert bench.engine.succession.open("w", "own-1", bench.now, bench.out)
    for _ in range(2):
        bench.jump(10.0)
    assert bench.state() is State.GIVEN_UP
    assert not any(isinstance(each, RunStep) for each in bench.out)
