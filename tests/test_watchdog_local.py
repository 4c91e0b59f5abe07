"""The original class as a contract: its settings, checks by hand, and the time it goes by."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from banken import BankenError, Watchdog, presets
from watchdog_kit import LONG, SOON, Calls, expired, no_thread_stays


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    """Whatever a test started, it also ended."""
    with no_thread_stays():
        yield


# -- what it is made of --------------------------------------------------------------------------------


def test_defaults_are_those_of_the_original() -> None:
    """Without arguments: 60 seconds, checked every 20, with no callback."""
    dog = Watchdog()
    assert (dog.timeout, dog.interval, dog.callback) == (60, 20, None)


def test_arguments_by_position_are_timeout_and_interval() -> None:
    """``Watchdog(30, 10)`` reads as in the original, and a preset unpacks into it."""
    assert (Watchdog(30, 10).timeout, Watchdog(30, 10).interval) == (30, 10)
    assert Watchdog(*presets.REALTIME).timeout == 10
    assert Watchdog(*presets.BACKGROUND).interval == 300


def test_whole_seconds_stay_whole_numbers() -> None:
    """The original's attributes are ints; code that counts with them keeps working."""
    dog = Watchdog(timeout=30, interval=10)
    assert list(range(0, dog.timeout, dog.interval)) == [0, 10, 20]  # type: ignore[call-overload]


def test_the_four_presets() -> None:
    """The recommended settings are those of the document."""
    assert [presets.REALTIME, presets.SERVICE, presets.BATCH, presets.BACKGROUND] == [
        (10, 2), (60, 15), (300, 60), (1800, 300),
    ]  # fmt: skip


def test_both_spellings_set_the_callback(calls: Calls) -> None:
    """setCallback, set_callback, the attribute and the argument all do the same."""
    dog = Watchdog()
    dog.setCallback(calls)
    assert dog.callback is calls
    dog.set_callback(None)
    assert dog.callback is None
    dog.callback = calls
    assert dog.callback is calls
    assert Watchdog(callback=calls).callback is calls


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "abc", "5", True, None, 1e12, [1], 10**400])
@pytest.mark.parametrize("setting", ["timeout", "interval", "grace"])
def test_bad_durations_are_refused(setting: str, value: Any) -> None:
    """A duration that is no finite positive number of seconds is a ValueError that names the setting."""
    if (setting, value) == ("grace", None):
        assert Watchdog(7, grace=None).grace == 7
        return
    with pytest.raises(ValueError, match=setting) as caught:
        Watchdog(**{setting: value})
    assert isinstance(caught.value, BankenError)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "abc", True, None, 1e12])
@pytest.mark.parametrize("setting", ["timeout", "interval"])
def test_a_refused_change_changes_nothing(setting: str, value: Any) -> None:
    """Setting an attribute to a bad value raises and leaves the old value in force."""
    dog = Watchdog(30, 10)
    with pytest.raises(ValueError, match=setting):
        setattr(dog, setting, value)
    assert (dog.timeout, dog.interval) == (30, 10)


@pytest.mark.parametrize("number", [Decimal("0.05"), Fraction(1, 20), 0.05])
def test_any_kind_of_number_that_is_taken_also_works(number: Any, calls: Calls) -> None:
    """A timeout given as Decimal or Fraction is not only taken: the watchdog barks."""
    with Watchdog(timeout=number, interval=number, callback=calls):
        assert calls.reach(2)


@pytest.mark.parametrize("callback", [lambda one, two: None, lambda *, key: None, "print", 5])
def test_callbacks_that_cannot_be_called_are_refused(callback: Any) -> None:
    """What needs two arguments, or a keyword, or is no function, is a ValueError where it is set."""
    dog = Watchdog()
    with pytest.raises(ValueError, match="callback"):
        dog.set_callback(callback)
    assert dog.callback is None


# -- checks by hand ------------------------------------------------------------------------------------


def test_start_checks_once_and_then_sleeps(calls: Calls) -> None:
    """start() calls the callback of an expired watchdog once, first, and returns after the interval."""
    dog = expired(calls, interval=0.2)
    dog.start()
    ended = time.monotonic()
    assert len(calls) == 1
    assert ended - calls.times[0] >= 0.19
    assert calls.threads == [threading.current_thread()]


def test_start_leaves_a_fed_watchdog_alone(calls: Calls) -> None:
    """A check within the timeout of the last feed does nothing."""
    dog = expired(calls)
    dog.timeout = LONG
    dog.start()
    assert len(calls) == 0


def test_every_check_of_an_expired_watchdog_calls_the_callback(calls: Calls) -> None:
    """A loop of start() calls it each round while unfed, as the original; a feed ends that."""
    dog = expired(calls)
    for _ in range(3):
        dog.start()
    assert len(calls) == 3
    dog.timeout = LONG
    dog.feed()
    dog.start()
    assert len(calls) == 3


