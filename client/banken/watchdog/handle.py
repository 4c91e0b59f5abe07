"""The watchdog's handle: the same API wherever its timer is.

``Watchdog(timeout=60, interval=20)`` has its timer in this process. ``client.watchdog(...)`` and
``Supervisor.watchdog(...)`` return the same class with the timer at a supervisor.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from math import inf, isfinite
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from banken.errors import DurationRefused
from banken.protocol.limits import Progress, check_seconds, shorten, to_number
from banken.protocol.messages import DEFAULT_INTERVAL, DEFAULT_TIMEOUT
from banken.threads import WakeUp
from banken.watchdog.callback_invocation import taking_incident
from banken.watchdog.work import OpenWork, Work

if TYPE_CHECKING:
    from banken.protocol.incidents import Incident
    from banken.watchdog.callback_invocation import Callback, Run
    from banken.watchdog.timer import Said, Timer

log = logging.getLogger("banken")

_numbers = itertools.count(1)


class Watchdog:
    """A deadline with a name to feed: unfed for ``timeout`` seconds, it calls its callback.

    The callback runs again every ``interval`` seconds while it stays unfed. ``grace`` is the silence allowed
    before the first feed (default: ``timeout``). All in seconds, from 0.001 to ten years; anything else
    raises ``DurationRefused``, a ValueError.

    Use it in the background (``start_in_thread`` … ``stop``, or as a context manager) or from a loop of your
    own (``start`` checks once and then sleeps ``interval``).
    """

    _default_timer: ClassVar[type[Timer]]
    """makes the timer of a handle that is given none; set by the package, for the handle knows the protocol only"""

    def __init__(
        self,
        timeout: float = DEFAULT_TIMEOUT,
        interval: float = DEFAULT_INTERVAL,
        *,
        grace: float | None = None,
        callback: Callback | None = None,
        _timer: Timer | None = None,
        _name: str | None = None,
    ) -> None:
        check_seconds(timeout, "timeout")
        check_seconds(interval, "interval")
        if grace is not None:
            check_seconds(grace, "grace")
        self._timeout = timeout
        self._interval = interval
        self._grace = grace
        self._callback: Callback | None = None
        self._run: Run | None = None
        self.fed_at = monotonic()
        self.was_fed = False
        self._sleeping: set[WakeUp] = set()
        """one for each ``start`` that sleeps now"""
        self.progress: Progress | None = None
        self.status: str | None = None
        """the last ones that were given to ``feed``, where the timer is in this process"""
        self.said: Said | None = None
        self._open_work: OpenWork | None = None
        self.name = _name or f"local-{os.getpid()}-{next(_numbers)}"
        self._timer: Timer = _timer or self._default_timer()
        if callback is not None:
            self.set_callback(callback)

    def feed(self, progress: Progress | None = None, status: str | None = None) -> None:
        """Prove life: the timer starts anew. Never blocks; safe from any thread, signal handler and callback.

        ``progress``: a value that changes as the work goes on. ``status``: a text for people, cut at 1,024
        characters. An incident has the last ones. TextRefused (a ValueError) for those that are not allowed.
        """
        self.fed_at = monotonic()
        if progress is None and status is None:
            self._timer.feed(self)
        else:
            self._timer.note(self, progress, status)

    def work(self, name: str, limit: float) -> Work:
        """``with dog.work("GET /x", limit=30):`` a piece of work that may take ``limit`` seconds.

        Any number may be open at once, nested and in any threads: what is due first counts. While none is open the
        watchdog is idle: its silence is not judged. (One that is fed too goes on to be judged by its feeds.) The
        incident of late work names it, how long it has run, and the thread that is in it.

        DurationRefused or TextRefused (ValueErrors) for a limit or a name that is not allowed.
        """
        of = self._open_work
        if of is None or of.closed:
            of = self._open_work = self._timer.work(self)
        return Work(of, name, limit)

    def busy(self, seconds: float) -> None:
        """The next feed, work or ``idle`` comes within so many seconds from now."""
        self._timer.work(self).promise(check_seconds(seconds, "seconds"), sent=False)

    def idle(self) -> None:
        """There is nothing to do: but for work that is open it is not judged before its next feed or work."""
        self._timer.work(self).promise(inf, sent=False)

    def set_callback(self, callback: Callback | None) -> None:
        """Set what runs when the watchdog expires: a callable that takes nothing, or one Incident; None: nothing.

        CallbackRefused (a ValueError) for anything else.
        """
        self._run = None if callback is None else taking_incident(callback)
        self._callback = callback
        self._timer.changed(self)

    setCallback = set_callback

    def run_callback(self, incident: Incident) -> None:
        """Run the callback, in this thread; an Exception is logged with its traceback. Timers call this."""
        run = self._run
        try:
            if run is not None:
                run(incident)
        except Exception:
            log.exception("the callback of %s raised", self.name)

    def start(self) -> None:
        """Check once, then sleep for ``interval`` seconds; ``stop`` ends the sleep."""
        wake_up = WakeUp()
        self._sleeping.add(wake_up)
        try:
            self._timer.check(self, wake_up)
        finally:
            self._sleeping.discard(wake_up)

    def start_in_thread(self, daemon: bool = True) -> None:
        """Watch in the background until ``stop``; a second call while it watches does nothing.

        ``daemon=False`` keeps the process alive until then, if the timer is in this process.
        """
        self._timer.start(self, daemon)

    def stop(self, timeout: float | None = None) -> None:
        """Watch no longer. Returns at once; if the callback runs, when it has ended, at most ``timeout`` seconds.

        From inside the callback it does not wait. ``start_in_thread`` may be called again.
        """
        for wake_up in list(self._sleeping):
            wake_up.signal()
        self._timer.stop(self, timeout)

    def __enter__(self) -> Watchdog:
        self.start_in_thread()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def timeout(self) -> float:
        """Seconds unfed until the verdict. May be set at any time."""
        return self._timeout

    @timeout.setter
    def timeout(self, value: float) -> None:
        check_seconds(value, "timeout")
        self._timeout = value
        self._timer.changed(self)

    @property
    def interval(self) -> float:
        """Seconds between the callback's runs while it stays unfed. May be set at any time.

        While it is unfed, the next run is due this long after the last one, and not before now.
        """
        return self._interval

    @interval.setter
    def interval(self, value: float) -> None:
        check_seconds(value, "interval")
        self._interval = value
        self._timer.changed(self)

    @property
    def grace(self) -> float:
        """Seconds allowed before the first feed."""
        return self._timeout if self._grace is None else self._grace

    @property
    def callback(self) -> Callback | None:
        """What runs when the watchdog expires."""
        return self._callback

    @callback.setter
    def callback(self, callback: Callback | None) -> None:
        self.set_callback(callback)

    @property
    def last_feed_time(self) -> float:
        """When it was last fed through this handle (at first: made), as time.time() would have said.

        For people to read: the timer itself does not follow the wall clock. Setting it (finite seconds since
        1970; DurationRefused otherwise) moves the last feed, if the timer is in this process.
        """
        return time.time() - (monotonic() - self.fed_at)

    @last_feed_time.setter
    def last_feed_time(self, when: float) -> None:
        moment = to_number(when, "last_feed_time is a number of seconds since 1970")
        if not isfinite(moment):
            allowed = "a finite number of seconds since 1970 is allowed"
            raise DurationRefused(f"last_feed_time={shorten(repr(when))} is no time: {allowed}")
        self.fed_at = monotonic() - (time.time() - moment)
        self.was_fed = True
        self._timer.changed(self)

    def __repr__(self) -> str:
        return f"<Watchdog {self.name} timeout={self._timeout} interval={self._interval}>"
