"""From steps to actions: handed out in portions, in order, and not after their incident has ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from banken.protocol.incidents import Cause, Incident
from banken_supervisor.actions import Action, ActionContext, ActionTarget, Outcome
from banken_supervisor.actions import dispatcher as module
from banken_supervisor.actions.dispatcher import Dispatcher
from banken_supervisor.actions.target import ActionReport, IncidentEnd, StopReason
from banken_supervisor.engine.digest import Limits
from banken_supervisor.engine.effects import EndIncident, EventType, RunCallback, RunStep
from banken_supervisor.engine.ladder import Step
from banken_supervisor.runtime.effect_runner import EffectRunner
from recovery_kit import until


class Teller(Action):
    """An action of the user's own that tells one target."""

    name = "tell"
    recipient = "people"
    told: ClassVar[list[ActionTarget]] = []
    open: ClassVar[threading.Event] = threading.Event()

    def run(self, subject: ActionTarget, world: ActionContext, ended: threading.Event) -> Outcome:
        assert self.open.wait(20)
        self.told.append(subject)
        return Outcome(not ended.is_set(), "told")


TELL = Step("test_dispatcher:Teller")


def effect(name: str, step: Step, number: int) -> tuple[RunStep, Incident]:
    """One step of an incident, as the core has it run."""
    about = RunCallback(name, None, f"i-{name}", Cause.TIMEOUT, 0.0, 5.0, 5.0, 0.0, 1, None, None, None)
    incident = Incident(f"i-{name}", name, Cause.TIMEOUT, 0.0, 5.0, 5.0)
    return RunStep(about, step, number, 1, False, None), incident


class Bench:
    """Dispatcher with real threads; what they report is kept."""

    def __init__(self, directory: Path) -> None:
        self.reports: list[ActionReport] = []
        world = ActionContext(str(directory), lambda name, incident: None, lambda name: None)
        self.asked: list[Callable[[], None]] = []
        self.dispatcher = Dispatcher(
            world, self.reports.append, lambda name: False, lambda name: None, self.asked.append
        )

    def run(self, name: str, step: Step, number: int = 0) -> None:
        self.dispatcher.run(*effect(name, step, number))

    def remember(self, name: str, step: Step) -> None:
        self.dispatcher.remember(*effect(name, step, 0))

    def end(self, name: str, how: str = "fed") -> None:
        self.dispatcher.end(EndIncident(name, f"i-{name}", 0.0, 5.0, how, (0,)))

    def turn(self, seconds: float = 0.0) -> None:
        """A turn of the loop, and more of them for so long."""
        until_then = time.monotonic() + seconds
        while True:
            while self.asked:
                self.asked.pop(0)()
            self.dispatcher.notices.turn(time.monotonic())
            self.dispatcher.turn()
            if time.monotonic() >= until_then:
                return
            time.sleep(0.01)

    def hand_out(self) -> None:
        """As many turns as that takes, without what comes back."""
        self.dispatcher.turn()
        while self.dispatcher.waiting:
            self.dispatcher.turn()

    def hold(self, count: int) -> None:
        """Have what was handed out come back to be told, and no more."""
        self.hand_out()
        until(lambda: len(self.asked) == count, "all are handed on")
        self.turn()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path)
    one.dispatcher.notices.limits = Limits(0.2, 10)
    Teller.told.clear()
    Teller.open.set()
    yield one
    Teller.open.set()
    one.dispatcher.executor.close(5.0)


