"""The executor: whom the system gives no thread, who waits behind whom, and what hangs."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from banken.protocol.incidents import Cause, Incident
from banken_supervisor.actions import keyed_executor as module
from banken_supervisor.actions.callbacks import Callbacks
from banken_supervisor.actions.job import How, Job
from banken_supervisor.actions.keyed_executor import KeyedExecutor
from banken_supervisor.actions.ready_lanes import ReadyLanes
from banken_supervisor.engine.effects import Event, EventType
from recovery_kit import until

Told = tuple[str, How, Any]


class Starts:
    """``Thread.start``, which the test has refuse as the system would."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.allowed = True
        self.refused = 0
        real = threading.Thread.start

        def start(thread: threading.Thread) -> None:
            if not self.allowed:
                self.refused += 1
                raise RuntimeError("can't start new thread")
            real(thread)

        patch.setattr(threading.Thread, "start", start)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Starts:
    return Starts(monkeypatch)


class Bench:
    def __init__(self, **settings: Any) -> None:
        self.told: list[Told] = []
        self.gate = threading.Event()
        self.executor = KeyedExecutor(
            "banken-test", lambda job, how, value, seconds: self.told.append((job.lane, how, value)), **settings
        )

    def submit(self, lane: str, work: Callable[[], Any], **more: Any) -> None:
        self.executor.submit(Job(lane, work, **more))

    def hang(self, lane: str, **more: Any) -> None:
        self.submit(lane, lambda: self.gate.wait(30), **more)

    def of(self, lane: str) -> list[How]:
        return [how for name, how, _ in self.told if name == lane]

    def turn(self) -> None:
        """What the loop does: look when it was told to."""
        self.executor.check(time.monotonic())


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(threads_max=4)
    yield made
    made.gate.set()
    made.executor.close(10.0)


def test_jobs_without_a_thread_are_told_once_and_begin_when_there_is_one(bench: Bench, starts: Starts) -> None:
    """Three lanes are told, each once; the system is asked again with a growing pause; then all run in order."""
    starts.allowed = False
    for lane in "abc":
        bench.submit(lane, lambda: 1)
        bench.submit(lane, lambda: 2)
    until(lambda: bench.turn() or starts.refused >= 3, "it is asked again")  # type: ignore[func-returns-value]
    assert {lane: bench.of(lane) for lane in "abc"} == {lane: [How.WAITS] for lane in "abc"}
    assert "no thread" in bench.told[0][2]
    patience = bench.executor.patience(time.monotonic())
    assert patience is not None
    assert patience <= 0.4
    assert bench.executor._pause == 8 * module.RETRY_MIN  # after three refusals
    assert bench.executor.counts() == {"running": 0, "stuck": 0, "queued": 6, "threads": 0}
    starts.allowed = True
    until(lambda: bench.turn() or len(bench.told) == 9, "all run")  # type: ignore[func-returns-value]
    assert [value for lane, _, value in bench.told if lane == "b"][1:] == [1, 2]
    until(lambda: bench.executor.counts()["running"] == 0, "all have ended")
    assert bench.executor.patience(time.monotonic()) is None


def test_asking_for_a_thread_costs_little_while_there_is_none(bench: Bench, starts: Starts) -> None:
    """A thousand submissions and looks within the pause ask the system once or twice, and tell at most one each."""
    starts.allowed = False
    for number in range(1000):
        bench.submit(str(number), lambda: None)
        bench.turn()
    assert starts.refused <= 5
    assert len(bench.told) <= 4 * starts.refused


def test_threads_that_sleep_wake_one_another_until_all_jobs_run(bench: Bench) -> None:
    """One is woken, however many jobs come at once: each that takes one wakes the next."""
    for lane in "abcd":
        bench.hang(lane)
    until(lambda: bench.executor.counts()["running"] == 4, "there are four threads")
    bench.gate.set()
    until(lambda: bench.executor._asleep == 4, "all four sleep")
    bench.gate.clear()
    for lane in "efgh":
        bench.hang(lane)
    until(lambda: bench.executor.counts()["running"] == 4, "all four run")
    assert bench.executor.counts()["threads"] == 4


