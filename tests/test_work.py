"""Work in the client: when a message is needed, what it says, and what is no work. No supervisor."""

from __future__ import annotations

import asyncio
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from banken import Incident, Watchdog
from banken.errors import DurationRefused, NameRefused, Refused, TextRefused
from banken.protocol.limits import SECONDS_MAX
from banken.protocol.messages import Kind, Message, Scope
from banken.testing import Recorder
from banken.watchdog.work import LOOK_MAX, teller


def until(condition: Callable[[], object], within: float = 10.0) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return bool(condition())


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    one = Recorder()
    yield one
    for name in list(one._open_work):
        one._end_work(name)


def said(recorder: Recorder, name: str = "web") -> list[Message]:
    return [each for each in recorder.messages if each.kind is Kind.WORK and each.name == name]


def seconds(recorder: Recorder, name: str = "web") -> list[float | None]:
    """What was said of ``name``, in whole tenths; None: idle."""
    return [None if each.args[0] is None else round(each.args[0], 1) for each in said(recorder, name)]


def test_a_thousand_pieces_of_work_need_a_few_messages_and_one_that_it_is_idle(recorder: Recorder) -> None:
    """What begins while the last message still holds sends nothing; the thread says what has become of it."""
    dog = recorder.watchdog("web", timeout=60)
    began = time.monotonic()
    for number in range(1000):
        with dog.work("GET /x", limit=30):
            pass
        if number % 4 == 0:
            time.sleep(0.001)  # the thread has its turn
    assert len(said(recorder)) <= 4 + 8 * (time.monotonic() - began)
    assert seconds(recorder)[0] == 30.2
    assert until(lambda: seconds(recorder)[-1] is None, within=5.0)


def test_what_is_due_first_counts(recorder: Recorder) -> None:
    """A shorter limit inside a longer one is told at once, and the longer one again when it has ended."""
    dog = recorder.watchdog("web", timeout=60)
    with dog.work("outer", limit=100):
        with dog.work("inner", limit=0.5):
            assert seconds(recorder)[:2] == [100.2, 0.5]  # more comes where this thread is held up here
        assert (seconds(recorder)[-1] or 0.0) > 90.0


def test_a_longer_limit_does_not_wait_behind_work_that_has_ended(recorder: Recorder) -> None:
    """The message of what has ended would convict it too early."""
    dog = recorder.watchdog("web", timeout=60)
    with dog.work("short", limit=5):
        pass
    with dog.work("long", limit=50):
        assert seconds(recorder) == [5.1, 50.2]


def test_in_threads_the_earliest_end_counts(recorder: Recorder) -> None:
    """Forty threads with limits from 10 to 49 s, in any order: the last message says 10."""
    dog = recorder.watchdog("web", timeout=60)
    inside, leave = threading.Barrier(41), threading.Event()

    def handle(limit: int) -> None:
        with dog.work(f"GET /{limit}", limit=limit):
            inside.wait(10)
            leave.wait(10)

    with ThreadPoolExecutor(40) as pool:
        for number in range(40):
            pool.submit(handle, 10 + number * 7 % 40)
        inside.wait(10)
        last = seconds(recorder)[-1]
        leave.set()
    assert last is not None
    assert 9.0 <= last <= 10.2


def test_what_runs_for_long_is_described(recorder: Recorder) -> None:
    """After a quarter of its limit the supervisor knows the name, the age, the thread and the task."""
    dog = recorder.watchdog("web", timeout=60)

    async def handle() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("slow")
        with dog.work("GET /slow", limit=4):
            await asyncio.to_thread(leave.wait, 20)

    def serve() -> None:
        asyncio.run(handle())

    leave = threading.Event()
    thread = threading.Thread(target=serve, name="server", daemon=True)
    thread.start()
    found = until(lambda: any(each.args[1] for each in said(recorder)))
    leave.set()
    assert found
    scope = next(each.args[1] for each in said(recorder) if each.args[1])
    thread.join()
    assert isinstance(scope, Scope)
    assert (scope.name, scope.limit, scope.tid, scope.thread, scope.task) == (
        "GET /slow", 4.0, thread.native_id, "server", "slow",
    )  # fmt: skip
    assert 0.9 <= scope.age <= 4.0