def test_what_finds_no_time_in_one_turn_is_handed_out_in_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no time at all one action a turn begins, in order; with time, all the rest in one."""
    monkeypatch.setattr(module, "PORTION_S", 0.0)
    steps = [Step("log", options=(("text", f"{number}"),)) for number in range(20)]
    for number, step in enumerate(steps):
        bench.run("w", step, number)
    for done in range(1, 4):
        bench.dispatcher.turn()
        until(lambda done=done: len(bench.reports) == done, "one more is done")
        assert bench.dispatcher.waiting
    monkeypatch.setattr(module, "PORTION_S", 10.0)
    bench.dispatcher.turn()
    assert not bench.dispatcher.waiting
    until(lambda: len(bench.reports) == 20, "all are done")
    assert [report.target.step for report in bench.reports] == list(range(20))


def test_what_still_waits_is_not_begun_when_its_incident_ends(bench: Bench) -> None:
    """Its step is told as dropped, whatever else the same turn hands out."""
    step = Step("log")
    bench.run("w", step)
    bench.run("other", step)
    bench.end("w")
    bench.hand_out()
    until(lambda: len(bench.reports) == 2, "both are told")
    assert {report.target.incident.name: report.type for report in bench.reports} == {
        "w": EventType.ACTION_DROPPED,
        "other": EventType.ACTION_DONE,
    }
    bench.run("w", step)  # a later incident of the same id would be a fault elsewhere: the end is forgotten
    bench.hand_out()
    until(lambda: len(bench.reports) == 3, "it runs")
    assert bench.reports[-1].type is EventType.ACTION_DONE


def test_nothing_waits_for_the_one_who_tells(bench: Bench) -> None:
    """The service hangs; the watchdog's next action is done all the same, and the news goes out when it can."""
    Teller.open.clear()
    bench.run("w", TELL)
    bench.run("w", Step("log"), 1)
    bench.hand_out()
    until(lambda: len(bench.reports) == 1, "the next action is done")
    bench.turn(0.3)
    assert [report.action for report in bench.reports] == ["log"]
    Teller.open.set()
    until(lambda: bench.turn() or len(bench.reports) == 2, "it is told")
    assert (bench.reports[1].action, bench.reports[1].text) == ("tell", "told")


