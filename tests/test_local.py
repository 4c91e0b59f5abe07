"""The silence detector of a local timer, and the wake-up that ends its sleep.

The detector is pure: each test is a made-up life, in seconds from zero, and nothing sleeps.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from math import inf
from pathlib import Path

import pytest

from banken import Watchdog, threads
from banken.threads import WakeUp
from banken.watchdog.silence_detector import NAPS, SilenceDetector

ROOT = Path(__file__).parent.parent


class Life:
    """A watchdog and its silence detector, on a clock that the test turns."""

    def __init__(self, timeout: float = 10.0, interval: float = 20.0, grace: float | None = None) -> None:
        self.now = 0.0
        self.dog = Watchdog(timeout, interval, grace=grace)
        self.dog.fed_at = 0.0
        self.detector = SilenceDetector(self.dog, self.now)
        self.detector.check(self.now, inf)

    def feed(self, at: float | None = None) -> None:
        self.dog.fed_at = self.now if at is None else at
        self.dog.was_fed = True

    def sleep(self, stopped: float = 0.0) -> bool:
        """One nap, and the process stopped for ``stopped`` seconds of it besides; whether it is expired."""
        asked = self.detector.nap()
        self.now += asked + stopped
        return self.detector.check(self.now, asked)

    def until_expired(self) -> float:
        """Sleep on until it is expired; the seconds that took."""
        begun = self.now
        for _ in range(10 * NAPS):
            if self.sleep():
                return self.now - begun
        raise AssertionError("it never expires")


def test_silence_ends_after_the_timeout_and_not_before() -> None:
    """Without stops the verdict falls at the deadline."""
    life = Life(timeout=10)
    life.feed()
    assert life.until_expired() == pytest.approx(10, abs=0.01)
    assert life.detector.silence > 10


@pytest.mark.parametrize("naps_before", [0, 4, 9])
@pytest.mark.parametrize("stopped", [1.0, 9.0, 1_000_000.0])
def test_a_stop_counts_for_a_fifth_of_the_timeout_at_most(naps_before: int, stopped: float) -> None:
    """However long it was stopped, and when: what was left of the timeout is left still, but for that."""
    life = Life(timeout=10)
    life.feed()
    for _ in range(naps_before):
        assert not life.sleep()
    left = 10 - life.detector.silence
    life.sleep(stopped)
    assert 10 - life.detector.silence >= left - 2.001


def test_many_stops_are_each_forgiven() -> None:
    """A process that is stopped in every nap has its whole timeout of naps, less the allowance of each."""
    life = Life(timeout=10)
    life.feed()
    naps = 1
    while not life.sleep(stopped=50):
        naps += 1
    assert naps >= NAPS - 1


def test_a_feed_after_a_stop_buys_no_immunity() -> None:
    """Fed right after a stop of an hour, it is expired a timeout later and not an hour later."""
    life = Life(timeout=10)
    life.feed()
    life.feed(at=life.now + 3600)
    assert not life.sleep(stopped=3600)
    assert 7.9 <= life.until_expired() <= 10.01


def test_a_feed_right_before_a_stop_is_worth_its_timeout() -> None:
    """Fed, and stopped in the same nap: the stop is not held against the feed."""
    life = Life(timeout=10)
    life.feed()
    life.sleep()
    life.feed()
    assert not life.sleep(stopped=3600)
    assert life.until_expired() >= 7.99


def test_work_of_the_watching_thread_is_no_stop() -> None:
    """While the callback ran for long, time passed for everyone."""
    life = Life(timeout=10)
    life.feed()
    life.now += 11
    assert life.detector.check(life.now, inf)


def test_the_first_feed_ends_the_grace() -> None:
    """Before it the grace counts, after it the timeout; until then the watch must hear of feeds."""
    life = Life(timeout=10, grace=1000)
    assert not life.sleep()
    assert not life.detector.settled
    life.feed()
    assert not life.detector.check(life.now, 100)  # woken early, by the feed
    assert life.detector.settled
    assert life.until_expired() <= 10.01


@pytest.mark.parametrize(
    ("takes", "due"),
    [
        (0.0, [20, 40, 60, 80]),
        (19.9, [20, 40, 60, 80]),
        (26.0, [40, 80, 120, 160]),
        (41.0, [60, 120, 180, 240]),
    ],
)
def test_runs_lie_at_whole_intervals_from_the_verdict(takes: float, due: list[float]) -> None:
    """A run that takes longer than the interval leaves out what came due meanwhile, and nothing drifts."""
    life = Life(timeout=10, interval=20)
    life.feed()
    life.until_expired()
    verdict = life.now
    runs = []
    for _ in range(5):
        runs.append(life.now - verdict)
        assert life.detector.until_run(life.now) <= 1e-6
        life.detector.run(life.now)
        life.detector.ran(life.now, life.now + takes)
        life.now += takes
        life.now += max(0.0, life.detector.until_run(life.now))
    assert runs == pytest.approx([0, *due], abs=1e-6)


def test_a_late_run_does_not_move_the_next_one() -> None:
    """The thread woke 7 seconds late once: the run after that is due when it always was."""
    life = Life(timeout=10, interval=20)
    life.feed()
    life.until_expired()
    life.detector.run(life.now)
    life.detector.ran(life.now, life.now)
    life.now += 27
    life.detector.run(life.now)
    life.detector.ran(life.now, life.now)
    assert life.detector.until_run(life.now) == pytest.approx(13)


def test_one_silence_is_one_incident() -> None:
    """A feed, and a timeout raised above the silence, each close it; the next silence has another id."""
    life = Life(timeout=10)
    ids = []
    for end in (life.feed, lambda: setattr(life.dog, "timeout", 100)):
        life.until_expired()
        first, second = life.detector.run(life.now), life.detector.run(life.now)
        assert (first.id, first.run, second.run) == (second.id, 1, 2)
        ids.append(first.id)
        end()
        life.sleep()
    life.until_expired()
    third = life.detector.run(life.now)
    life.feed()
    life.now += 101  # fed, and silent again, before anyone looked
    assert life.detector.check(life.now, inf)
    fourth = life.detector.run(life.now)
    assert (third.run, fourth.run) == (1, 1)
    assert len({*ids, third.id, fourth.id}) == 4


def test_a_wake_up_ends_this_sleep_or_the_next() -> None:
    """Signalled before a sleep, it ends that sleep at once; two signals before it are one."""
    wake_up = WakeUp()
    assert not wake_up.wait(0.001)
    wake_up.signal()
    wake_up.signal()
    assert wake_up.wait(1000)
    assert not wake_up.wait(0)


def test_a_sleep_longer_than_the_system_can_wait_is_slept_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lasts as long as it was asked to, and a signal ends any piece of it."""
    monkeypatch.setattr(threads, "WAIT_MAX", 0.01)
    wake_up = WakeUp()
    begun = time.monotonic()
    assert not wake_up.wait(0.045)
    assert time.monotonic() - begun >= 0.04
    heard: list[bool] = []
    sleeper = threading.Thread(target=lambda: heard.append(wake_up.wait(315_360_000.0)), daemon=True)
    sleeper.start()
    sleeper.join(0.05)
    wake_up.signal()
    sleeper.join(10)
    assert heard == [True]