def test_late_work_is_silence(recorder: Recorder) -> None:
    """From its limit on nothing is said, whatever else begins and ends, until it has ended."""
    dog = recorder.watchdog("web", timeout=60)
    with dog.work("hangs", limit=0.1):
        time.sleep(0.15)
        before = len(said(recorder))
        for _ in range(20):
            with dog.work("GET /x", limit=0.2):
                time.sleep(0.01)
        assert len(said(recorder)) == before
    assert seconds(recorder)[-1] is None


def test_what_is_idle_says_so_again(recorder: Recorder) -> None:
    """Three times in its timeout: a supervisor that was restarted knows nothing of it."""
    dog = recorder.watchdog("web", timeout=0.3)
    dog.idle()
    assert until(lambda: len(said(recorder)) >= 4)
    assert set(seconds(recorder)) == {None}


def test_what_is_idle_or_busy_is_said_each_second_whatever_its_timeout(recorder: Recorder) -> None:
    """Else a supervisor that was restarted would convict it by a shorter timeout that the operator gave."""
    recorder.busy("web", 30)
    recorder.idle("job")
    recorder.watchdog("declared", timeout=60).idle()
    assert until(lambda: min(len(said(recorder, name)) for name in ("web", "job", "declared")) >= 2, within=5.0)
    assert seconds(recorder)[0] == 30.0
    assert 26.0 < (seconds(recorder)[1] or 0.0) <= 29.1
    assert set(seconds(recorder, "job") + seconds(recorder, "declared")) == {None}


def test_what_is_busy_says_so_again(recorder: Recorder) -> None:
    """With what is left, and no more after a feed."""
    dog = recorder.watchdog("web", timeout=0.3, resolution=0)
    dog.busy(20.0)
    assert until(lambda: len(said(recorder)) >= 3)
    first, second, third = (each or 0.0 for each in seconds(recorder)[:3])
    assert 20.0 == first > second > third > 10.0
    dog.feed()
    count = len(said(recorder))
    time.sleep(0.25)
    assert len(said(recorder)) == count


def test_a_feed_that_was_not_sent_takes_back_what_was_promised_before(recorder: Recorder) -> None:
    """The next message says by when the one after this feed is due, not after the one before."""
    dog = recorder.watchdog("web", timeout=3, resolution=0)
    dog.busy(0.6)
    deliver, recorder._deliver = recorder._deliver, lambda frame, wait=0.0: False  # type: ignore[method-assign]
    dog.feed()
    recorder._deliver = deliver  # type: ignore[method-assign]
    assert until(lambda: len(said(recorder)) == 2)
    assert seconds(recorder)[0] == 0.6
    assert 0.6 < (seconds(recorder)[1] or 0.0) <= 3.0


def test_what_feeds_is_judged_by_its_feeds_too(recorder: Recorder) -> None:
    """Work inside the loop that feeds does not hide that the loop hangs, and is not hidden by it."""
    dog = recorder.watchdog("web", timeout=20, resolution=0)
    dog.feed()
    with dog.work("GET /x", limit=5):
        dog.feed()
        assert seconds(recorder) == [5.1, 5.1]
    with dog.work("GET /x", limit=50):
        pass
    assert until(lambda: 10.0 < (seconds(recorder)[-1] or 0.0) <= 20.0)
    assert None not in seconds(recorder)
    dog.idle()
    assert seconds(recorder)[-1] is None


def test_busy_and_idle_by_name(recorder: Recorder) -> None:
    """The next message within so long; nothing to do."""
    recorder.busy("web", 7)
    recorder.idle("web")
    assert seconds(recorder) == [7.0, None]