def test_many_become_one_run_with_a_report_for_each_and_outlive_the_end_of_the_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty at once: one run, told of 29 others; the first incident ends while it runs, which ends nothing."""
    monkeypatch.setattr(module, "PORTION_S", 10.0)  # all ends in one turn, however long that takes
    Teller.open.clear()
    names = [f"w{number}" for number in range(30)]
    for name in names:
        bench.run(name, TELL)
    bench.hold(30)
    until(lambda: bench.turn() or bench.dispatcher.executor.counts()["running"] == 1, "one runs")
    for name in names:
        bench.end(name, "reborn")
    bench.turn()
    Teller.open.set()
    until(lambda: len(bench.reports) == 30, "each is reported")
    assert sorted(report.target.incident.name for report in bench.reports) == sorted(names)
    assert {(report.type, report.text) for report in bench.reports} == {
        (EventType.ACTION_DONE, "told; in one message with 29 others")
    }
    assert len(Teller.told) == 1
    until(lambda: bench.turn() or len(bench.reports) == 60, "each end is reported")
    assert (len(Teller.told), Teller.told[1].how, len(Teller.told[1].others)) == (2, "reborn", 29)


def test_of_an_incident_that_ended_before_its_turn_nobody_is_told(bench: Bench) -> None:
    """Neither that it began nor that it is over."""
    bench.run("w", TELL)
    bench.hand_out()
    until(lambda: bench.asked, "it is handed on")
    bench.end("w")
    bench.hand_out()
    bench.turn(0.4)
    assert [(report.type, report.text) for report in bench.reports] == [
        (EventType.ACTION_DROPPED, "the incident ended before")
    ]
    assert Teller.told == []


def test_who_was_told_by_a_former_supervisor_hears_of_the_end(bench: Bench) -> None:
    """The step is not run again; the end is told, with how long it lasted and a link."""
    bench.dispatcher.page = "https://banken.example"
    bench.remember("w", TELL)
    bench.end("w")
    until(lambda: bench.turn() or len(Teller.told) == 1, "the end is told")
    [told] = Teller.told
    assert (told.recovered, told.incident.silence) == (True, 5.0)
    assert (told.link, told.page) == ("https://banken.example/#/incident/i-w", "https://banken.example/")


def test_who_was_told_in_two_leaderships_hears_of_the_end_once(bench: Bench) -> None:
    """This supervisor had the incident, lost it, and has it again."""
    bench.dispatcher.notices.limits = Limits(0.0, 10)
    bench.remember("w", TELL)
    bench.remember("w", TELL)
    bench.end("w")
    until(lambda: bench.turn() or bench.reports, "the end is told")
    bench.turn(0.1)
    assert [(report.type, report.target.recovered) for report in bench.reports] == [(EventType.ACTION_DONE, True)]


def test_of_what_is_handed_over_nothing_is_kept_and_who_was_told_hears_of_the_end_if_it_comes_back(
    bench: Bench,
) -> None:
    """Another member has it, and tells of its end; here it may never end."""
    for number in range(100):
        bench.run(f"w{number}", TELL)
    bench.hold(100)
    bench.turn(0.5)
    until(lambda: len(bench.reports) == 100, "all are told")
    for number in range(100):
        bench.dispatcher.hand_over(f"w{number}", f"i-w{number}")
    assert bench.dispatcher._notified == {}
    bench.end("w0")
    bench.turn(0.5)
    assert not any(each.recovered for each in Teller.told)
    bench.remember("w1", TELL)
    bench.end("w1")
    bench.turn(0.5)
    until(lambda: any(each.recovered for each in Teller.told), "it is told")
    assert [each.incident.name for each in Teller.told if each.recovered] == ["w1"]
    assert bench.dispatcher._notified == {}


def test_a_message_of_what_is_handed_over_on_its_way_is_dropped(bench: Bench) -> None:
    """It was handed to the threads, and comes back to be told when another member has the incident."""
    bench.dispatcher.fence_of = lambda incident: 7
    bench.run("w", TELL)
    bench.hand_out()
    until(lambda: bench.asked, "it comes back")
    bench.dispatcher.hand_over("w", "i-w")
    bench.turn()
    assert [(each.type, each.text) for each in bench.reports] == [
        (EventType.ACTION_DROPPED, "the incident ended before, or another supervisor has it")
    ]
    assert bench.dispatcher._notified == {}


def test_an_end_that_still_waits_at_the_stop_is_told(bench: Bench) -> None:
    """Nobody else has it. What was to begin is not begun."""
    bench.remember("w", TELL)
    bench.end("w")
    bench.run("other", Step("log"))
    bench.dispatcher.close(1.0)
    assert [(each.incident.name, each.recovered) for each in Teller.told] == [("w", True)]
    assert {(each.action, each.text) for each in bench.reports} == {
        ("tell", "told"),
        ("log", "the supervisor stopped before it began"),
    }


class Patient(Action):
    """One that waits until it is told to stop."""

    name = "patient"

    def run(self, subject: ActionTarget, world: ActionContext, ended: threading.Event) -> Outcome:
        return Outcome(ended.wait(20), "stopped")


def test_a_notice_behind_an_action_that_waits_is_sent_at_the_stop(bench: Bench) -> None:
    """The action ends, the notice goes out; what else waits behind it is dropped, and told."""
    for number, step in enumerate((Step("test_dispatcher:Patient"), TELL, Step("log"))):
        bench.run("w", step, number)
    bench.hand_out()
    until(lambda: bench.dispatcher.executor.counts()["running"], "the first runs")
    bench.dispatcher.close(1.0)
    assert sorted((each.target.step, each.action, each.text) for each in bench.reports) == [
        (0, "patient", "stopped"),
        (1, "tell", "told"),
        (2, "log", "the supervisor stopped before it began"),
    ]
    assert [each.incident.name for each in Teller.told] == ["w"]


class Deaf(Action):
    """One that does not end when it is told to, as a command whose descendant holds its output."""

    name = "deaf"

    def run(self, subject: ActionTarget, world: ActionContext, ended: threading.Event) -> Outcome:
        return Outcome(Teller.open.wait(20), "over")


def test_a_notice_behind_an_action_that_does_not_end_makes_the_stop_no_longer(bench: Bench) -> None:
    """It is told as dropped, and so due again. Only what is sent now is waited for longer."""
    Teller.open.clear()
    bench.run("w", Step("test_dispatcher:Deaf"))
    bench.run("w", TELL, 1)
    bench.hand_out()
    until(lambda: bench.dispatcher.executor.counts()["running"], "the first runs")
    began = time.monotonic()
    bench.dispatcher.close(0.1, flush_wait=20.0)
    assert time.monotonic() - began < 10.0
    assert [(each.target.step, each.type, each.text) for each in bench.reports] == [
        (1, EventType.ACTION_DROPPED, "the supervisor stopped before it began")
    ]
    assert Teller.told == []


@pytest.mark.parametrize("is_reversed", [False, True])
def test_of_one_message_each_incident_is_asked_about(bench: Bench, is_reversed: bool) -> None:
    """What is another supervisor's by now is reported as dropped, once each; the rest is one message, whichever of
    them came first."""
    names = [*(f"theirs-{number}" for number in range(11)), "mine-1", "mine-2"]
    bench.dispatcher.executor.permits = lambda target: target.incident.name.startswith("mine")
    for name in reversed(names) if is_reversed else names:
        bench.run(name, TELL)
    bench.hold(len(names))
    until(lambda: bench.turn() or len(bench.reports) == len(names), "each is reported")
    bench.turn(0.1)
    told = [[each.incident.name for each in (first, *first.others)] for first in Teller.told]
    assert told == [["mine-2", "mine-1"] if is_reversed else ["mine-1", "mine-2"]]
    assert sorted((each.target.incident.name, each.type, each.text) for each in bench.reports) == sorted(
        (name, EventType.ACTION_DONE, "told; in one message with 1 other")
        if name.startswith("mine")
        else (name, EventType.ACTION_DROPPED, "another supervisor leads now")
        for name in names
    )


def test_what_waits_for_a_leader_holds_up_nothing_of_this_supervisors(bench: Bench) -> None:
    """While nobody knows who leads: a storm of both is two messages."""
    known = threading.Event()
    bench.dispatcher.fence_of = lambda incident: 7 if incident.startswith("i-led") else None
    bench.dispatcher.executor.permits = lambda target: target.fence is None or known.wait(20)
    names = [f"{whose}-{number}" for number in range(11) for whose in ("led", "mine")]
    for name in names:
        bench.run(name, TELL)
    bench.hold(len(names))
    until(lambda: bench.turn() or len(bench.reports) == 11, "this supervisor's are told")
    assert {report.target.fence for report in bench.reports} == {None}
    known.set()
    until(lambda: bench.turn() or len(bench.reports) == 22, "the others are told")
    assert [len(first.others) for first in Teller.told] == [10, 10]


def test_the_files_of_a_step_are_not_read_on_the_loops_thread(bench: Bench, tmp_path: Path) -> None:
    """A disk that hangs must not stop verdicts: what a file holds is seen on the action's thread."""
    options = (("retries", 0), ("secret_file", str(tmp_path / "gone")), ("url", "http://127.0.0.1:9/"))
    bench.run("w", Step("webhook", options=options))
    report = until(lambda: bench.turn() or bench.reports, "it has run")[0]
    assert (report.type, report.started is not None) == (EventType.ACTION_FAILED, True)
    assert "cannot read the secret's file: No such file" in report.text


