"""The original class as a contract: what a Watchdog does when its timer is kept in this process.

Durations are small and upper bounds generous: a loaded machine may be late, which is no fault of the watchdog.
Where it must *not* bark, the test asks by ``start()``, which checks at once, instead of waiting to see.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from banken import BankenError, Cause, Incident, Watchdog, presets

WITHIN = 10.0
"""Seconds in which anything that has to happen must have happened."""

SOON = 2.0
"""Seconds that count as 'at once', on a machine that is busy with other things."""

LONG = 1000.0
"""Seconds that no test lives to see."""

ROOT = Path(__file__).parent.parent


class Calls:
    """A callback that remembers when it was called."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.threads: list[threading.Thread] = []
        self._changed = threading.Condition()

    def __call__(self) -> None:
        with self._changed:
            self.times.append(time.monotonic())
            self.threads.append(threading.current_thread())
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self.times)

    def reach(self, count: int, within: float = WITHIN) -> bool:
        """Wait until it was called ``count`` times in all."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.times) >= count, within)


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    """Whatever a test started, it also ended."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(WITHIN)
        assert not thread.is_alive(), thread


def expired(calls: Calls, **settings: Any) -> Watchdog:
    """A watchdog that was silent for too long already and calls ``calls`` at the next check."""
    dog = Watchdog(**{"timeout": 0.001, "interval": 0.001, "callback": calls, **settings})
    dog.feed()
    time.sleep(0.005)
    return dog


def run(code: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        **more,
    )


def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT / "client"), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


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
    begun = time.monotonic()
    dog.start()
    ended = time.monotonic()
    assert len(calls) == 1
    assert calls.times[0] - begun < ended - calls.times[0]
    assert ended - begun >= 0.19
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


# -- in the background ---------------------------------------------------------------------------------


def test_silence_is_noticed_in_the_background(calls: Calls) -> None:
    """Unfed for its timeout it barks, in a thread of its own, and not before."""
    dog = Watchdog(timeout=0.2, interval=LONG)
    dog.setCallback(calls)
    dog.feed()
    fed = time.monotonic()
    dog.start_in_thread()
    assert calls.reach(1)
    dog.stop()
    assert calls.times[0] - fed >= 0.19
    assert calls.threads[0] is not threading.current_thread()


def test_a_fed_watchdog_is_quiet(calls: Calls) -> None:
    """Feeds that come in time keep it quiet for longer than its timeout."""
    with Watchdog(timeout=1.0, interval=0.1, callback=calls) as dog:
        end = time.monotonic() + 1.3
        while time.monotonic() < end:
            dog.feed()
            time.sleep(0.02)
        assert len(calls) == 0


def test_the_callback_repeats_every_interval_while_unfed(calls: Calls) -> None:
    """It is called again and again, an interval apart, so that code which counts repeats works."""
    with Watchdog(timeout=0.05, interval=0.1, callback=calls):
        assert calls.reach(4)
    assert calls.times[3] - calls.times[0] >= 0.2


def test_a_callback_slower_than_its_interval_is_not_called_without_a_pause(calls: Calls) -> None:
    """Repeats that come due while it runs are left out, so that it does not run all the time."""

    def slow() -> None:
        calls()
        time.sleep(0.13)

    with Watchdog(timeout=0.01, interval=0.1, callback=slow):
        assert calls.reach(5)
    assert calls.times[4] - calls.times[0] >= 0.7, "four times two intervals, less some noise"


def test_stop_returns_at_once() -> None:
    """stop() does not wait until a sleep of the watching thread is over."""
    dog = Watchdog(timeout=LONG, interval=LONG)
    dog.start_in_thread()
    time.sleep(0.05)
    begun = time.monotonic()
    dog.stop()
    assert time.monotonic() - begun < SOON


