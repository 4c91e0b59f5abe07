"""What the leader makes of the answers of the member that it has asked to do a step."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from math import inf
from types import SimpleNamespace
from typing import Any, cast

import pytest

from banken.errors import RequestFailed, Unreachable
from banken.protocol.incidents import Cause, Incident
from banken_supervisor.actions import Action, ActionContext, ActionReport, Executor, step_elsewhere
from banken_supervisor.actions.dump import Dump
from banken_supervisor.actions.step_elsewhere import Other, StepElsewhere
from banken_supervisor.actions.target import CUT, ActionTarget, IncidentEnd, Outcome, StopReason
from banken_supervisor.control.leader_steps import RunKey, asked, did
from banken_supervisor.engine.effects import EventType
from banken_supervisor.runtime.steps_for_leader import StepsForLeader, _Run
from recovery_kit import Desk, until

TARGET = ActionTarget(Incident("i-1", "w", Cause.TIMEOUT, 1.0, 2.0, 3.0), step=1, run=2, fence=7)
TAKEN = {"taken": True, "here": True, "why": None}
NOT_HERE = {"taken": False, "here": False, "why": "its process is not here"}
RUNS = {"known": True, "done": False, "ok": False, "skipped": False, "text": "", "stops": False}
DONE = {"known": True, "done": True, "ok": True, "skipped": False, "text": "evidence taken", "data": {"pid": 5}}
UNKNOWN = {**RUNS, "known": False}
DROPPED = {**DONE, "ok": False, "skipped": True, "dropped": True, "text": "it stopped", "data": {}}
STOPS = {"taken": False, "here": True, "why": "it stopped", "stops": True}


class Answers:
    """A member that answers with these, one after the other, the last one for ever."""

    def __init__(self, name: str, *answers: Any, silent: float = 0) -> None:
        self.name, self.silent, self.answers = name, silent, list(answers)
        """``silent``: how often it does not answer at first"""
        self.deaf: float = 0
        """how often it does not answer at first, though it seems to be there"""
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def is_up(self) -> bool:
        self.silent -= 1
        return self.silent < 0

    @contextlib.contextmanager
    def connect(self, timeout: float) -> Iterator[Any]:
        yield self

    def request(self, op: str, **args: Any) -> Any:
        if op == "ping":
            self.deaf -= 1
            if self.deaf >= 0:
                raise Unreachable("no")
            return {}
        self.asked.append((op, args))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def ops(self) -> list[str]:
        return [op for op, _ in self.asked]


def run(*others: Answers, ended: IncidentEnd | None = None, limit: float = 0.0) -> Outcome:
    action = StepElsewhere(
        Dump(seconds=0.1), asked(TARGET, "dump"), [Other(each.name, each.is_up, each.connect) for each in others]
    )
    action.waits_s = limit or action.waits_s
    nothing: Any = None
    return action.run(TARGET, nothing, ended or IncidentEnd())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_elsewhere, "POLL_S", 0.001)
    monkeypatch.setattr(step_elsewhere, "RETURN_S", 0.5)
    monkeypatch.setattr(step_elsewhere, "RESTART_S", 0.5)


def test_whoever_has_the_process_is_asked_once_and_its_answer_is_the_answer() -> None:
    """Those after it are not asked."""
    one, two, three = Answers("m1", NOT_HERE), Answers("m2", TAKEN, RUNS, RUNS, DONE), Answers("m3", TAKEN)
    outcome = run(one, two, three)
    assert outcome == Outcome(True, "on m2: evidence taken", {"pid": 5, "member": "m2"})
    assert two.ops == ["do", "did", "did", "did"]
    assert two.asked[0][1]["fence"] == 7
    assert two.asked[1][1] == {"incident": "i-1", "step": 1, "run": 2, "end": None}
    assert three.ops == []


def test_who_does_not_answer_the_first_question_may_have_heard_it() -> None:
    """It is not asked to do it again, only whether it has."""
    one, two = Answers("m1", Unreachable("no"), Unreachable("no"), RUNS, DONE), Answers("m2", TAKEN)
    assert run(one, two).ok
    assert one.ops == ["do", "did", "did", "did"]
    assert two.ops == []


def test_what_was_never_heard_is_skipped() -> None:
    outcome = run(Answers("m1", Unreachable("no"), UNKNOWN), Answers("m2", NOT_HERE), Answers("m3", silent=inf))
    assert outcome.skipped
    text = "its process is on another host: m1 does not answer; m2 does not have it; m3 does not answer"
    assert outcome.text == text


def test_a_member_that_does_not_answer_for_a_moment_is_waited_for() -> None:
    """The others are asked meanwhile, once each."""
    one, two = Answers("m1", TAKEN, DONE, silent=5), Answers("m2", NOT_HERE)
    assert run(one, two).ok
    assert two.ops == ["do"]


def test_who_does_not_answer_though_it_seems_to_be_there_is_not_asked_to_do_it() -> None:
    """It has ended, or stands still: whoever has the process is another one, or that one when it answers."""
    one, two = Answers("m1", TAKEN), Answers("m2", TAKEN, DONE)
    one.deaf = inf
    assert run(one, two).ok
    assert one.ops == []
    two.answers, two.deaf = [TAKEN, DONE], 3
    assert run(Answers("m1", NOT_HERE), two).ok
    two.deaf = inf
    outcome = run(Answers("m1", NOT_HERE), two)
    assert outcome.skipped
    assert outcome.text == "its process is on another host: m1 does not have it; m2 does not answer"


def test_after_the_end_of_the_incident_nobody_is_waited_for() -> None:
    ended = IncidentEnd()
    ended.end(StopReason.ENDED)
    one = Answers("m1", TAKEN, DONE, silent=1)
    assert run(one, ended=ended).skipped
    assert one.ops == []


@pytest.mark.parametrize("why", StopReason)
def test_a_wait_for_a_silent_member_is_cut_where_another_one_leads(why: StopReason) -> None:
    """Nobody was asked who may have the process: if the incident comes back, the step is begun again."""
    ended = IncidentEnd()
    ended.end(why)
    one, two = Answers("m1", NOT_HERE), Answers("m2", TAKEN, silent=inf)
    outcome = run(one, two, ended=ended)
    assert outcome.skipped
    is_open = why in (StopReason.HANDED_OVER, StopReason.STOPPING)
    assert outcome.data == ({CUT: True} if is_open else {})
    assert two.ops == []


@pytest.mark.parametrize("answer", [NOT_HERE, Unreachable("no")])
def test_it_is_not_cut_where_it_may_have_been_done_or_all_were_asked(answer: Any) -> None:
    """A member that was asked, and has begun anew, may have done it before."""
    ended = IncidentEnd()
    ended.end(StopReason.HANDED_OVER)
    others = [Answers("m2", TAKEN, silent=inf)] if answer is not NOT_HERE else []
    outcome = run(Answers("m1", answer, UNKNOWN), *others, ended=ended)
    assert outcome.skipped
    assert CUT not in outcome.data


def test_a_refusal_is_told_with_its_reason() -> None:
    """By the member, or by its rights; nothing was done."""
    outcome = run(
        Answers("m1", {"taken": False, "here": True, "why": "another one leads since (fence 9, not 7)"}),
        Answers("m2", RequestFailed("'do' is not allowed with this key")),
    )
    assert outcome.skipped
    assert "m1 refuses: another one leads since (fence 9, not 7)" in outcome.text
    assert "m2 refuses: 'do' is not allowed with this key" in outcome.text


@pytest.mark.parametrize(
    "answers",
    [
        [TAKEN, RUNS, {**DROPPED, "stops": True}, {**DROPPED, "stops": True}, Unreachable("no"), UNKNOWN],
        [STOPS, {**UNKNOWN, "stops": True}, Unreachable("no"), UNKNOWN],
        # It has just begun, and does not know yet who leads.
        [TAKEN, {**DROPPED, "stops": True}, UNKNOWN, {"taken": False, "here": True, "why": "who leads?"}, UNKNOWN],
        [TAKEN, {**DROPPED, "stops": True}, UNKNOWN, NOT_HERE, UNKNOWN],
        # It lives on, and has forgotten it.
        [TAKEN, DROPPED, DROPPED],
    ],
)
def test_who_dropped_it_before_it_began_is_asked_again_when_it_is_back(answers: list[Any]) -> None:
    """A member that is started anew, say. It has surely not been done."""
    two = Answers("m2", TAKEN)
    assert run(Answers("m1", *answers, TAKEN, DONE), two) == Outcome(
        True, "on m1: evidence taken", {"pid": 5, "member": "m1"}
    )
    assert two.ops == []


@pytest.mark.parametrize(
    "answers", [[TAKEN, {**DROPPED, "stops": True}], [STOPS, {**UNKNOWN, "stops": True}], [STOPS, Unreachable("")]]
)
def test_where_it_does_not_come_back_it_is_told_that_it_was_not_begun(answers: list[Any]) -> None:
    outcome = run(Answers("m1", *answers), Answers("m2", NOT_HERE))
    assert outcome.skipped
    assert CUT not in outcome.data
    text = "its process is on another host: m1 did not begin it: it stopped; m2 does not have it"
    assert outcome.text == text


@pytest.mark.parametrize("why", StopReason)
@pytest.mark.parametrize("first", [True, False])
def test_what_was_dropped_for_the_leader_waits_no_longer_is_due_again(why: StopReason, first: bool) -> None:
    """Whether that was the reason, or the member stopped before."""
    ended = IncidentEnd()
    one = Answers("m1", TAKEN, DROPPED if first else {**DROPPED, "stops": True})
    if first:
        ended.end(why)
    else:
        threading.Timer(0.1, ended.end, [why]).start()
    assert run(one, ended=ended) == Outcome(False, "on m1: it stopped", {CUT: True}, skipped=True)
    assert one.ops.count("do") == 1


class Drops(Answers):
    """A member in whose queue it waits, until it is told that it is waited for no longer."""

    def request(self, op: str, **args: Any) -> Any:
        found = super().request(op, **args)
        return found if op == "ping" else TAKEN if op == "do" else DROPPED if args["end"] else RUNS


def test_what_is_due_again_is_reported_as_dropped() -> None:
    """By the leader's executor: it was neither done nor skipped."""
    one = Drops("m1", None)
    action = StepElsewhere(Dump(seconds=0.1), asked(TARGET, "dump"), [Other("m1", one.is_up, one.connect)])
    reports: list[ActionReport] = []
    executor = Executor(Desk(), reports.append)
    executor.submit([action], TARGET)
    until(lambda: one.ops.count("did") > 2, "it waits")
    assert executor.runs(StepElsewhere)
    executor.cancel("w", "i-1", StopReason.HANDED_OVER)
    until(lambda: reports, "it is reported")
    assert executor.close(10) == 0
    assert not executor.runs(StepElsewhere)
    (report,) = reports
    assert (report.type, report.text, report.started) == (EventType.ACTION_DROPPED, "on m1: it stopped", None)