class Waits(Action):
    """Evidence that takes long: until the test lets it go, or its incident has ended."""

    name = "waits"
    reasons: ClassVar[list[StopReason | None]] = []

    def run(self, subject: ActionTarget, world: ActionContext, ended: IncidentEnd) -> Outcome:
        done = ended.wait(20)
        self.reasons.append(ended.reason)
        return Outcome(done, "over")


@pytest.mark.parametrize("step", [Step("log", options=(("text", "stop"),), first=True), TELL._replace(first=True)])
def test_what_is_first_does_not_wait_for_the_evidence(bench: Bench, step: Step) -> None:
    """An action, and a message: done while the one before it still runs. One that is not first waits."""
    Waits.reasons.clear()
    bench.run("w", Step("test_dispatcher:Waits"))
    bench.run("w", Step("log", options=(("text", "later"),)), 1)
    bench.run("w", step, 2)
    until(lambda: bench.turn() or bench.reports, "the first one is done")
    assert [(each.action, each.type) for each in bench.reports] == [
        ("log" if step.do == "log" else "tell", EventType.ACTION_DONE)
    ]
    bench.end("w")
    until(lambda: bench.turn() or len(bench.reports) >= 3, "the others end")
    assert [each.type for each in bench.reports if each.action == "log" and each.target.step == 1] == [
        EventType.ACTION_DROPPED
    ]


