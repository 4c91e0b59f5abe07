"""The executor: in order for one watchdog, side by side for many, and a bad action hurts only itself."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest

from banken_supervisor.actions import Action, ActionContext, ActionReport, ActionTarget, Executor, Outcome
from banken_supervisor.actions import keyed_executor as module
from banken_supervisor.actions.action_executor import FirstLane
from banken_supervisor.actions.target import CUT
from banken_supervisor.engine.effects import EventType
from recovery_kit import Desk, subject, until

Run = Callable[[ActionTarget, threading.Event], Any]


class Does(Action):
    """Does what the test says."""

    name = "does"

    def __init__(self, what: Run, *, limit_s: float = 30.0, hidden: tuple[str, ...] = ()) -> None:
        self.what = what
        self.limit_s = limit_s
        self.hidden = hidden

    def run(self, subject: ActionTarget, world: ActionContext, ended: threading.Event) -> Outcome:
        found = self.what(subject, ended)
        return Outcome(True) if found is None else found


class DoesOutside(Does):
    """The same, waiting for somebody else."""

    outside = True


class Bench:
    """An executor, its reports, and a gate that holds actions back."""

    def __init__(self, **settings: Any) -> None:
        self.reports: list[ActionReport] = []
        self.executor = Executor(Desk(), self.reports.append, **settings)
        self.gate = threading.Event()
        self.begun: list[str] = []
        self._lock = threading.Lock()

    def waits(self, about: ActionTarget, ended: threading.Event) -> None:
        with self._lock:
            self.begun.append(about.incident.name)
        assert self.gate.wait(30)

    def of(self, name: str) -> list[EventType]:
        return [report.type for report in self.reports if report.target.incident.name == name]

    def settled(self, number: int) -> None:
        until(lambda: len(self.reports) >= number, f"{number} reports")


@pytest.fixture
def bench() -> Iterator[Bench]:
    one = Bench()
    yield one
    one.gate.set()
    one.executor.close(10)


@pytest.fixture
def narrow() -> Iterator[Bench]:
    """Four threads, three of them for what waits for the outside."""
    one = Bench(threads_max=4)
    yield one
    one.gate.set()
    one.executor.close(10)


def test_one_watchdogs_actions_run_in_order_and_never_at_once(bench: Bench) -> None:
    """100 actions of one watchdog, in three submissions, run one after the other as they came."""
    order: list[int] = []
    inside: list[int] = []
    most: list[int] = []

    def step(number: int) -> Run:
        def what(about: ActionTarget, ended: threading.Event) -> None:
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.0005)
            order.append(number)
            inside.remove(number)

        return what

    actions = [Does(step(number)) for number in range(100)]
    for part in (actions[:1], actions[1:40], actions[40:]):
        bench.executor.submit(part, subject())
    bench.settled(100)
    assert order == list(range(100))
    assert max(most) == 1
    assert [report.type for report in bench.reports] == [EventType.ACTION_DONE] * 100


def test_different_watchdogs_run_side_by_side(bench: Bench) -> None:
    """Ten watchdogs' actions are all begun while none of them has ended."""
    for number in range(10):
        bench.executor.submit([Does(bench.waits)], subject(f"w{number}"))
    until(lambda: len(bench.begun) == 10, "all are begun")
    assert bench.reports == []
    bench.gate.set()
    bench.settled(10)


def test_evidence_reaches_the_later_actions_of_its_incident(bench: Bench) -> None:
    """What dump found is in the subject of the next action, submitted together or later; in no other incident's."""
    seen: dict[str, Any] = {}

    def note(key: str) -> Does:
        return Does(lambda about, ended: seen.update({key: about.evidence}))

    dump = Does(lambda about, ended: Outcome(True, "", {"evidence": {"headline": "f (job.py:42)"}}))
    bench.executor.submit([note("before"), dump, note("after")], subject())
    bench.settled(3)
    bench.executor.submit([note("later")], subject(step=1))
    bench.executor.submit([note("other")], subject(told={"id": "another"}))
    bench.settled(5)
    found = {"headline": "f (job.py:42)"}
    assert seen == {"before": None, "after": found, "later": found, "other": None}