def test_after_stop_nothing_is_called(calls: Calls) -> None:
    """stop() waits for a callback that runs; when it returns, the watching thread is gone."""
    dog = Watchdog(timeout=0.01, interval=0.01, callback=calls)
    dog.start_in_thread()
    assert calls.reach(2)
    dog.stop()
    assert not calls.threads[0].is_alive()


def test_stop_waits_no_longer_than_it_is_told() -> None:
    """stop(timeout) returns although a callback hangs."""
    entered, release = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        release.wait(WITHIN)

    dog = Watchdog(0.01, 0.01, callback=hang)
    dog.start_in_thread()
    assert entered.wait(WITHIN)
    begun = time.monotonic()
    dog.stop(timeout=0.05)
    assert time.monotonic() - begun < SOON
    release.set()


def test_stopping_what_was_never_started_does_nothing() -> None:
    """stop() is harmless before start_in_thread(), and twice."""
    dog = Watchdog()
    dog.stop()
    dog.start_in_thread()
    dog.stop()
    dog.stop()


def test_a_second_start_in_thread_does_nothing(calls: Calls) -> None:
    """One thread watches, however often it is asked for."""
    before = threading.active_count()
    dog = Watchdog(timeout=LONG, interval=LONG, callback=calls)
    for _ in range(3):
        dog.start_in_thread()
    assert threading.active_count() == before + 1
    dog.stop()


def test_it_can_be_started_again_after_stop(calls: Calls) -> None:
    """stop(), feed(), start_in_thread(): it watches anew, in a new thread."""
    dog = Watchdog(timeout=0.05, interval=0.05, callback=calls)
    dog.start_in_thread()
    assert calls.reach(1)
    dog.stop()
    seen = len(calls)
    dog.feed()
    dog.start_in_thread()
    assert calls.reach(seen + 1)
    dog.stop()
    assert calls.threads[-1] is not calls.threads[0]


def test_it_watches_again_although_an_old_callback_still_hangs(calls: Calls) -> None:
    """After a stop() that gave up waiting, start() and start_in_thread() work as on a new one."""
    entered, release = threading.Event(), threading.Event()

    def hang_once() -> None:
        if not entered.is_set():
            entered.set()
            release.wait(WITHIN)
        else:
            calls()

    dog = Watchdog(0.01, 0.01, callback=hang_once)
    dog.start_in_thread()
    assert entered.wait(WITHIN)
    dog.stop(timeout=0.01)
    dog.start()
    seen = len(calls)
    dog.start_in_thread()
    release.set()
    assert calls.reach(seen + 2)
    dog.stop()


def test_the_context_manager_watches_while_the_block_runs(calls: Calls) -> None:
    """``with Watchdog(...)`` starts at its head and stops at its end, also by an exception."""

    def block() -> None:
        with Watchdog(0.01, 0.01, callback=calls) as dog:
            assert isinstance(dog, Watchdog)
            assert calls.reach(1)
            raise KeyError

    with pytest.raises(KeyError):
        block()
    assert not calls.threads[0].is_alive()


@pytest.mark.parametrize("daemon", [True, False])
def test_the_daemon_flag_is_the_threads(daemon: bool, calls: Calls) -> None:
    """start_in_thread(daemon=...) says whether the thread keeps the process alive."""
    dog = Watchdog(0.01, LONG, callback=calls)
    dog.start_in_thread(daemon=daemon)
    assert calls.reach(1)
    assert calls.threads[0].daemon is daemon
    dog.stop()


def test_a_shorter_timeout_takes_effect_at_once(calls: Calls) -> None:
    """A timeout changed while it is watched counts from now on, not after the old one."""
    with Watchdog(timeout=LONG, interval=LONG, callback=calls) as dog:
        time.sleep(0.02)
        dog.timeout = 0.05
        assert calls.reach(1)