def test_a_callback_may_stop_the_watch_before_start_has_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread may be faster than whoever starts it: here it always is."""
    runs: list[int] = []
    threads: list[threading.Thread] = []
    stopped = threading.Event()
    real = threading.Thread.start

    def slow(thread: threading.Thread) -> None:
        threads.append(thread)
        real(thread)
        assert stopped.wait(10)

    def stop() -> None:
        runs.append(1)
        dog.stop()
        stopped.set()

    dog = Watchdog(0.001, 0.001, callback=stop)
    monkeypatch.setattr(threading.Thread, "start", slow)
    dog.start_in_thread()
    threads[0].join(5)
    ended = not threads[0].is_alive()
    dog.stop(10)
    assert ended
    assert runs == [1]


def test_a_thread_that_cannot_be_started_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no thread left, the caller hears of it; later it may try again."""

    def full(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    barked = threading.Event()
    dog = Watchdog(0.001, 0.001, callback=barked.set)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", full)
        with pytest.raises(RuntimeError):
            dog.start_in_thread()
    dog.feed()
    dog.stop()
    dog.start_in_thread()
    assert barked.wait(10)
    dog.stop()


FORKED = """
import os, threading, time
from banken import Watchdog
calls = threading.Event()
dog = Watchdog(0.05, 1000, grace=1000, callback=calls.set)
dog.start_in_thread()
with dog._timer._lock:         # as if another thread of the parent were just starting it
    child = os.fork()
    if child == 0:
        dog.feed()
        dog.start_in_thread()
        os._exit(0 if calls.wait(10) else 1)
_, status = os.waitpid(child, 0)
dog.stop()
print(os.waitstatus_to_exitcode(status), calls.is_set())
"""


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_can_watch_for_itself() -> None:
    """The thread stays with the parent; the child starts its own, whatever was locked at the fork."""
    path = os.pathsep.join(filter(None, [str(ROOT / "client"), os.environ.get("PYTHONPATH")]))
    result = subprocess.run(
        [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", FORKED],  # a fork beside threads
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout, result.stderr) == (0, "0 False\n", "")
