"""The original class as a contract: what it does in a thread, and to the process around it."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from banken import Watchdog
from watchdog_kit import LONG, SOON, WITHIN, Calls, no_thread_stays

ROOT = Path(__file__).parent.parent


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    """Whatever a test started, it also ended."""
    with no_thread_stays():
        yield


# -- in the background ---------------------------------------------------------------------------------


def test_silence_is_noticed_in_the_background(calls: Calls) -> None:
    """Unfed for its timeout it barks, in a thread of its own, and not before."""
    dog = Watchdog(timeout=0.2, interval=LONG)
    dog.setCallback(calls)
    fed = time.monotonic()
    dog.feed()
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
    begun = time.monotonic()  # and not the first call, which may come late
    with Watchdog(timeout=0.05, interval=0.1, callback=calls):
        assert calls.reach(4)
    assert calls.times[3] - begun >= 0.3


def test_a_callback_slower_than_its_interval_is_not_called_without_a_pause(calls: Calls) -> None:
    """Repeats that come due while it runs are left out, so that it does not run all the time."""

    def slow() -> None:
        calls()
        time.sleep(0.13)

    begun = time.monotonic()
    with Watchdog(timeout=0.01, interval=0.1, callback=slow):
        assert calls.reach(5)
    assert calls.times[4] - begun >= 0.75, "four times two intervals, less some noise"


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
    before = set(threading.enumerate())
    dog = Watchdog(timeout=LONG, interval=LONG, callback=calls)
    for _ in range(3):
        dog.start_in_thread()
    assert len(set(threading.enumerate()) - before) == 1
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
