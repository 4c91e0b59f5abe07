"""A step that was under way when this member stopped leading, and what becomes of it when it leads again."""

from __future__ import annotations

from typing import Any

import pytest

from banken.protocol.incidents import Cause, Incident
from banken_supervisor.actions.target import CUT, ActionReport, ActionTarget
from banken_supervisor.coordination.claims import Claims
from banken_supervisor.coordination.records import Begun, Claim
from banken_supervisor.engine.effects import EventType, RunCallback, RunStep
from banken_supervisor.engine.ladder import Step
from banken_supervisor.runtime.claimed_steps import ClaimedSteps
from banken_supervisor.runtime.claimed_work import ClaimedWork
from banken_supervisor.runtime.incident_terms import Terms

TERM = 2
INCIDENT = Incident("i-1", "w", Cause.TIMEOUT, 1000.0, 5.5, 5.0)
ABOUT = RunCallback("w", None, "i-1", Cause.TIMEOUT, 0.0, 5.5, 5.0, 0.0, 1, None, None, None)
KILL = RunStep(ABOUT, Step("kill"), 0, 1, False, None)
CLAIM = Claim("i-1", "timeout", 1000.0, 5.5, 5.0, "m1", begun=(Begun(0, 1, "kill", 1001.0),))


class Bench:
    """A member that leads, and has begun ``kill``."""

    def __init__(self) -> None:
        self.ran: list[RunStep] = []
        nothing: Any = lambda *what: None  # noqa: E731
        self.work = ClaimedWork([], 1.0, Terms(nothing), lambda: True, nothing, nothing, nothing)
        self.steps = ClaimedSteps(self.work, Terms(nothing), nothing, self.ran.append, nothing, nothing)
        self.lead()
        self.steps._run(KILL)

    def lead(self) -> None:
        self.work.claims = Claims(TERM)
        self.work.note("w", CLAIM)

    def stop(self) -> None:
        self.work.stop()
        self.steps.stop()

    def acted(self, type_: EventType, data: dict[str, Any]) -> None:
        self.steps.acted(ActionReport(type_, "kill", ActionTarget(INCIDENT), "", data, 1001.0))
        self.work.do_what_is_written()


@pytest.mark.parametrize(
    ("type_", "data", "runs"),
    [
        (EventType.ACTION_DROPPED, {}, 2),
        (EventType.ACTION_FAILED, {CUT: True}, 2),
        (EventType.ACTION_FAILED, {}, 1),
        (EventType.ACTION_DONE, {}, 1),
    ],
)
@pytest.mark.parametrize("is_back_first", [False, True])
def test_what_was_not_done_is_begun_again_if_the_incident_comes_back(
    type_: EventType, data: dict[str, Any], runs: int, is_back_first: bool
) -> None:
    """A kill that left its worker alive, say. Whether it is heard of before this member leads again, or later."""
    bench = Bench()
    bench.stop()
    if not is_back_first:
        bench.acted(type_, data)
    bench.lead()
    bench.steps.ran(KILL)
    if is_back_first:
        bench.acted(type_, data)
    bench.work.do_what_is_written()
    assert len(bench.ran) == runs
    claim = bench.work.get("w")
    assert claim is not None
    assert [each.ended for each in claim.begun] == [runs == 1]