@pytest.mark.parametrize("how", ["fed", "paused", "reborn"])
def test_an_action_can_tell_whether_the_worker_is_back(bench: Bench, how: str) -> None:
    """Only a feed is a recovery: not a pause, nor another process."""
    Waits.reasons.clear()
    bench.run("w", Step("test_dispatcher:Waits"))
    bench.hand_out()
    until(lambda: bench.dispatcher.executor.counts()["running"] == 1, "it runs")
    bench.end("w", how)
    until(lambda: bench.turn() or Waits.reasons, "it ended")
    assert Waits.reasons == [StopReason.RECOVERED if how == "fed" else StopReason.ENDED]


def test_what_is_handed_over_runs_no_longer_and_is_told_why(bench: Bench) -> None:
    """What waits behind it is dropped, and the text does not say that the incident has ended, which is open."""
    Waits.reasons.clear()
    bench.run("w", Step("test_dispatcher:Waits"))
    bench.run("w", Step("log"), 1)
    bench.hand_out()
    until(lambda: bench.dispatcher.executor.counts()["running"] == 1, "it runs")
    bench.dispatcher.hand_over("w", "i-w")
    until(lambda: len(bench.reports) == 2, "both have ended")
    assert Waits.reasons == [StopReason.HANDED_OVER]
    assert [(each.type, each.text) for each in bench.reports if each.target.step == 1] == [
        (EventType.ACTION_DROPPED, "another supervisor leads now")
    ]


class SlowDisk:
    """Has nothing yet: what is to follow waits until the test says so."""

    def __init__(self) -> None:
        self.after: list[Callable[[], None]] = []

    def after_commit(self, do: Callable[[], None]) -> None:
        self.after.append(do)

    def __len__(self) -> int:
        return len(self.after)


def test_a_worker_that_is_back_is_left_alone_though_the_disk_is_slow(bench: Bench) -> None:
    """What runs is ended and what waits is dropped, once, before the end is on disk; the news of it waits."""
    Waits.reasons.clear()
    disk, nothing = SlowDisk(), cast(Any, None)
    runner = EffectRunner(
        nothing, nothing, nothing, nothing, bench.dispatcher, nothing, cast(Any, disk), nothing, nothing
    )
    bench.dispatcher.notices.limits = Limits(0.0, 10)
    bench.remember("w", TELL)
    bench.run("w", Step("test_dispatcher:Waits"))
    bench.run("w", Step("log"), 1)
    bench.hand_out()
    until(lambda: bench.dispatcher.executor.counts()["running"] == 1, "it runs")
    bench.run("w", Step("log"), 2)
    runner.run([EndIncident("w", "i-w", 0.0, 5.0, "fed", (0, 1, 2))], 0.0, whole=False)
    until(lambda: bench.turn() or len(bench.reports) == 3, "all are reported")
    assert Waits.reasons == [StopReason.RECOVERED]
    bench.turn(0.05)
    assert Teller.told == []
    [committed] = disk.after
    committed()
    until(lambda: bench.turn() or Teller.told, "the end is told")
    bench.turn(0.05)
    assert sorted((each.target.step, each.type) for each in bench.reports if not each.target.recovered) == [
        (0, EventType.ACTION_DONE),
        (1, EventType.ACTION_DROPPED),
        (2, EventType.ACTION_DROPPED),
    ]
    assert [each.recovered for each in Teller.told] == [True]
