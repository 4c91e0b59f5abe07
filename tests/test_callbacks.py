"""The executor: a bad callback hurts only itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from banken.errors import CallbackRefused
from banken.protocol.incidents import Cause, Incident
from banken_supervisor.actions.callbacks import Callbacks
from banken_supervisor.engine.effects import Event, EventType


def incident(name: str, run: int = 1) -> Incident:
    return Incident(f"i-{name}", name, Cause.TIMEOUT, 0.0, 1.0, 1.0, run)


def eventually(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.002)


class Desk:
    """An executor, its reports, and a gate that holds callbacks back."""

    def __init__(self, **settings: float) -> None:
        self.reports: list[Event] = []
        self.callbacks = Callbacks(self.reports.append, **settings)  # type: ignore[arg-type]
        self.gate = threading.Event()

    def types(self, name: str) -> list[EventType]:
        return [report.type for report in self.reports if report.name == name]


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk(time_limit=0.2, threads_max=4)
    yield made
    made.gate.set()
    made.callbacks.close(1.0)


def test_it_is_called_with_nothing_or_with_the_incident(desk: Desk) -> None:
    """As its signature asks; a third kind is refused when it is bound."""
    got: list[object] = []
    desk.callbacks.bind("a", lambda: got.append("nothing"))
    desk.callbacks.bind("b", got.append)
    desk.callbacks.bind("c", lambda one, optional=3: got.append(one.name))
    for name in "abc":
        desk.callbacks.run(incident(name), None)
    eventually(lambda: len(got) == 3)
    assert set(map(str, got)) == {"nothing", str(incident("b")), "c"}
    with pytest.raises(CallbackRefused, match="nothing, or one incident"):
        desk.callbacks.bind("d", lambda one, two: None)


@pytest.mark.parametrize("fault", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_it_raises_is_reported_with_its_traceback(desk: Desk, fault: BaseException) -> None:
    """And the same thread runs the next one."""

    def raises() -> None:
        raise fault

    desk.callbacks.bind("a", raises)
    desk.callbacks.run(incident("a"), None)
    eventually(lambda: desk.types("a") == [EventType.CALLBACK_FAILED])
    assert type(fault).__name__ in desk.reports[0].data["text"]
    assert "in raises" in desk.reports[0].data["text"]
    desk.callbacks.bind("b", lambda: None)
    desk.callbacks.run(incident("b"), None)
    eventually(lambda: desk.types("b") == [EventType.CALLBACK_DONE])
    assert desk.callbacks.counts()["threads"] <= 2


def test_one_at_a_time_for_each_watchdog(desk: Desk) -> None:
    """A second run while the first lasts is skipped and reported; another watchdog's is not."""
    started = threading.Event()

    def slow() -> None:
        started.set()
        desk.gate.wait(30)

    desk.callbacks.bind("a", slow)
    desk.callbacks.bind("b", lambda: None)
    desk.callbacks.run(incident("a"), None)
    assert started.wait(20)
    desk.callbacks.run(incident("a", 2), None)
    desk.callbacks.run(incident("b"), None)
    eventually(lambda: desk.types("b") == [EventType.CALLBACK_DONE])
    assert desk.types("a") == [EventType.CALLBACK_SKIPPED]
    desk.gate.set()
    eventually(lambda: desk.types("a")[-1] is EventType.CALLBACK_DONE)


def test_stuck_callbacks_are_reported_and_their_threads_replaced(desk: Desk) -> None:
    """As many hang as there are threads; once they count as stuck, others run again."""
    for number in range(4):
        desk.callbacks.bind(f"stuck{number}", lambda: desk.gate.wait(30) and None)
        desk.callbacks.run(incident(f"stuck{number}"), None)
    ran = threading.Event()
    desk.callbacks.bind("good", ran.set)
    eventually(lambda: desk.callbacks.counts()["running"] == 4)
    desk.callbacks.run(incident("good"), None)
    assert not ran.is_set()
    patience = desk.callbacks.patience(time.monotonic())
    assert patience is not None
    assert patience <= 0.2
    desk.callbacks.check(time.monotonic() + 1.0)
    assert ran.wait(20)
    assert [desk.types(f"stuck{n}") for n in range(4)] == [[EventType.CALLBACK_STUCK]] * 4
    assert desk.callbacks.counts()["stuck"] == 4
    desk.gate.set()
    eventually(lambda: desk.callbacks.counts()["stuck"] == 0)
    assert desk.types("stuck0") == [EventType.CALLBACK_STUCK, EventType.CALLBACK_DONE]


def test_whether_there_is_one_is_known_before_it_runs(desk: Desk) -> None:
    assert not desk.callbacks.has("a", None)
    assert desk.callbacks.has("a", "named")  # whatever that is: an unknown one is told
    desk.callbacks.bind("a", lambda: None)
    assert desk.callbacks.has("a", None)
    assert not desk.callbacks.has("b", None)


def test_a_name_runs_what_the_operator_bound_to_it(desk: Desk) -> None:
    """Beside what is bound to the watchdog itself; a name that nobody bound is reported with those there are."""
    got: list[str] = []
    desk.callbacks.name("page", lambda i: got.append(f"page {i.name}"))
    desk.callbacks.bind("a", lambda: got.append("own"))
    desk.callbacks.run(incident("a"), "page")
    eventually(lambda: sorted(got) == ["own", "page a"])
    desk.callbacks.run(incident("b"), "nobody")
    assert desk.types("b") == [EventType.CALLBACK_FAILED]
    assert "'nobody'" in desk.reports[-1].data["text"]
    assert "page" in desk.reports[-1].data["text"]


def test_closing_waits_for_what_runs_and_not_for_what_hangs(desk: Desk) -> None:
    """Bounded, and it says how many it left behind."""
    desk.callbacks.bind("a", lambda: desk.gate.wait(30) and None)
    desk.callbacks.run(incident("a"), None)
    eventually(lambda: desk.callbacks.counts()["running"] == 1)
    start = time.monotonic()
    assert desk.callbacks.close(0.1) == 1
    assert time.monotonic() - start < 2.0


def test_a_burst_runs_on_a_bounded_number_of_threads(desk: Desk) -> None:
    """A thousand at once: all run, on at most four threads."""
    threads: set[int] = set()
    for number in range(1000):
        desk.callbacks.bind(f"w{number}", lambda: threads.add(threading.get_ident()))
        desk.callbacks.run(incident(f"w{number}"), None)
    eventually(lambda: sum(r.type is EventType.CALLBACK_DONE for r in desk.reports) == 1000)
    assert len(threads) <= 4
