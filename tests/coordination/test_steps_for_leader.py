"""What a member does for the leader waits in its queue, and may be dropped there: then it was not done."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration
from banken_supervisor.actions import Action, ActionContext, ActionTarget, Outcome
from banken_supervisor.actions.dispatcher import Dispatcher, incident_of
from banken_supervisor.actions.target import ActionReport, StopReason
from banken_supervisor.control.leader_steps import Asked, RunKey
from banken_supervisor.coordination.leadership_thread import View
from banken_supervisor.coordination.roles import Role
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import EventType, RunCallback, RunStep
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.rules import Rules
from banken_supervisor.runtime.orderly_end import ASKED_S, OrderlyEnd
from banken_supervisor.runtime.steps_for_leader import StepsForLeader
from recovery_kit import until

FENCE = 7


class Doer(Action):
    """Waits until it may end."""

    name = "doer"
    open: ClassVar[threading.Event] = threading.Event()
    ran: ClassVar[list[int]] = []
    """steps"""

    def run(self, target: ActionTarget, context: ActionContext, ended: threading.Event) -> Outcome:
        self.ran.append(target.step)
        while not (self.open.is_set() or ended.wait(0.01)):
            pass
        return Outcome(True, "done")


DO = "coordination.test_steps_for_leader:Doer"


class Bench:
    """A member that follows, and watches ``w``, whose process it has."""

    def __init__(self, place: Path) -> None:
        self.driver = Driver(Engine(Rules(None), "run-1", b"token"), 0.0)
        ladder = Ladder((Step(DO), Step(DO, after=1.0), Step(DO, after=2.0)))
        self.driver.engine.declare("w", Policy(Declaration(5.0, 60.0, 5.0), ladder), 0.0, [])
        self.arrived: list[ActionReport] = []
        self.own: list[ActionReport] = []
        """what this member tells itself"""
        context = ActionContext(str(place), lambda name, incident: None, lambda name: None)
        self.dispatcher = Dispatcher(
            context, self.arrived.append, lambda name: False, lambda name: None, lambda do: None
        )
        self.view = View(Role.FOLLOWER, None, 0.0, None, None, 0.0, 0, leader_term=FENCE)
        self.steps = StepsForLeader(self.driver, lambda: self.view, self.dispatcher, lambda record: True)
        self.dispatcher.executor.permits = lambda target: self.steps.permits(target) is not False

    def do(self, step: int, fence: int = FENCE) -> dict[str, Any]:
        asked = Asked(RunKey("i-1", step, 1), "w", DO, fence, Cause.TIMEOUT, 6.0, 5.0, None)
        answer = self.steps.do(asked)
        self.dispatcher.turn()
        return answer

    def did(self, step: int, end: StopReason | None = None) -> dict[str, Any]:
        self.take_reports()
        return self.steps.did(RunKey("i-1", step, 1), end)

    def take_reports(self) -> None:
        while self.arrived:
            if not self.steps.takes(report := self.arrived.pop(0)):
                self.own.append(report)

    def dropped(self, step: int) -> bool:
        return self.did(step).get("dropped", False)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    Doer.open.clear()
    Doer.ran.clear()
    made = Bench(tmp_path)
    yield made
    Doer.open.set()
    assert made.dispatcher.executor.close(10.0) == 0


@pytest.mark.parametrize("why", [StopReason.HANDED_OVER, StopReason.STOPPING])
@pytest.mark.parametrize("fence", [FENCE, FENCE + 1])
def test_what_was_dropped_in_its_queue_is_begun_when_it_is_asked_for_again(
    bench: Bench, why: StopReason, fence: int
) -> None:
    """By the leader that had asked for it, or by the next one."""
    assert bench.do(0)["taken"]
    until(lambda: Doer.ran == [0], "the first step runs")
    assert bench.do(1)["taken"]
    assert bench.did(1)["done"] is False
    bench.did(1, why)
    until(lambda: bench.did(1)["done"], "it is dropped")
    found = bench.did(1)
    assert (found["ok"], found["skipped"], found["dropped"]) == (False, True, True)
    bench.view = bench.view._replace(leader_term=fence)
    until(lambda: bench.did(0)["done"], "the first step has ended")
    assert bench.do(1, fence)["taken"]
    assert bench.did(1)["done"] is False
    until(lambda: Doer.ran == [0, 1], "it runs")
    Doer.open.set()
    until(lambda: bench.did(1)["ok"], "it is done")
    assert bench.do(1, fence)["taken"]  # and is not done again
    assert Doer.ran == [0, 1]
    assert bench.own == []


def test_what_waits_when_another_one_leads_is_not_done_before_that_one_asks(bench: Bench) -> None:
    bench.do(0)
    until(lambda: Doer.ran == [0], "the first step runs")
    bench.do(1)
    bench.view = bench.view._replace(leader_term=FENCE + 1)
    Doer.open.set()
    until(lambda: bench.dropped(1), "it is dropped")
    assert bench.do(1) == {"taken": False, "here": True, "why": "another one leads since (fence 8, not 7)"}
    assert bench.do(1, FENCE + 1)["taken"]
    until(lambda: bench.did(1)["ok"], "it is done")
    assert Doer.ran == [0, 1]


def test_a_member_that_leads_since_tells_of_what_it_had_dropped_and_begins_itself(bench: Bench) -> None:
    bench.do(0)
    until(lambda: Doer.ran == [0], "the first step runs")
    bench.do(1)
    bench.did(1, StopReason.STOPPING)
    until(lambda: bench.dropped(1), "it is dropped")
    about = RunCallback("w", None, "i-1", Cause.TIMEOUT, 0.0, 6.0, 5.0, 0.0, 1, None, None, None)
    record = bench.driver.engine.get("w")
    assert record is not None
    assert record.policy is not None
    step = record.policy.ladder.steps[1]
    bench.dispatcher.run(RunStep(about, step, 1, 1, False, None), incident_of(about, 0.0))
    bench.dispatcher.turn()
    Doer.open.set()
    until(lambda: Doer.ran == [0, 1], "it runs")
    until(lambda: bench.take_reports() or bench.own, "it is told")
    assert [(each.type, each.target.step) for each in bench.own] == [(EventType.ACTION_DONE, 1)]


def test_a_member_that_stops_tells_the_leader_what_it_does_not_begin(bench: Bench) -> None:
    """And begins nothing more for it, what waits for its turn neither."""
    bench.do(0)
    until(lambda: Doer.ran == [0], "the first step runs")
    bench.do(1)
    assert bench.do(2)["taken"]
    bench.steps.stop()
    assert bench.steps.is_awaited()
    for step in (1, 2):
        until(lambda step=step: bench.did(step)["done"], "it is dropped")  # type: ignore[misc]
        assert (bench.did(step)["dropped"], bench.did(step)["stops"]) == (True, True)
    assert bench.steps.is_awaited()
    until(lambda: bench.did(0)["done"], "what ran has ended")
    assert bench.did(0)["ok"]
    assert not bench.steps.is_awaited()
    again = bench.do(1)
    assert (again["taken"], again["here"], again["stops"]) == (False, True, True)
    assert Doer.ran == [0]


@pytest.mark.parametrize("of_another", ["leader", "term"])
def test_who_does_not_ask_any_more_is_not_waited_for(bench: Bench, of_another: str) -> None:
    """A former leader; or this member leads."""
    bench.do(0)
    until(lambda: Doer.ran == [0], "it runs")
    if of_another == "leader":
        bench.view = bench.view._replace(role=Role.LEADER)
    else:
        bench.view = bench.view._replace(leader_term=FENCE + 1)
    bench.steps.stop()
    assert not bench.steps.is_awaited()
    assert bench.did(0)["done"] is False


def test_the_leader_is_waited_for_for_a_moment(bench: Bench) -> None:
    """And then not at all: programs that are stopped may take longer."""
    nothing: Any = None
    end = OrderlyEnd(nothing, nothing, nothing, bench.steps)
    assert (end.is_awaited(), end.patience(time.monotonic())) == (False, None)
    bench.do(0)
    until(lambda: Doer.ran == [0], "it runs")
    began = time.monotonic()
    end.begin()
    assert end.is_awaited()
    assert 0.0 < (end.patience(began) or 0.0) <= ASKED_S + 0.1
    until(lambda: not end.is_awaited(), "it is waited for no longer")
    assert time.monotonic() - began < ASKED_S + 1.0
    assert end.patience(began + 60.0) is None
    assert bench.did(0)["known"]