def test_what_it_skipped_or_failed_is_so_here() -> None:
    assert run(
        Answers("m1", TAKEN, {**DONE, "ok": False, "skipped": True, "text": "the program has ended"})
    ).skipped
    failed = run(Answers("m1", TAKEN, {**DONE, "ok": False, "text": "not sent"}))
    assert (failed.ok, failed.skipped, failed.text) == (False, False, "on m1: not sent")


@pytest.mark.parametrize("then", [Unreachable("no"), RUNS, RequestFailed("what?")])
def test_where_nobody_knows_it_is_said_so(then: Any) -> None:
    """It is not skipped, for it may have been done, and nobody else is asked."""
    two = Answers("m2", TAKEN)
    outcome = run(Answers("m1", TAKEN, then), two, limit=0.5)
    assert (outcome.ok, outcome.skipped) == (False, False)
    assert "m1 was asked to do it, and" in outcome.text
    assert two.ops == []


@pytest.mark.parametrize("why", StopReason)
def test_why_nothing_more_is_to_be_waited_for_is_passed_on(why: StopReason) -> None:
    """The member's action does what the leader's own would."""
    ended = IncidentEnd()
    ended.end(why)
    one = Answers("m1", TAKEN, RUNS, DONE)
    assert run(one, ended=ended).ok
    assert one.asked[1][1]["end"] == why.value