def test_a_shorter_interval_takes_effect_at_once(calls: Calls) -> None:
    """An interval changed while it is silent counts from now on, not after the old one."""
    with Watchdog(timeout=0.01, interval=LONG, callback=calls) as dog:
        assert calls.reach(1)
        dog.interval = 0.05
        assert calls.reach(3)


def test_a_second_silence_is_noticed_within_the_timeout_although_the_interval_is_long(calls: Calls) -> None:
    """A feed after a verdict makes the timeout count again, however late the next repeat would be."""
    with Watchdog(timeout=0.1, interval=LONG, callback=calls) as dog:
        assert calls.reach(1)
        dog.feed()
        assert calls.reach(2)


def test_a_callback_set_while_it_is_watched_is_called(calls: Calls) -> None:
    """The callback may be set, and exchanged, at any time."""
    first = Calls()
    with Watchdog(timeout=0.05, interval=0.02) as dog:
        dog.setCallback(first)
        assert first.reach(1)
        dog.setCallback(calls)
        assert calls.reach(1)


def test_watchdogs_do_not_disturb_each_other(calls: Calls) -> None:
    """A callback that hangs holds up its own watchdog only."""
    release = threading.Event()
    hang = functools.partial(release.wait, WITHIN)
    with Watchdog(0.01, 0.01, callback=hang), Watchdog(0.05, 0.05, callback=calls):
        assert calls.reach(3)
        release.set()


# -- callbacks -----------------------------------------------------------------------------------------


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
        dog.feed()
        calls()

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


# -- the process around it -----------------------------------------------------------------------------


@pytest.mark.process
def test_the_local_watchdog_loads_neither_zmq_nor_msgpack() -> None:
    """``from banken import Watchdog`` and its whole life need the standard library only."""
    result = run(
        "import sys\n"
        "from banken import Watchdog, presets\n"
        "with Watchdog(*presets.REALTIME, callback=print) as dog:\n"
        "    dog.feed()\n"
        "print(*sorted({'zmq', 'msgpack', 'asyncio', 'psutil'} & set(sys.modules)), end='')\n"
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.process
@pytest.mark.parametrize(("daemon", "output"), [(True, ""), (False, "barked")])
def test_only_a_thread_that_is_no_daemon_keeps_the_process_alive(daemon: bool, output: str) -> None:
    """daemon=True: the process ends with its main thread; False: it lives until stop()."""
    result = run(
        "from banken import Watchdog\n"
        "def bark():\n"
        "    dog.stop()\n"
        "    print('barked', end='')\n"
        f"dog = Watchdog({'1000' if daemon else '0.3'}, 1000, callback=bark)\n"
        f"dog.start_in_thread(daemon={daemon})\n"
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, output, "")


STOPPED = """
import sys, threading, time
from banken import Watchdog
feeding = True
def bark():
    print("barked while fed" if feeding else "barked", flush=True)
    if not feeding:
        dog.stop()
dog = Watchdog(0.6, 0.1, callback=bark)
def feed():
    while feeding:
        dog.feed()
        time.sleep(0.3)
feeder = threading.Thread(target=feed)
feeder.start()
dog.start_in_thread(daemon=False)
for line in sys.stdin:
    print("awake", flush=True)
feeding = False
"""


@pytest.mark.process
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot stop a process")
def test_time_in_which_the_process_was_stopped_is_not_silence() -> None:
    """Stopped for far longer than the timeout, several times: no bark for it; a real silence still has one."""
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED],
        env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            for _ in range(3):
                child.stdin.write("are you awake?\n")
                child.stdin.flush()
                assert child.stdout.readline() == "awake\n"
                time.sleep(0.07)  # another moment of the feeder's period each time
                child.send_signal(signal.SIGSTOP)
                time.sleep(1.0)
                child.send_signal(signal.SIGCONT)
            child.stdin.close()
            assert child.stdout.read() == "barked\n"
            assert child.wait(WITHIN) == 0
        finally:
            child.send_signal(signal.SIGCONT)
            child.kill()
