"""A watchdog's timer in this process: one thread per watchdog, asleep until the next check is due.

Nothing that a feed touches takes a lock, so a signal handler may feed, and stop, wherever it interrupts.
"""

from __future__ import annotations

import logging
import threading
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from banken.process_identity import after_fork
from banken.protocol.limits import STATUS_MAX, check_progress, check_text
from banken.threads import WAIT_MAX, WakeUp
from banken.watchdog.silence_detector import NAP_MIN, NAPS, SilenceDetector
from banken.watchdog.timer import Said
from banken.watchdog.work import OpenWork, Send

if TYPE_CHECKING:
    from banken.protocol.limits import Progress
    from banken.protocol.messages import Scope
    from banken.watchdog.timer import Watched

log = logging.getLogger("banken")


class WatchThread:
    """The thread that watches one watchdog, from ``start_in_thread`` to ``stop``."""

    __slots__ = ("heeds_feeds", "stopped", "thread", "wake_up")

    def __init__(self, watched: Watched, daemon: bool) -> None:
        self.wake_up = WakeUp()
        self.stopped = False
        self.heeds_feeds = True
        """whether a feed must wake the thread, because it may make the next deadline earlier"""
        self.thread = threading.Thread(
            target=self._watch, args=(watched,), name=f"banken-{watched.name}", daemon=daemon
        )

    def _watch(self, watched: Watched) -> None:
        detector = SilenceDetector(watched, monotonic())
        asked = inf
        while not self.stopped:
            self.heeds_feeds = True  # before the check: a feed that the check misses signals
            if detector.check(monotonic(), asked):
                began = monotonic()
                asked = min(detector.until_run(began), WAIT_MAX)
                if asked <= 0.0:
                    try:
                        watched.run_callback(detector.run(began))
                    except BaseException:
                        # A callback that raises SystemExit or KeyboardInterrupt in this thread ends nothing.
                        log.exception("the callback of %s raised", watched.name)
                    detector.ran(began, monotonic())
                    asked = inf
                    continue
            else:
                asked = detector.nap()
                self.heeds_feeds = not detector.settled
            self.wake_up.wait(asked)
        self.heeds_feeds = False


class LocalTimer:
    """A timer in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watch: WatchThread | None = None
        self._by_hand: SilenceDetector | None = None
        """for checks by ``Watchdog.start``; a thread has a detector of its own"""
        self._work: OpenWork | None = None
        self._said_at = 0.0
        """when its open work said something last"""
        self._making = threading.RLock()  # re-entrant: a signal handler may work, too
        after_fork(self)

    def feed(self, watched: Watched) -> None:
        """Wake the thread if it sleeps for a grace or an interval: the timeout counts from now on."""
        watched.was_fed = True
        work, timeout = self._work, float(watched.timeout)
        if work is not None and work.holds_back(timeout, watched.fed_at):
            watched.fed_at = self._said_at
            return
        if work is not None:
            watched.said = None
            work.promise(timeout, sent=True)
        watch = self._watch
        # After idle or long work a feed makes the next deadline earlier.
        if watch is not None and (watch.heeds_feeds or self._work is not None):
            watch.wake_up.signal()

    def note(self, watched: Watched, progress: Progress | None, status: str | None) -> None:
        """A feed whose progress and status the next incident has."""
        if progress is not None:
            watched.progress = check_progress(progress)
        if status is not None:
            watched.status = check_text(status, "status", STATUS_MAX)
        self.feed(watched)

    def work(self, watched: Watched) -> OpenWork:
        """Open work that tells this timer, and not a supervisor, when it is due."""
        work = self._work
        if work is None:

            def say(seconds: float | None, scope: Scope | None) -> bool:
                self._said_at = watched.fed_at = monotonic()
                watched.was_fed = True
                watched.said = Said(inf if seconds is None else seconds, scope)
                self.changed(watched)
                return True

            with self._making:
                work = self._open(say, watched)
        return work

    def _open(self, say: Send, watched: Watched) -> OpenWork:
        """Make it, unless another thread was quicker."""
        work = self._work
        if work is None:
            work = self._work = OpenWork(say, float(watched.timeout))
            if watched.was_fed:  # it is fed, and goes on to be
                work.promise(float(watched.timeout), sent=True)
        return work

    def check(self, watched: Watched, wake_up: WakeUp) -> None:
        """Run the callback if it is unfed for too long, at every check, as the original; then sleep."""
        with self._lock:
            detector = self._by_hand = self._by_hand or SilenceDetector(watched, monotonic())
            now = monotonic()
            incident = detector.run(now) if detector.check(now, inf) else None
        if incident is not None:
            watched.run_callback(incident)
            self._check(detector, inf)
        end = monotonic() + float(watched.interval)
        while (left := end - monotonic()) > 0.0:
            asked = min(left, max(detector.limit / NAPS, NAP_MIN), WAIT_MAX)
            if wake_up.wait(asked):
                return
            self._check(detector, asked)

    def start(self, watched: Watched, daemon: bool) -> None:
        """Watch in a thread; an earlier one that was stopped may still run its callback."""
        with self._lock:
            watch = self._watch
            if watch is not None and not watch.stopped and watch.thread.is_alive():
                return
            # Before it runs: its callback may stop it before start() has returned.
            watch = self._watch = WatchThread(watched, daemon)
            try:
                watch.thread.start()
            except BaseException:
                self._watch = None
                raise

    def stop(self, watched: Watched, timeout: float | None) -> None:
        """End the thread and wait for it, at most ``timeout`` seconds; called by that thread, do not wait."""
        self._by_hand = None  # what comes after a stop is another incident
        watch = self._watch
        if watch is None:
            return
        watch.stopped = True
        watch.wake_up.signal()
        # A thread that is only being started is not alive yet; it ends as soon as it begins.
        if watch.thread.is_alive() and watch.thread is not threading.current_thread():
            watch.thread.join(None if timeout is None else min(float(timeout), threading.TIMEOUT_MAX))

    def changed(self, watched: Watched) -> None:
        """Check again: the next check may be due earlier now."""
        watch = self._watch
        if watch is not None:
            watch.wake_up.signal()

    def _check(self, detector: SilenceDetector, asked: float) -> None:
        with self._lock:  # start() may run in several threads
            detector.check(monotonic(), asked)

    def _forked(self) -> None:
        """In a child: the thread stayed with the parent, and so did the threads that may have held the locks."""
        self._lock = threading.Lock()
        self._making = threading.RLock()
