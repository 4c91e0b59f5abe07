"""A watchdog's timer kept in this process: one thread per watchdog that is watched, asleep until it is due.

Nothing that a feed touches takes a lock, so that a signal handler may feed, and stop, wherever it interrupts.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
import weakref
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from banken import calling
from banken.clock import ALLOWANCE, ALLOWANCE_MIN, CreditedClock
from banken.model import Cause, Incident

if TYPE_CHECKING:
    from banken.watchdog import Watchdog

log = logging.getLogger("banken")

NAPS = 10
"""A timeout is slept through in this many naps. Whether the process was stopped shows only in a nap that took too
long, so each stop can count as silence for one nap and the clock's allowance: a fifth of the timeout."""

NAP_MIN = 0.005
"""Seconds. Shorter naps would cost more than they save: with timeouts under 0.05 s a stop counts for 0.01 s."""

WAIT_MIN = 0.0005
"""Seconds; a system whose waits end a little early is not asked again and again for the rest."""

WAIT_MAX = 3600.0
"""Seconds; some systems cannot wait for longer than 49 days at once."""

_numbers = itertools.count(1)


class Bell:
    """Wakes one sleeper, now or when it next lies down.

    An Event would do, but for its lock: a signal handler that rings while its thread is about to would hang.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        """End the wait; the next one, if nobody waits now. Two rings that nobody heard are one."""
        try:
            self._lock.release()
        except RuntimeError:
            return  # it has been rung already

    def wait(self, seconds: float) -> bool:
        """Sleep for ``seconds``, however many; True, and at once, if the bell was rung."""
        while seconds > WAIT_MAX:
            if self._lock.acquire(timeout=WAIT_MAX):
                return True
            seconds -= WAIT_MAX
        return self._lock.acquire(timeout=max(seconds, 0.0))


class Judge:
    """How long a watchdog is silent, less the time its process was stopped; and the incident of that silence.

    Times are arguments: ``now`` is monotonic, seconds.
    """

    def __init__(self, dog: Watchdog, now: float) -> None:
        self._dog = dog
        self._clock = CreditedClock(now)
        self._fed = dog._fed
        self._since = self._clock.now - (now - self._fed)
        """the last feed, in the credited clock's time"""
        self.limit = 0.0
        """seconds of silence that are allowed"""
        self.silence = 0.0
        self.settled = False
        """whether it is fed and quiet: the next feed can only make the verdict later"""
        self._cause = Cause.GRACE
        self._incident = ""
        self._opened = 0.0
        self._run = 0
        """runs of the open incident; 0: none is open"""
        self._last_run = 0.0
        """when the last run was due"""

    def look(self, now: float, asked: float) -> bool:
        """Whether it is silent for too long at ``now``, after a wait of ``asked`` seconds; inf: after work."""
        dog, clock = self._dog, self._clock
        # In this order. A feed stores its time first and says that there was one second: read the other way
        # round, a first feed in between would have the time before it judged by the timeout, not the grace.
        was_fed = dog._was_fed
        fed = dog._fed
        self.limit = float(dog.timeout if was_fed else dog.grace)
        self._cause = Cause.TIMEOUT if was_fed else Cause.GRACE
        clock.allowance = max(ALLOWANCE_MIN, min(ALLOWANCE, self.limit / NAPS))
        clock.credit(now, asked)
        if fed != self._fed:
            self._fed = fed
            self._run = 0
            # What this wait lost may have been lost before the feed or after it: in favour of whoever fed.
            age = now - fed
            self._since = clock.now - (max(0.0, age - clock.last_lost) if age > 0.0 else age)
        self.silence = clock.now - self._since
        expired = self.silence > self.limit
        if not expired:
            self._run = 0
        self.settled = was_fed and not expired
        return expired

    def nap(self) -> float:
        """How long to sleep before the next look at a watchdog that is not silent for too long, seconds."""
        nap = min(self.limit - self.silence, max(self.limit / NAPS, NAP_MIN))
        return min(max(nap, WAIT_MIN), WAIT_MAX)

    def until_run(self, now: float) -> float:
        """Seconds until the callback of one that is silent is due; not above 0: now."""
        return self._last_run + float(self._dog.interval) - now if self._run else 0.0

    def run(self, now: float) -> Incident:
        """The incident, for one more run of the callback at ``now``."""
        dog = self._dog
        if self._run == 0:
            self._incident = f"{dog.name}-{next(_numbers)}"
            self._opened = time.time()
            self._last_run = now
        self._run += 1
        return Incident(
            self._incident, dog.name, self._cause, self._opened, self.silence, float(dog.timeout), self._run
        )

    def ran(self, began: float, ended: float) -> None:
        """The run took from ``began`` to ``ended``: runs that came due meanwhile are left out.

        Runs are due at whole intervals from the verdict, so that late ones do not add up.
        """
        interval = float(self._dog.interval)
        if self._run > 1:  # this one was due an interval after the last
            self._last_run += interval * max(1.0, (began - self._last_run) // interval)
        self._last_run += interval * max(0.0, (ended - self._last_run) // interval)


class Post:
    """One thread's watch over one watchdog, from ``start_in_thread`` to ``stop``."""

    __slots__ = ("bell", "heeds_feeds", "stopped", "thread")

    def __init__(self, dog: Watchdog, daemon: bool) -> None:
        self.bell = Bell()
        self.stopped = False
        self.heeds_feeds = True
        """whether a feed must wake the thread, because it may make the next deadline earlier"""
        self.thread = threading.Thread(target=self._watch, args=(dog,), name=f"banken-{dog.name}", daemon=daemon)

    def end(self) -> None:
        """Tell the thread to end; it does so at once unless the callback runs."""
        self.stopped = True
        self.bell.ring()

    def _watch(self, dog: Watchdog) -> None:
        judge = Judge(dog, monotonic())
        asked = inf
        while not self.stopped:
            self.heeds_feeds = True  # before the look: a feed that the look misses rings
            if judge.look(monotonic(), asked):
                began = monotonic()
                asked = min(judge.until_run(began), WAIT_MAX)
                if asked <= 0.0:
                    self._bark(dog, judge, began)
                    asked = inf
                    continue
            else:
                asked = judge.nap()
                self.heeds_feeds = not judge.settled
            self.bell.wait(asked)
        self.heeds_feeds = False

    @staticmethod
    def _bark(dog: Watchdog, judge: Judge, began: float) -> None:
        try:
            bark(dog, judge.run(began))
        except BaseException:
            # A callback that raises SystemExit or KeyboardInterrupt in this thread ends nothing.
            log.exception("the callback of %s raised", dog.name)
        judge.ran(began, monotonic())


class LocalKeeper:
    """Keeps the timer in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._post: Post | None = None
        self._by_hand: Judge | None = None
        """for checks by ``start``; the thread's are its own"""
        _keepers.add(self)

    def feed(self, dog: Watchdog) -> None:
        """Wake the thread if it sleeps for a grace or an interval: the timeout counts from now on."""
        post = self._post
        if post is not None and post.heeds_feeds:
            post.bell.ring()

    def check(self, dog: Watchdog, bell: Bell) -> None:
        """Run the callback if it is silent for too long, at every check, as the original; then sleep."""
        with self._lock:
            judge = self._by_hand = self._by_hand or Judge(dog, monotonic())
            now = monotonic()
            incident = judge.run(now) if judge.look(now, inf) else None
        if incident is not None:
            bark(dog, incident)
            self._look(judge, inf)
        end = monotonic() + float(dog.interval)
        while (left := end - monotonic()) > 0.0:
            asked = min(left, max(judge.limit / NAPS, NAP_MIN), WAIT_MAX)
            if bell.wait(asked):
                return
            self._look(judge, asked)

    def start(self, dog: Watchdog, daemon: bool) -> None:
        """Watch in a thread; one that was told to end may still be on its way out of a callback."""
        with self._lock:
            post = self._post
            if post is not None and not post.stopped and post.thread.is_alive():
                return
            # Before it runs: its callback may stop it before start() has returned.
            post = self._post = Post(dog, daemon)
            try:
                post.thread.start()
            except BaseException:
                self._post = None
                raise

    def stop(self, dog: Watchdog, timeout: float | None) -> None:
        """End the thread and wait for it, at most ``timeout`` seconds; the thread itself does not wait."""
        self._by_hand = None  # what comes after a stop is another incident
        post = self._post
        if post is None:
            return
        post.end()
        # A thread that is only being started is not alive yet; it ends as soon as it begins.
        if post.thread.is_alive() and post.thread is not threading.current_thread():
            post.thread.join(None if timeout is None else min(float(timeout), threading.TIMEOUT_MAX))

    def changed(self, dog: Watchdog) -> None:
        """Look again: when it is due may have changed."""
        post = self._post
        if post is not None:
            post.bell.ring()

    def _look(self, judge: Judge, asked: float) -> None:
        with self._lock:  # start() may run in several threads
            judge.look(monotonic(), asked)

    def _forked(self) -> None:
        """In a child: the thread stayed with the parent, and so did whoever may have held the lock."""
        self._lock = threading.Lock()


def bark(dog: Watchdog, incident: Incident) -> None:
    """Run the callback, in this thread; an Exception is logged with its traceback."""
    bound = dog._bound
    if bound is None:
        return
    try:
        calling.call(*bound, incident)
    except Exception:
        log.exception("the callback of %s raised", dog.name)


_keepers: weakref.WeakSet[LocalKeeper] = weakref.WeakSet()


def _all_forked() -> None:
    for keeper in list(_keepers):
        keeper._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_all_forked)