@pytest.mark.parametrize(
    "limit", [0, -1, math.nan, math.inf, SECONDS_MAX * 1.01, 10**400, True, "30", None, b"1", [30]]
)
def test_a_limit_that_is_none_is_refused_where_the_work_is_made(recorder: Recorder, limit: object) -> None:
    """0, NaN, more than ten years, no number: the message has what was given, and nothing was sent or begun."""
    dog = recorder.watchdog("web", timeout=60)
    for make in (
        lambda: dog.work("GET /x", limit=limit),  # type: ignore[arg-type]
        lambda: recorder.watched("etl", limit=limit),  # type: ignore[arg-type]
        lambda: recorder.busy("web", limit),  # type: ignore[arg-type]
        lambda: dog.busy(limit),  # type: ignore[arg-type]
    ):
        with pytest.raises(DurationRefused, match=r"number of seconds|is not allowed"):
            make()
    assert not said(recorder)


def test_names_that_are_none(recorder: Recorder) -> None:
    """Work may be called anything that is a text; a watchdog not."""
    dog = recorder.watchdog("web", timeout=60)
    with pytest.raises(TextRefused, match="str"):
        dog.work(7, limit=1)  # type: ignore[arg-type]
    with pytest.raises(NameRefused):
        recorder.watched("no name", limit=1)
    for odd in ("", "x" * 10_000, "GET /\udcff\x00\n☃"):
        before = len(said(recorder))
        with dog.work(odd, limit=1):
            until(lambda before=before: any(each.args[1] for each in said(recorder)[before:]), within=0.9)  # type: ignore[misc]
    assert any(each.args[1] for each in said(recorder))


def test_ends_that_are_none_end_nothing(recorder: Recorder) -> None:
    """Without a beginning, twice, in another thread: the other work is as it was, and nothing is raised."""
    dog = recorder.watchdog("web", timeout=60)
    dog.work("never begun", limit=5).__exit__(None, None, None)
    with dog.work("outer", limit=100):
        inner = dog.work("inner", limit=0.5)
        inner.__enter__()
        thread = threading.Thread(target=inner.__exit__, args=(None, None, None), daemon=True)
        thread.start()
        thread.join()
        inner.__exit__(None, None, None)
        assert seconds(recorder)[:2] == [100.2, 0.5]
        assert (seconds(recorder)[-1] or 0.0) > 90.0
    with dog.work("again", limit=5) as open_, pytest.raises(Refused, match="has begun already"):
        open_.__enter__()


def test_ten_thousand_are_open_at_once(recorder: Recorder) -> None:
    """They begin and end in any order within a second or so, and only the end of all is idle."""
    dog = recorder.watchdog("web", timeout=600)
    began = time.process_time()
    with ExitStack() as stack:
        for number in range(10_000):
            stack.enter_context(dog.work("GET /x", limit=60 + number % 7))
        assert None not in seconds(recorder)
    assert until(lambda: seconds(recorder)[-1] is None, within=5.0)
    assert time.process_time() - began < 5.0