def test_the_end_of_an_incident_drops_what_waits_and_tells_what_runs(bench: Bench) -> None:
    """cancel(): what waits is dropped, what runs sees ``ended``, the notice of recovery and others stay."""
    began = threading.Event()

    def patient(about: ActionTarget, ended: threading.Event) -> Outcome:
        began.set()
        return Outcome(ended.wait(30), "told")

    ran: list[str] = []
    bench.executor.submit([Does(patient), Does(lambda a, e: ran.append("pending"))], subject())
    bench.executor.submit([Does(lambda a, e: ran.append("notice"))], subject(recovered=True))
    bench.executor.submit([Does(bench.waits)], subject("other"))
    assert began.wait(10)
    assert bench.executor.cancel("worker-3", "an older incident") == 0
    assert bench.executor.cancel("nobody") == 0
    assert bench.executor.cancel("worker-3", "i-worker-3") == 1
    until(lambda: len(bench.of("worker-3")) == 3, "three reports")
    assert ran == ["notice"]
    assert sorted(bench.of("worker-3")) == sorted(
        [EventType.ACTION_DROPPED, EventType.ACTION_DONE, EventType.ACTION_DONE]
    )
    assert bench.of("other") == []
    assert bench.executor.counts()["queued"] == 0


class Rotated(Does):
    """An action of the user's own that reads what it hides from a file, which is gone by now."""

    def __init__(self, what: Run = lambda about, ended: None) -> None:
        self.what = what
        self.limit_s = 30.0

    @property
    def hidden(self) -> tuple[str, ...]:  # type: ignore[override]
        raise FileNotFoundError("rotated away")


def test_what_has_run_is_told_though_its_secrets_are_not_known(bench: Bench) -> None:
    """With the error, and without what it said itself."""

    def fails(about: ActionTarget, ended: threading.Event) -> None:
        raise ValueError("s3cret")

    says = Rotated(lambda about, ended: Outcome(True, "s3cret", {"output": "s3cret"}))
    ends = Rotated(lambda about, ended: sys.exit("s3cret"))
    cut = Rotated(lambda about, ended: Outcome(False, "s3cret", {"output": "s3cret", CUT: True}))
    bench.executor.submit([says, Rotated(fails), ends, cut], subject())
    bench.settled(4)
    assert [each.type for each in bench.reports] == [EventType.ACTION_DONE, *[EventType.ACTION_FAILED] * 3]
    for each in bench.reports:
        assert each.text.endswith("`hidden` raised FileNotFoundError: rotated away")
    assert [each.data for each in bench.reports] == [{}, {}, {}, {CUT: True}], "what is due again stays so"


@pytest.mark.parametrize("hidden", [None, "s3cret", ["s3cret"], ("s3cret", 1)])
def test_what_is_hidden_is_a_tuple_of_texts(bench: Bench, hidden: Any) -> None:
    bench.executor.submit([Does(lambda about, ended: Outcome(True, "s3cret"), hidden=hidden)], subject())
    bench.settled(1)
    assert bench.reports[0].text.endswith("TypeError: hidden is a tuple of texts")


