"""The original class as a contract: whatever a callback does, the watch goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest

from banken import Cause, Incident, Watchdog
from watchdog_kit import LONG, WITHIN, Calls, no_thread_stays


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    """Whatever a test started, it also ended."""
    with no_thread_stays():
        yield


def test_a_callback_that_raises_is_logged_and_the_checks_go_on(caplog: pytest.LogCaptureFixture) -> None:
    """Each failure is logged with its traceback on the logger "banken"; the next run comes all the same."""
    calls = Calls()

    def fail() -> None:
        calls()
        raise RuntimeError("broken on purpose")

    with Watchdog(timeout=0.02, interval=0.02, callback=fail):
        assert calls.reach(3)
    assert caplog.text.count("RuntimeError: broken on purpose") >= 2
    assert "in fail" in caplog.text
    assert {record.name for record in caplog.records} == {"banken"}
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


@pytest.mark.parametrize("fault", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_callback_cannot_end_the_watch(fault: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    """Even SystemExit in the watching thread is logged, and the checks go on."""
    calls = Calls()

    def leave() -> None:
        calls()
        raise fault

    with Watchdog(timeout=0.02, interval=0.02, callback=leave):
        assert calls.reach(3)
    assert fault.__name__ in caplog.text


def test_a_feed_from_inside_the_callback_works() -> None:
    """The callback may feed: the silence is over, and the next one is a new incident."""
    incidents: list[Incident] = []
    calls = Calls()

    def recover(incident: Incident) -> None:
        incidents.append(incident)
        calls()
        dog.feed()

    dog = Watchdog(timeout=0.05, interval=0.01, callback=recover)
    with dog:
        assert calls.reach(3)
    assert [incident.run for incident in incidents[:3]] == [1, 1, 1]
    assert calls.times[2] - calls.times[0] >= 0.08, "a whole timeout after each feed, not the interval"


def test_stop_from_inside_the_callback_does_not_wait_for_itself() -> None:
    """The callback may stop its own watchdog; it is not called again and its thread ends."""
    calls = Calls()

    def stop() -> None:
        dog.stop()
        calls()

    dog = Watchdog(0.01, 0.01, callback=stop)
    dog.start_in_thread()
    assert calls.reach(1)
    calls.threads[0].join(WITHIN)
    assert not calls.threads[0].is_alive()
    assert len(calls) == 1


def test_a_callback_may_stop_and_start_its_watchdog() -> None:
    """stop() and start_in_thread() from inside the callback: a new thread goes on."""
    calls = Calls()

    def again() -> None:
        if len(calls) < 3:
            dog.stop()
            dog.start_in_thread()
        calls()

    dog = Watchdog(0.01, 0.01, callback=again)
    dog.start_in_thread()
    assert calls.reach(5)
    dog.stop()
    assert len(set(calls.threads)) > 1


def test_a_callback_with_one_argument_gets_the_incident() -> None:
    """One id for one silence, runs counted, times that make sense; another silence has another id."""
    incidents: list[Incident] = []
    calls = Calls()

    def tell(incident: Incident) -> None:
        incidents.append(incident)
        calls()

    begun = time.time()
    dog = Watchdog(timeout=0.05, interval=0.02, callback=tell)
    dog.feed()  # first, for the thread may come late: its watch begins with a timeout, not with a grace
    with dog:
        assert calls.reach(3)
        dog.feed()
        seen = len(calls)
        assert calls.reach(seen + 2)
    first = [incident for incident in incidents if incident.id == incidents[0].id]
    assert [incident.run for incident in first] == list(range(1, len(first) + 1))
    assert len({incident.id for incident in incidents}) == 2
    for incident in incidents:
        assert incident.name == dog.name
        assert incident.cause is Cause.TIMEOUT
        assert incident.timeout == 0.05
        assert incident.silence >= 0.05
        assert begun - 0.05 <= incident.opened <= time.time() + 0.05


def test_a_watchdog_that_was_never_fed_says_so() -> None:
    """Its incident's cause is the grace and not the timeout."""
    causes: list[Cause] = []
    dog = Watchdog(timeout=LONG, interval=0.001, grace=0.001)
    dog.set_callback(lambda incident: causes.append(incident.cause))
    time.sleep(0.005)
    dog.start()
    assert causes == [Cause.GRACE]


def test_a_callback_with_only_optional_arguments_is_called_with_none() -> None:
    """Defaults are the callback's own business, as they were with the original."""
    got: list[object] = []

    def callback(first: str = "default", *rest: object, **more: object) -> None:
        got.append((first, rest, more))

    dog = Watchdog(0.001, 0.001, callback=callback)
    time.sleep(0.005)
    dog.start()
    assert got == [("default", (), {})]