def test_after_stop_work_is_not_told(recorder: Recorder) -> None:
    """A released watchdog is not watched anew by what still works; one that is started again is."""
    dog = recorder.watchdog("web", timeout=60)
    with dog.work("GET /x", limit=5):
        dog.stop()
        assert recorder.messages[-1].kind is Kind.RELEASE
    count = len(recorder.messages)
    with dog.work("GET /x", limit=5):
        pass
    assert len(recorder.messages) == count
    dog.start_in_thread()
    with dog.work("GET /x", limit=5):
        assert recorder.messages[-1].kind is Kind.WORK


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.every_python
def test_a_forked_child_has_no_work_of_its_parent(recorder: Recorder) -> None:
    """It says nothing when the parent's work ends in it, and its own is told."""
    dog = recorder.watchdog("web", timeout=60)
    with dog.work("GET /x", limit=0.4) as work:
        pid = os.fork()
        if pid == 0:
            wrong = 1
            try:
                count = len(recorder.messages)
                work.__exit__(None, None, None)
                wrong += 2 * (len(recorder.messages) != count)
                with dog.work("own", limit=5):
                    wrong += 4 * (len(recorder.messages) != count + 1)
                wrong -= 1
            finally:
                os._exit(wrong)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_watched_functions(recorder: Recorder) -> None:
    """Functions and coroutine functions, nested; the first call declares the watchdog with the limit."""

    @recorder.watched("etl", limit=60)
    def outer(x: int) -> int:
        """Its text."""
        return asyncio.run(inner(x)) + 1

    @recorder.watched("etl", limit=20)
    async def inner(x: int) -> int:
        assert seconds(recorder, "etl") == [60.2, 20.2]
        return x * 2

    assert (outer.__name__, outer.__doc__) == ("outer", "Its text.")
    assert outer(3) == 7
    declared = [each for each in recorder.messages if each.kind is Kind.DECLARE]
    assert [(each.name, each.declaration and each.declaration.timeout) for each in declared] == [("etl", 60.0)]


def test_watched_keeps_to_a_watchdog_that_is_declared(recorder: Recorder) -> None:
    """Its timeout is not changed; released and called again it is declared anew."""
    recorder.watchdog("etl", timeout=7)

    @recorder.watched("etl", limit=60)
    def work() -> None:
        pass

    work()
    assert [each.kind for each in recorder.messages][:2] == [Kind.DECLARE, Kind.WORK]
    recorder.release("etl")
    work()
    assert recorder.kinds("etl")[-2:] == [Kind.DECLARE, Kind.WORK]


def test_watched_passes_an_exception_on_and_the_work_has_ended(recorder: Recorder) -> None:
    """As any context manager."""

    @recorder.watched("etl", limit=0.5)
    def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        fails()
    assert seconds(recorder, "etl") == [0.5, None]