def test_a_thread_that_cannot_sleep_for_want_of_memory_ends_and_others_are_woken_all_the_same(bench: Bench) -> None:
    real, left = bench.executor._changed.wait, [MemoryError]

    def wait(timeout: float | None = None) -> bool:
        if left:
            raise left.pop()
        return real(timeout)

    bench.executor._changed.wait = wait  # type: ignore[method-assign]
    bench.submit("a", lambda: None)
    until(lambda: not left and bench.executor.counts()["threads"] == 0, "its thread has ended")
    for lane in "bc":
        bench.submit(lane, lambda: None)
        until(lambda lane=lane: bench.of(lane) == [How.DONE], f"{lane} runs")  # type: ignore[misc]
        until(lambda: bench.executor._asleep == 1, "its thread sleeps")
    assert bench.executor.counts()["threads"] == 1


def test_the_place_of_a_stuck_job_is_taken_by_a_thread_that_sleeps(bench: Bench) -> None:
    """Its owner may have no more threads than it has, and was asked for one more."""
    for number in range(4):
        bench.submit(f"other-{number}", lambda: None)
    until(lambda: len(bench.told) == 4, "there are threads")
    bench.submit("stuck", lambda: bench.gate.wait(30), owner="one", limit_s=0.05)
    for number in range(2):
        bench.hang(f"held-{number}", owner="one")
    until(lambda: bench.executor.counts()["running"] == 3, "it has all that it may have")
    bench.submit("next", lambda: 1, owner="one")
    time.sleep(0.1)
    assert bench.of("next") == []
    bench.turn()
    until(lambda: bench.of("next") == [How.DONE], "it runs in its place")


def test_a_job_that_changes_what_ends_it_while_it_is_looked_at_is_told_as_stuck(bench: Bench) -> None:
    class Changing(Job):
        def __getattribute__(self, name: str) -> Any:
            found = super().__getattribute__(name)
            if name == "end":
                self.end = None
            return found

    bench.executor.submit(Changing("a", lambda: bench.gate.wait(30), limit_s=0.0, end=lambda limit: "ended"))
    until(lambda: bench.executor.counts()["running"] == 1, "it runs")
    bench.turn()
    assert bench.told == [("a", How.STUCK, "ended")]


def test_a_callback_without_a_thread_is_told_as_failed_and_runs_later(starts: Starts) -> None:
    """What the loop publishes of it: callback-failed, then callback-done."""
    reports: list[Event] = []
    callbacks = Callbacks(reports.append)
    callbacks.bind("w", lambda: None)
    starts.allowed = False
    callbacks.run(Incident("i", "w", Cause.TIMEOUT, 0.0, 1.0, 1.0), None)
    assert [report.type for report in reports] == [EventType.CALLBACK_FAILED]
    assert "no thread" in reports[0].data["text"]
    starts.allowed = True
    until(lambda: callbacks.check(time.monotonic()) or len(reports) == 2, "it runs")  # type: ignore[func-returns-value]
    assert reports[1].type is EventType.CALLBACK_DONE
    assert callbacks.close(5.0) == 0


def test_a_quick_job_never_waits_behind_one_that_hangs() -> None:
    """250 rounds (fewer on a busy machine) of a hanging and a quick one, while others poll ``counts``: the quick
    one is done at once, although threads are switched every 10 microseconds."""
    interval = sys.getswitchinterval()
    polling = threading.Event()
    benches: list[Bench] = []

    def poll() -> None:
        while not polling.is_set():
            for each in benches[-1:]:
                each.executor.counts()

    pollers = [threading.Thread(target=poll, daemon=True) for _ in range(3)]
    sys.setswitchinterval(1e-5)
    for poller in pollers:
        poller.start()
    give_over = time.monotonic() + 20.0
    try:
        for number in range(250):
            if number >= 20 and time.monotonic() > give_over:
                break
            bench = Bench(threads_max=8)
            benches.append(bench)
            bench.submit("first", lambda: None)
            until(lambda bench=bench: bench.executor.counts()["running"] == 0 and bench.told, "a thread is idle")  # type: ignore[misc]
            bench.hang("hangs")  # that thread takes it, and must not count as idle for the next
            for _ in range(number % 4):
                time.sleep(0)
            bench.submit("quick", lambda: None)
            until(lambda bench=bench: bench.of("quick") == [How.DONE], f"round {number}: the quick one is done")  # type: ignore[misc]
            bench.gate.set()
            assert bench.executor.close(10.0) == 0
    finally:
        polling.set()
        for poller in pollers:
            poller.join()
        sys.setswitchinterval(interval)