def test_stop_ends_the_sleep_of_start(calls: Calls) -> None:
    """stop() from another thread: start() returns at once and not after its interval."""
    dog = expired(calls, interval=LONG)
    loop = threading.Thread(target=dog.start, daemon=True)
    loop.start()
    assert calls.reach(1)
    dog.stop()
    loop.join(SOON)
    assert not loop.is_alive()


def test_start_works_again_after_stop(calls: Calls) -> None:
    """A stopped watchdog checks, and sleeps, like a new one."""
    dog = expired(calls, interval=0.05)
    dog.stop()
    begun = time.monotonic()
    dog.start()
    assert time.monotonic() - begun >= 0.04
    assert len(calls) == 1


def test_an_exit_asked_for_in_a_callback_reaches_the_loop_that_checks() -> None:
    """SystemExit in a callback that the main thread runs by start() is meant for the main thread."""

    def leave() -> None:
        raise SystemExit(3)

    dog = Watchdog(0.001, 0.001, callback=leave)
    time.sleep(0.005)
    with pytest.raises(SystemExit):
        dog.start()


def test_a_callback_that_raises_does_not_end_the_loop_that_checks(caplog: pytest.LogCaptureFixture) -> None:
    """An exception in a callback run by start() is logged with its traceback and goes no further."""

    def fail() -> None:
        raise RuntimeError("broken on purpose")

    dog = Watchdog(0.001, 0.001, callback=fail)
    time.sleep(0.005)
    dog.start()
    dog.start()
    assert caplog.text.count("RuntimeError: broken on purpose") == 2
    assert "in fail" in caplog.text


# -- time ----------------------------------------------------------------------------------------------


def test_a_wall_clock_that_jumps_ahead_is_no_silence(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day of wall clock passes in an instant: nothing expires."""
    dog = Watchdog(timeout=LONG, interval=0.001, callback=calls)
    dog.feed()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 86_400)
    dog.start()
    assert len(calls) == 0


def test_a_wall_clock_that_jumps_back_hides_no_silence(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock goes back a day: the silence is noticed all the same."""
    with Watchdog(timeout=0.1, interval=0.1, callback=calls):
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() - 86_400)
        assert calls.reach(1)


def test_last_feed_time_reads_as_wall_clock() -> None:
    """last_feed_time is what time.time() said at the last feed, and at first when it was made."""
    made = time.time()
    dog = Watchdog()
    assert made - 0.05 <= dog.last_feed_time <= time.time() + 0.05
    dog.last_feed_time = made - 100
    assert dog.last_feed_time == pytest.approx(made - 100, abs=0.5)
    before = time.time()
    dog.feed()
    assert before - 0.05 <= dog.last_feed_time <= time.time() + 0.05


def test_setting_last_feed_time_moves_the_last_feed(calls: Calls) -> None:
    """Set into the past it expires a watchdog that is watched; code for the original did so."""
    with Watchdog(timeout=LONG, interval=LONG, callback=calls) as dog:
        dog.feed()
        dog.last_feed_time = 0
        assert calls.reach(1)


@pytest.mark.parametrize("when", [float("nan"), float("inf"), -float("inf"), "yesterday", None])
def test_a_last_feed_time_that_is_no_time_is_refused(when: Any) -> None:
    """What is no finite number raises where it is set, and not later in the watching thread."""
    dog = Watchdog()
    before = dog.last_feed_time
    with pytest.raises((ValueError, TypeError)):
        dog.last_feed_time = when
    assert dog.last_feed_time == pytest.approx(before, abs=0.5)


def test_a_last_feed_time_in_the_far_future_does_not_end_the_watch(calls: Calls) -> None:
    """Milliseconds given for seconds: no verdict for ages, but the watch goes on and a feed mends it."""
    with Watchdog(timeout=0.05, interval=LONG, callback=calls) as dog:
        assert calls.reach(1)
        dog.last_feed_time = time.time() * 1000
        time.sleep(0.02)
        dog.last_feed_time = 0
        assert calls.reach(2)


def test_grace_holds_until_the_first_feed(calls: Calls) -> None:
    """Before the first feed grace is allowed, after it only the timeout."""
    dog = Watchdog(timeout=0.001, interval=0.001, grace=LONG, callback=calls)
    time.sleep(0.005)
    dog.start()
    assert len(calls) == 0
    dog.feed()
    time.sleep(0.005)
    dog.start()
    assert len(calls) == 1


def test_a_first_feed_ends_a_long_grace_in_the_background_too(calls: Calls) -> None:
    """Fed once and then silent, it expires after the timeout and does not sleep until the grace is over."""
    with Watchdog(timeout=0.1, interval=LONG, grace=LONG, callback=calls) as dog:
        time.sleep(0.05)
        dog.feed()
        assert calls.reach(1)