def test_watched_refuses_what_runs_later(recorder: Recorder) -> None:
    """A call of a generator function does nothing yet; what is no function cannot be called at all."""

    def numbers() -> Iterator[int]:
        yield 1

    with pytest.raises(Refused, match="a generator function"):
        recorder.watched("etl", limit=1)(numbers)
    with pytest.raises(Refused, match="not int"):
        recorder.watched("etl", limit=1)(7)  # type: ignore[type-var]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_has_a_watchdog_of_its_own(recorder: Recorder) -> None:
    """Else one child's idle would hide that another hangs."""

    @recorder.watched("etl", limit=5)
    def work() -> None:
        pass

    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(writer, recorder.messages[-1].name.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        assert file.read() == f"etl@{pid}"
    os.waitpid(pid, 0)


# -- the same with a timer in this process --------------------------------------------------------


def test_a_local_watchdog_names_late_work() -> None:
    """Its callback gets the work, how long it ran, and its thread."""
    incidents: list[Incident] = []

    def note(incident: Incident) -> None:
        incidents.append(incident)

    dog = Watchdog(timeout=30, interval=30, callback=note)
    with dog:
        with dog.work("GET /x", limit=0.3):
            assert until(lambda: incidents)
        time.sleep(0.5)
    assert len(incidents) == 1
    assert incidents[0].reason is not None
    ran = r"'GET /x' has run for \d+\.\d s; its limit is 0\.3 s in thread MainThread"
    assert re.fullmatch(ran, incidents[0].reason)


def test_a_local_watchdog_is_idle_between_its_work() -> None:
    """Three timeouts without work: nothing; a feed is due again after one."""
    incidents: list[int] = []
    with Watchdog(timeout=0.7, interval=30, callback=lambda: incidents.append(1)) as dog:
        with dog.work("GET /x", limit=0.7):
            pass
        time.sleep(2.1)
        assert not incidents
        dog.feed()
        assert until(lambda: incidents)


def test_progress_and_status_on_a_local_handle() -> None:
    """The incident has the last ones."""
    incidents: list[Incident] = []

    def note(incident: Incident) -> None:
        incidents.append(incident)

    with Watchdog(timeout=0.2, interval=30, grace=60, callback=note) as dog:
        dog.feed(progress=7, status="step 7")
        with pytest.raises(TextRefused):
            dog.feed(progress=object())  # type: ignore[arg-type]
        assert until(lambda: incidents)
    assert (incidents[0].progress, incidents[0].status) == (7, "step 7")


def test_progress_and_status_on_a_handle_at_a_supervisor(recorder: Recorder) -> None:
    """They travel as a note; within the resolution a feed with progress need not."""
    dog = recorder.watchdog("web", timeout=60)
    dog.feed(progress=7, status="step 7")
    dog.feed(progress=8)
    dog.feed(status="step 8")
    assert [each.args for each in recorder.messages if each.kind is Kind.NOTE] == [(7, "step 7"), (None, "step 8")]


def test_a_feed_does_not_hide_work_that_is_late(recorder: Recorder) -> None:
    """Until that has ended nothing is said: silence is what has to be heard. Then the feeds count again."""
    dog = recorder.watchdog("web", timeout=20, resolution=0)
    dog.feed()
    feeds = [each for each in recorder.messages if each.kind is Kind.FEED]
    with dog.work("GET /x", limit=0.1):
        time.sleep(0.15)
        before = len(recorder.messages)
        for _ in range(5):
            dog.feed()
        recorder.feed("web", progress=3)
        assert len(recorder.messages) == before
    dog.feed()
    assert [each for each in recorder.messages if each.kind is Kind.FEED] != feeds


def test_a_feed_that_crosses_the_moment_is_taken_back(recorder: Recorder) -> None:
    """It was on its way when the work became late: what follows it says so."""
    dog = recorder.watchdog("web", timeout=20, resolution=0)
    deliver = recorder._deliver

    def slow(frame: bytes, wait: float = 0.0) -> bool:
        recorder._deliver = deliver  # type: ignore[method-assign]
        time.sleep(0.2)
        return deliver(frame, wait)

    dog.feed()
    with dog.work("GET /x", limit=0.1):
        recorder._deliver = slow  # type: ignore[method-assign]
        dog.feed()
        fed, taken_back = recorder.messages[-2:]
        assert (fed.kind, taken_back.kind) == (Kind.FEED, Kind.WORK)
        assert taken_back.args[0] < 0.01


def test_a_watchdog_in_this_process_is_not_hidden_by_its_feeds_either() -> None:
    runs: list[Incident] = []
    dog = Watchdog(timeout=3, interval=0.2)
    dog.set_callback(runs.append)
    dog.start_in_thread()
    end = threading.Event()
    try:
        dog.feed()

        def hang() -> None:
            with dog.work("GET /x", limit=0.2):
                end.wait(20)

        working = threading.Thread(target=hang)
        working.start()

        def fed() -> bool:
            dog.feed()
            return len(runs) >= 3  # the first incident goes on: its callback is repeated

        assert until(fed)
        assert {each.run for each in runs[:3]} == {1, 2, 3}
        end.set()
        working.join(20)
    finally:
        end.set()
        dog.stop()


def test_what_cannot_be_said_is_tried_again_after_a_second(caplog: pytest.LogCaptureFixture) -> None:
    """And told each time: so not as often as the thread could."""
    calls: list[float] = []

    def fails(now: float) -> float:
        calls.append(now)
        if len(calls) > 3:
            return math.inf
        raise RuntimeError("no")

    now = time.monotonic()
    type(teller)().look(fails, now, now)  # the one of this process has others to look at, too
    assert until(lambda: len(calls) == 4)
    assert calls[3] - calls[0] >= LOOK_MAX  # that it was added may wake the thread once more
    assert [each.getMessage() for each in caplog.records] == ["what is due could not be said"] * 3