@pytest.mark.parametrize("at_the_stop", [False, True])
def test_what_is_dropped_is_told_whatever_its_action_does(bench: Bench, at_the_stop: bool) -> None:
    """And what runs is told to end, and the loop goes on, also where the listener fails once."""
    report, failures = bench.reports.append, [OSError(28, "no space left")]

    def fails_once(one: ActionReport) -> None:
        if one.type is EventType.ACTION_DROPPED and failures:
            raise failures.pop()
        report(one)

    bench.executor._report = fails_once
    ends: list[bool] = []
    patient = Does(lambda about, ended: ends.append(ended.wait(30)))
    bench.executor.submit([patient, Does(lambda a, e: None), Rotated(), Does(lambda a, e: None)], subject())
    until(lambda: bench.executor.counts()["running"], "the first one runs")
    if at_the_stop:
        bench.executor.stop()
    else:
        assert bench.executor.cancel("worker-3") == 3
    until(lambda: ends == [True], "the first one has ended")
    bench.settled(3)
    assert sorted(bench.of("worker-3")) == sorted([EventType.ACTION_DROPPED] * 2 + [EventType.ACTION_DONE])


def test_what_ended_before_it_began_leaves_nothing_behind(narrow: Bench) -> None:
    """A watchdog whose actions were all dropped while they waited for a thread can be submitted for again."""
    for number in range(4):
        narrow.executor.submit([Does(narrow.waits)], subject(f"w{number}"))
    until(lambda: len(narrow.begun) == 4, "all threads are taken")
    for number in range(1000):
        about = subject("late", told={"id": f"i{number}"})
        narrow.executor.submit([DoesOutside(lambda a, e: None)], about)
        assert narrow.executor.cancel("late") == 1
    done = Does(lambda a, e: None)
    narrow.executor.submit([done], subject("late"))
    assert narrow.executor.counts()["queued"] == 1
    narrow.gate.set()
    until(lambda: EventType.ACTION_DONE in narrow.of("late"), "it ran")
    assert narrow.of("late").count(EventType.ACTION_DROPPED) == 1000


def test_threads_meet_nothing_that_was_dropped(narrow: Bench) -> None:
    """When everything that waited was dropped, the threads that become free go on with what comes next."""
    for number in range(4):
        narrow.executor.submit([Does(narrow.waits)], subject(f"w{number}"))
    until(lambda: len(narrow.begun) == 4, "all threads are taken")
    for number in range(20):
        narrow.executor.submit([Does(lambda a, e: None)], subject(f"late{number}"))
        narrow.executor.submit([DoesOutside(lambda a, e: None)], subject(f"hook{number}"))
        first = f"first{number}"
        narrow.executor.submit([Does(lambda a, e: None)], subject(first), FirstLane(first))
        for name in (f"late{number}", f"hook{number}", first):
            assert narrow.executor.cancel(name) == 1
    narrow.gate.set()
    until(lambda: narrow.executor.counts()["running"] == 0, "all have ended")
    narrow.executor.submit([Does(lambda a, e: None)], subject("next"))
    until(lambda: narrow.of("next") == [EventType.ACTION_DONE], "the next one ran")
    alive = [thread for thread in threading.enumerate() if thread.name.startswith("banken-action")]
    assert len(alive) >= narrow.executor.counts()["threads"] == 4


def test_the_same_action_of_one_incident_is_not_begun_twice_at_once(bench: Bench) -> None:
    """A step that repeats faster than its action ends is skipped and told; another incident's is not."""
    action = Does(bench.waits)
    bench.executor.submit([action], subject(run=1))
    bench.executor.submit([action], subject(run=2))
    bench.executor.submit([action], subject(told={"id": "next"}))
    bench.settled(1)
    assert (bench.reports[0].type, bench.reports[0].target.run) == (EventType.ACTION_SKIPPED, 2)
    assert "earlier run" in bench.reports[0].text
    bench.gate.set()
    bench.settled(3)
    assert bench.of("worker-3") == [EventType.ACTION_SKIPPED, EventType.ACTION_DONE, EventType.ACTION_DONE]