def test_the_lane_of_a_stuck_job_goes_on_unless_it_is_held(bench: Bench) -> None:
    """Both get their thread replaced; a second spawn of one program, though, must not run beside the first."""
    for lane, holds in (("free", False), ("held", True)):
        bench.hang(lane, limit_s=0.05, holds_lane=holds)
        bench.submit(lane, lambda: None)
    until(lambda: bench.turn() or How.DONE in bench.of("free"), "the free lane goes on")  # type: ignore[func-returns-value]
    until(lambda: bench.turn() or bench.executor.counts()["stuck"] == 2, "both are stuck")  # type: ignore[func-returns-value]
    bench.submit("other", lambda: None)
    until(lambda: bench.of("other") == [How.DONE], "others run")
    assert bench.of("held") == [How.STUCK]
    bench.gate.set()
    until(lambda: bench.of("held") == [How.STUCK, How.DONE, How.DONE], "the held lane goes on after it")


def test_closing_finishes_what_waits_only_where_that_is_asked_for() -> None:
    """``finish``: what waits is done within the time; without it nothing begins any more, which is told."""
    for finish, expected in ((True, [1, 2, 3]), (False, [1])):
        bench = Bench(threads_max=1)
        began = threading.Event()
        bench.submit("a", lambda: (began.set(), bench.gate.wait(10), 1)[2])  # noqa: B023
        bench.submit("a", lambda: 2)
        bench.submit("b", lambda: 3)
        assert began.wait(10)

        def release() -> None:
            until(lambda: bench.executor._closed, "it is being closed")  # noqa: B023
            bench.gate.set()  # noqa: B023

        threading.Thread(target=release, daemon=True).start()
        assert bench.executor.close(10.0, finish=finish) == 0
        assert sorted(value for _, how, value in bench.told if how is How.DONE) == expected
        dropped = [value for _, how, value in bench.told if how is How.DROPPED]
        assert dropped == [module.STOPPED] * (3 - len(expected))
        until(lambda: not [t for t in threading.enumerate() if t.name.startswith("banken-test")], "threads end")


def test_so_many_stuck_threads_and_no_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound a job is refused and told why."""
    monkeypatch.setattr(module, "STUCK_MAX", 1)
    for lane in "ab":
        bench.hang(lane, limit_s=0.05)
    until(lambda: bench.turn() or bench.executor.counts()["stuck"] == 2, "two are stuck")  # type: ignore[func-returns-value]
    bench.submit("c", lambda: None)
    until(lambda: bench.of("c") == [How.REFUSED], "it is refused")


def test_owners_take_turns_and_one_leaves_threads_to_the_others() -> None:
    """One process has a hundred watchdogs whose actions hang; another's single one begins at once."""
    bench = Bench(threads_max=8)
    try:
        for number in range(100):
            bench.hang(f"hog-{number}", owner="hog")
        until(lambda: bench.executor.counts()["running"] == 6, "it uses all threads but the reserved ones")
        bench.submit("alice", lambda: None, owner="alice")
        until(lambda: bench.of("alice") == [How.DONE], "another owner's job begins")
        until(lambda: bench.executor.counts()["running"] == 6, "it has left, and nothing else has begun")
    finally:
        bench.gate.set()
        bench.executor.close(10.0)


def test_jobs_of_the_outside_leave_places_to_other_owners() -> None:
    bench = Bench(threads_max=8, outside_max=4)
    try:
        for number in range(100):
            bench.hang(f"hog-{number}", owner="hog", outside=True)
        until(lambda: bench.executor.counts()["running"] == 3, "it uses all places but the reserved one")
        bench.submit("alice", lambda: None, owner="alice", outside=True)
        until(lambda: bench.of("alice") == [How.DONE], "another owner's job begins")
    finally:
        bench.gate.set()
        bench.executor.close(10.0)


def test_a_full_queue_has_room_for_another_owner(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE_MAX", 20)
    for number in range(100):
        bench.hang(f"hog-{number}", owner="hog")
    refused = [lane for lane, how, _ in bench.told if how is How.REFUSED]
    assert len(refused) >= 80
    bench.submit("alice", lambda: None, owner="alice")
    until(lambda: bench.of("alice") == [How.DONE], "another owner's job is taken")


def test_owners_and_their_lanes_take_turns() -> None:
    ready = ReadyLanes[str]()
    for name in ("a1", "a2", "a3", "b1", "b2", "c1"):
        ready.add(name, name, name[0])
    ready.discard("a2")
    ready.discard("a2")
    assert len(ready) == 5
    assert "a2" not in ready
    assert ready.take(lambda owner: owner != "a") == "b1"
    assert [ready.take(lambda owner: True) for _ in range(5)] == ["a1", "c1", "b2", "a3", None]
    assert list(ready) == []