class Waits(Action):
    """Until it is told not to."""

    name = "waits"

    def run(self, target: ActionTarget, context: ActionContext, ended: IncidentEnd) -> Outcome:
        return Outcome(ended.wait(20), str(ended.reason))


@pytest.mark.parametrize("why", StopReason)
def test_the_member_tells_its_action_what_was_passed_on(why: StopReason) -> None:
    """And nothing as long as there is nothing to tell."""
    nothing: Any = None
    reports: list[ActionReport] = []
    executor = Executor(Desk(), reports.append)
    steps = StepsForLeader(nothing, nothing, cast(Any, SimpleNamespace(executor=executor)), nothing)
    steps._runs[RunKey("i-1", 1, 2)] = _Run("w", 7)
    view = cast(Any, SimpleNamespace(cluster=lambda: SimpleNamespace(for_leader=steps)))
    executor.submit([Waits()], TARGET)
    until(lambda: executor.counts()["running"], "it runs")
    key = {"incident": "i-1", "step": 1, "run": 2}
    assert did(view, key | {"end": None}) == RUNS
    time.sleep(0.05)
    assert reports == []
    assert did(view, key | {"end": why.value}) == RUNS
    until(lambda: reports, "it has ended")
    assert steps.takes(reports[0])
    assert did(view, key) == {**DONE, "text": why.value, "data": {}, "dropped": False, "stops": False}
    assert executor.close(10) == 0
