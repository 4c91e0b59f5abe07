"""A step that was under way when this member stopped leading, and what becomes of it when it leads again; and one
that was dropped when the leader ended in order."""

from __future__ import annotations

from types import SimpleNamespace
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


def test_what_is_left_half_done_while_this_member_ends_is_the_next_leaders() -> None:
    """A webhook between two attempts, say: it has begun, and is not known to have ended."""
    bench = Bench()
    bench.acted(EventType.ACTION_FAILED, {CUT: True})
    assert bench.work.get("w") == CLAIM


def run_of(step: int, run: int = 1, *, ended: bool = False) -> Begun:
    return Begun(step, run, "exec", 1001.0, ended)


def dropped(step: int, run: int = 1) -> ActionReport:
    return ActionReport(EventType.ACTION_DROPPED, "exec", ActionTarget(INCIDENT, step=step, run=run), "", {})


@pytest.mark.parametrize(
    ("begun", "drops", "left"),
    [
        ([run_of(0), run_of(1)], [(1, 1)], [run_of(0)]),
        ([run_of(0), run_of(1), run_of(2)], [(1, 1), (2, 1)], [run_of(0)]),
        ([run_of(0), run_of(1), run_of(2)], [(2, 1), (1, 1)], [run_of(0)]),
        # Of what is repeated the run before stays: the next leader goes on, and does not begin with the first.
        ([run_of(0, 3)], [(0, 3)], [run_of(0, 2, ended=True)]),
        ([run_of(0, 2, ended=True), run_of(0, 3)], [(0, 3)], [run_of(0, 2, ended=True)]),
        # A later step was begun: the next leader goes on behind it, and must say that it does not know of this one.
        ([run_of(0), run_of(1), run_of(2)], [(1, 1)], [run_of(0), run_of(1), run_of(2)]),
    ],
)
def test_what_was_dropped_by_a_leader_is_due_again(
    begun: list[Begun], drops: list[tuple[int, int]], left: list[Begun]
) -> None:
    """It is not in the claim any more, neither as ended nor as begun; what runs stays there."""
    bench = Bench()
    bench.work.note("w", CLAIM._replace(begun=tuple(begun)))
    for step, run in drops:
        bench.steps.acted(dropped(step, run))
    assert bench.work.get("w") == CLAIM._replace(begun=tuple(left))


def test_what_is_given_up_stays_as_it_was_begun() -> None:
    """The next leader begins nothing of it, and must not be silent about it."""
    bench, claim = Bench(), CLAIM._replace(begun=(run_of(0), run_of(1)), given_up=True)
    bench.work.note("w", claim)
    bench.steps.acted(dropped(1))
    assert bench.work.get("w") == claim


@pytest.mark.parametrize("then", [None, CLAIM._replace(id="i-2", begun=(run_of(0),))])
def test_what_was_dropped_of_an_incident_that_is_over_changes_no_claim(then: Claim | None) -> None:
    bench = Bench()
    bench.work.note("w", CLAIM._replace(begun=(run_of(0), run_of(1))))
    bench.work.drop("w")
    if then is not None:
        bench.work.note("w", then)
    bench.steps.acted(dropped(1))
    bench.steps.acted(dropped(0))
    bench.work.give_back()
    bench.steps.give_back()
    assert bench.work.get("w") == then
    assert bench.work.claims is not None
    assert bench.work.claims.open() == ({} if then is None else {"w": then})


def test_what_was_dropped_below_a_step_that_waits_for_its_claim_is_given_back_with_it() -> None:
    bench = Bench()
    bench.work.note("w", CLAIM._replace(begun=(run_of(0), run_of(1))))
    bench.steps._brake = SimpleNamespace(delays=lambda *what: False)  # type: ignore[assignment]
    bench.steps._take(RunStep(ABOUT, Step("exec"), 2, 1, False, None))
    bench.steps.acted(dropped(1))
    bench.work.give_back()
    bench.steps.give_back()
    assert bench.work.get("w") == CLAIM._replace(begun=(run_of(0),))
    bench.work.do_what_is_written()
    assert len(bench.ran) == 1