class Unprintable(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise KeyboardInterrupt


def _recurse() -> None:
    _recurse()


@pytest.mark.parametrize(
    "fault",
    [
        ValueError("\ud800 lone"),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        Unprintable(),
        ValueError("x" * 10**7),
    ],
    ids=["surrogate", "exits", "interrupts", "generator", "unprintable", "verbose"],
)
def test_whatever_an_action_raises_is_told_and_ends_nothing(bench: Bench, fault: BaseException) -> None:
    """Every BaseException becomes a report that msgpack takes, bounded, and the next action runs."""

    def what(about: ActionTarget, ended: threading.Event) -> None:
        raise fault

    bench.executor.submit([Does(what), Does(lambda a, e: None)], subject())
    bench.settled(2)
    assert bench.of("worker-3") == [EventType.ACTION_FAILED, EventType.ACTION_DONE]
    told = bench.reports[0]
    assert told.text.startswith((type(fault).__name__, f"{__name__}.{type(fault).__name__}"))
    assert len(told.text) <= 500
    assert 0 < len(told.data["output"]) <= 8192
    msgpack.packb([told.text, told.data])


def test_what_an_action_raised_is_told_in_one_line(bench: Bench) -> None:
    """The type and the whole message stand in the text, harmless for a terminal; the traceback is the output."""

    def what(about: ActionTarget, ended: threading.Event) -> None:
        raise RuntimeError("\x1b[31mred\nsecond line")

    bench.executor.submit([Does(what)], subject())
    bench.settled(1)
    assert bench.reports[0].text == "RuntimeError: \\x1b[31mred second line"
    assert "in what" in bench.reports[0].data["output"]


@pytest.mark.parametrize("answer", ["nothing good", Outcome(True, "\ud800", {"k": "\udfff", "big": "y" * 10**7})])
def test_whatever_an_action_returns_is_told(bench: Bench, answer: Any) -> None:
    """Something that is no Outcome is a failure; texts and data of an Outcome are cleaned and bounded."""
    bench.executor.submit([Does(lambda a, e: answer), Does(lambda a, e: _recurse())], subject())
    bench.settled(2)
    first, second = bench.reports
    assert len(msgpack.packb([first.text, first.data])) < 2 * 2**20
    assert first.type is (EventType.ACTION_DONE if isinstance(answer, Outcome) else EventType.ACTION_FAILED)
    assert "RecursionError" in second.text


def test_secrets_are_told_to_nobody(bench: Bench) -> None:
    """What an action hides is in neither the text, the data nor the traceback, also where that is cut."""
    secret = "hunter2-hunter2"

    def fails(about: ActionTarget, ended: threading.Event) -> None:
        raise ValueError(f"cannot reach {secret}" + "x" * 8183)  # half of it would be cut

    def answers(about: ActionTarget, ended: threading.Event) -> Outcome:
        return Outcome(True, f"sent to {secret}", {"url": [secret]})

    bench.executor.submit([Does(fails, hidden=(secret,)), Does(answers, hidden=(secret,))], subject())
    bench.settled(2)
    for report in bench.reports:
        assert "unter2" not in repr(report)
    assert bench.reports[1].text == "sent to ***"


def test_a_stuck_action_is_told_replaced_and_not_waited_for(narrow: Bench) -> None:
    """Four that outlive their limit are stuck; each watchdog's next action runs; one that returns is told late."""
    ran: list[str] = []
    for number in range(4):
        next_ = Does(lambda about, ended: ran.append(about.incident.name))
        narrow.executor.submit([Does(narrow.waits, limit_s=5.0), next_], subject(f"w{number}"))
    until(lambda: len(narrow.begun) == 4, "all threads are taken")
    assert 0 < (narrow.executor.patience(time.monotonic()) or 0) <= 5.0
    narrow.executor.check(time.monotonic())
    assert narrow.executor.counts()["stuck"] == 0
    narrow.executor.check(time.monotonic() + 5.0)
    until(lambda: len(ran) == 4, "the next ones ran")
    assert narrow.executor.counts()["stuck"] == 4
    narrow.gate.set()
    until(lambda: narrow.executor.counts()["stuck"] == 0, "they came back")
    assert narrow.of("w0") == [EventType.ACTION_STUCK, EventType.ACTION_DONE, EventType.ACTION_DONE]
    assert narrow.executor.patience(time.monotonic()) is None


def test_a_stuck_action_is_not_begun_again(bench: Bench) -> None:
    """A step that repeats an action which is stuck is skipped: threads do not pile up behind one hung server."""
    action = Does(bench.waits, limit_s=5.0)
    bench.executor.submit([action], subject())
    until(lambda: bench.begun, "it has begun")
    bench.executor.check(time.monotonic() + 5.0)
    for number in range(10):
        bench.executor.submit([action], subject(run=2 + number))
    bench.settled(11)
    assert bench.of("worker-3") == [EventType.ACTION_STUCK, *[EventType.ACTION_SKIPPED] * 10]
    assert len(bench.begun) == 1


def test_what_waits_for_the_outside_does_not_keep_others_from_running(narrow: Bench) -> None:
    """1,000 hanging webhooks take three of four threads; what needs no outside runs beside them; a place that
    becomes free is used."""
    for number in range(1000):
        narrow.executor.submit([DoesOutside(narrow.waits, limit_s=5.0)], subject(f"hook{number}"))
    until(lambda: len(narrow.begun) == 3, "three are begun")
    for number in range(50):
        narrow.executor.submit([Does(lambda a, e: None)], subject(f"kill{number}"))
    narrow.settled(50)
    assert len(narrow.begun) == 3
    narrow.executor.check(time.monotonic() + 5.0)
    until(lambda: len(narrow.begun) == 6, "the stuck ones' places are taken")


def test_so_many_stuck_ones_and_no_more(narrow: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With STUCK_MAX stuck, those that wait already are skipped, so threads stay bounded; a kill still runs."""
    monkeypatch.setattr(module, "STUCK_MAX", 6)
    for number in range(100):
        narrow.executor.submit([DoesOutside(narrow.waits, limit_s=5.0)], subject(f"hook{number}"))

    def skipped() -> int:
        return sum(report.type is EventType.ACTION_SKIPPED for report in narrow.reports)

    for stuck in (3, 6):
        until(lambda stuck=stuck: len(narrow.begun) == stuck, f"{stuck} are begun")
        narrow.executor.check(time.monotonic() + 5.0)
    until(lambda: skipped() == 94, "the others are skipped")
    narrow.executor.submit([Does(lambda a, e: None)], subject("kill"))
    until(lambda: narrow.of("kill") == [EventType.ACTION_DONE], "a kill still runs")
    assert narrow.executor.counts()["threads"] <= 6 + 4


def test_ten_thousand_at_once_are_bounded_and_all_told(bench: Bench) -> None:
    """10,000 submissions of two actions each fill the queue exactly, none is lost, threads stay within the bound;
    what exceeds the queue is told as skipped; submitting is quick."""
    blocked = [subject(f"b{number}") for number in range(64)]
    for each in blocked:
        bench.executor.submit([Does(bench.waits)], each)
    until(lambda: len(bench.begun) == 64, "all threads are taken")
    first, second = Does(lambda a, e: None), Does(lambda a, e: None)
    began = time.monotonic()
    for number in range(10_000):
        bench.executor.submit([first, second], subject(f"w{number}"))
    print(f"10,000 submissions: {time.monotonic() - began:.2f} s")
    bench.executor.submit([first], subject("too many"))
    assert bench.of("too many") == [EventType.ACTION_SKIPPED]
    assert bench.executor.counts() == {"running": 64, "stuck": 0, "queued": 20_000, "threads": 64}
    bench.gate.set()
    until(lambda: len(bench.reports) == 64 + 20_000 + 1, "all are told", 45)
    until(lambda: bench.executor.counts()["running"] == 0, "all have ended")
    assert bench.executor.counts() == {"running": 0, "stuck": 0, "queued": 0, "threads": 64}
    assert sum(report.type is EventType.ACTION_DONE for report in bench.reports) == 20_064


def test_threads_are_made_only_when_they_are_needed(bench: Bench) -> None:
    """100 actions one after the other need one or two threads."""
    for number in range(100):
        bench.executor.submit([Does(lambda a, e: None)], subject(f"w{number}"))
        bench.settled(number + 1)
        until(lambda: bench.executor.counts()["running"] == 0, "its thread is free again")
    assert bench.executor.counts()["threads"] <= 3


def test_a_listener_that_raises_ends_no_thread() -> None:
    """A report that cannot be delivered keeps nothing from running."""
    ran: list[str] = []

    def report(report: ActionReport) -> None:
        raise RuntimeError("nobody listens")

    executor = Executor(Desk(), report, threads_max=1)
    for number in range(3):
        executor.submit([Does(lambda about, ended: ran.append(about.incident.name))], subject(f"w{number}"))
    until(lambda: len(ran) == 3, "all ran")
    assert executor.close(10) == 0


def test_the_end_of_one_incident_looks_at_nothing_of_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand that end in one turn of the loop must not cost as many looks at all that runs. What has come
    back is found no longer."""
    jobs = bench.executor._jobs
    for number in range(20):
        bench.executor.submit([Does(bench.waits)], subject(f"other{number}"))
    told = threading.Event()
    bench.executor.submit([Does(lambda a, e: e.wait(30) and told.set())], subject())
    until(lambda: bench.executor.counts()["running"] == 21, "all run")
    monkeypatch.setattr(jobs, "begun", lambda: pytest.fail("it looks at all"))
    for number in range(20):
        assert len(jobs.begun_about(f"other{number}")) == 1
    bench.executor.cancel("worker-3", "i-worker-3")
    assert told.wait(10)
    assert bench.of("other1") == []
    bench.gate.set()
    bench.settled(21)
    until(lambda: not jobs._begun, "nothing is kept of them")
    monkeypatch.undo()


def test_what_is_stuck_is_told_of_the_end_too(bench: Bench) -> None:
    """Its thread was replaced; it may come back, and is then found no longer."""
    told = threading.Event()
    bench.executor.submit([Does(lambda a, e: e.wait(30) and told.set(), limit_s=0.01)], subject())
    until(lambda: (bench.executor.check(time.monotonic()), bench.executor.counts()["stuck"])[1], "it is stuck")
    bench.executor.cancel("worker-3", "i-worker-3")
    assert told.wait(10)
    until(lambda: not bench.executor._jobs._begun, "nothing is kept of it")


def test_closing_tells_who_waits_and_begins_nothing_more() -> None:
    """close(): a patient action sees ``ended``, pending ones are not begun and told as dropped, later submissions
    are ignored."""
    bench = Bench(threads_max=1)
    began = threading.Event()

    def patient(about: ActionTarget, ended: threading.Event) -> None:
        began.set()
        assert ended.wait(30)

    bench.executor.submit([Does(patient), Does(bench.waits)], subject())
    assert began.wait(10)
    assert bench.executor.close(10) == 0
    bench.executor.submit([Does(bench.waits)], subject("late"))
    assert bench.begun == []
    assert sorted(bench.of("worker-3")) == [EventType.ACTION_DONE, EventType.ACTION_DROPPED]


def test_closing_does_not_wait_for_a_hung_action_and_the_process_can_end() -> None:
    """With an action that never ends, close() returns after its time, and the interpreter exits."""
    code = (
        "import sys, threading; sys.path.insert(0, 'tests')\n"
        "from test_recovery_executor import Does, Bench; from recovery_kit import subject, until\n"
        "bench = Bench(); bench.executor.submit([Does(bench.waits)], subject())\n"
        "until(lambda: bench.begun, 'it has begun')\n"
        "print(bench.executor.close(0.1))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True, cwd=_ROOT
    )
    assert done.stdout.strip() == "1"


_ROOT = __file__.rpartition("/tests/")[0]
