"""The watchdog's handle: the API of the class that banken grew from, wherever its timer is kept.

``Watchdog(timeout=60, interval=20)`` keeps its own timer, in this process. ``client.watchdog(...)`` and
``Supervisor.watchdog(...)`` return the same class with the timer kept by a supervisor. Who keeps it is the
handle's *keeper*; nothing else differs.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from banken import calling
from banken.clock import CreditedClock
from banken.model import DEFAULT_INTERVAL, DEFAULT_TIMEOUT, Cause, Incident, check_seconds

if TYPE_CHECKING:
    from banken.calling import Callback
    from banken.port import Line, Port

log = logging.getLogger("banken")

_ids = itertools.count(1)


class Keeper(Protocol):
    """Whoever owns a watchdog's timer."""

    def feed(self, dog: Watchdog) -> None: ...
    def check(self, dog: Watchdog) -> None: ...
    def start(self, dog: Watchdog, daemon: bool) -> None: ...
    def stop(self, dog: Watchdog, timeout: float | None) -> None: ...
    def changed(self, dog: Watchdog) -> None: ...


class Watchdog:
    """A deadline with a name to feed: unfed for ``timeout`` seconds, it calls its callback.

    The callback runs again every ``interval`` seconds while it stays unfed. ``grace`` is the silence allowed
    before the first feed (default: ``timeout``). All in seconds, from 0.001 to ten years; anything else
    raises ``DurationRefused``, a ValueError.

    Use it in the background (``start_in_thread`` … ``stop``, or as a context manager) or from a loop of your
    own (``start`` checks once and then sleeps ``interval``).
    """

    def __init__(
        self,
        timeout: float = DEFAULT_TIMEOUT,
        interval: float = DEFAULT_INTERVAL,
        *,
        grace: float | None = None,
        callback: Callback | None = None,
        _keeper: Keeper | None = None,
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
        self._with_incident = False
        self._fed = monotonic()
        self._was_fed = False
        self._stopping = threading.Event()
        self.name = _name or f"local-{os.getpid()}-{next(_ids)}"
        self._keeper: Keeper = _keeper or LocalKeeper()
        if callback is not None:
            self.set_callback(callback)

    def feed(self) -> None:
        """Prove life: the timer starts anew. Costs next to nothing; safe from any thread and the callback."""
        self._fed = monotonic()
        self._was_fed = True
        self._keeper.feed(self)

    def set_callback(self, callback: Callback | None) -> None:
        """What to run when the watchdog expires: a callable that takes nothing, or one Incident.

        None: nothing. CallbackRefused (a ValueError) for anything else.
        """
        self._with_incident = callback is not None and calling.wants_incident(callback)
        self._callback = callback
        self._keeper.changed(self)

    setCallback = set_callback

    def start(self) -> None:
        """Check once, then sleep for ``interval`` seconds; ``stop`` ends the sleep."""
        if self._stopping.is_set():
            self._stopping = threading.Event()
        stopping = self._stopping
        self._keeper.check(self)
        stopping.wait(self._interval)

    def start_in_thread(self, daemon: bool = True) -> None:
        """Watch in the background until ``stop``; a second call while it watches does nothing.

        ``daemon=False`` keeps the process alive until then, where the timer is kept in this process.
        """
        self._keeper.start(self, daemon)

    def stop(self, timeout: float | None = None) -> None:
        """Watch no longer. Returns at once; if the callback runs, when it has ended, at most ``timeout`` seconds.

        From inside the callback it does not wait. ``start_in_thread`` may be called again.
        """
        self._stopping.set()
        self._keeper.stop(self, timeout)

    def __enter__(self) -> Watchdog:
        self.start_in_thread()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def timeout(self) -> float:
        """Seconds unfed until the verdict. May be set at any time."""
        return self._timeout

    @timeout.setter
    def timeout(self, value: float) -> None:
        check_seconds(value, "timeout")
        self._timeout = value
        self._keeper.changed(self)

    @property
    def interval(self) -> float:
        """Seconds between the callback's runs while it stays unfed. May be set at any time."""
        return self._interval

    @interval.setter
    def interval(self, value: float) -> None:
        check_seconds(value, "interval")
        self._interval = value
        self._keeper.changed(self)

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

        For people to read: the timer itself does not follow the wall clock. Setting it moves the last feed.
        """
        return time.time() - (monotonic() - self._fed)

    @last_feed_time.setter
    def last_feed_time(self, when: float) -> None:
        self._fed = monotonic() - (time.time() - when)
        self._keeper.changed(self)

    def __repr__(self) -> str:
        return f"<Watchdog {self.name} timeout={self._timeout} interval={self._interval}>"


class LocalKeeper:
    """Keeps the timer in this process: one thread per watchdog that is started, asleep until it is due.

    Time in which the whole process was stopped is not counted as silence (clock.py).
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._losses: list[tuple[float, float]] = []
        """(monotonic time, seconds) of stalls since the last feed"""
        self._silent_since: float | None = None
        """the value of ``_fed`` that the open incident is about; None: no incident"""
        self._incident = ""
        self._opened = 0.0
        self._run = 0
        self._next_run = 0.0

    def feed(self, dog: Watchdog) -> None:
        """Nothing to do: the thread looks at the time that the handle stored when it would be due."""

    def check(self, dog: Watchdog) -> None:
        """Run the callback if the watchdog is silent for too long; every check does so, as the original."""
        silence = self._silence(dog)
        if silence > self._limit(dog):
            self._bark(dog, silence)

    def start(self, dog: Watchdog, daemon: bool) -> None:
        with self._lock:
            # After stop() from inside a callback the old thread may still be on its way out.
            if self._thread is not None and self._thread.is_alive() and not dog._stopping.is_set():
                return
            stopping = dog._stopping = threading.Event()
            self._wake.clear()
            self._thread = threading.Thread(
                target=self._watch, args=(dog, stopping), name=f"banken-{dog.name}", daemon=daemon
            )
            self._thread.start()

    def stop(self, dog: Watchdog, timeout: float | None) -> None:
        self._wake.set()
        with self._lock:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread() and thread.ident is not None:
            thread.join(timeout)

    def changed(self, dog: Watchdog) -> None:
        self._wake.set()

    def _watch(self, dog: Watchdog, stopping: threading.Event) -> None:
        real = monotonic()
        clock = CreditedClock(real)
        while not stopping.is_set():
            silence = self._silence(dog)
            due = self._limit(dog) - silence
            if due < 0:
                if self._silent_since == dog._fed:
                    due = self._next_run - monotonic()
                if due <= 0:
                    try:
                        self._bark(dog, silence)
                    except BaseException:
                        # A callback that raises SystemExit or KeyboardInterrupt in this thread ends nothing.
                        log.exception("the callback of %s raised", dog.name)
                    clock.credit(monotonic(), float("inf"))  # the callback's time was not a stall
                    continue
            if self._wake.wait(max(due, 0.0005)):
                self._wake.clear()
            real = monotonic()
            clock.credit(real, max(due, 0.0005))
            if clock.last_lost:
                self._losses = [loss for loss in self._losses if loss[0] > dog._fed]
                self._losses.append((real, clock.last_lost))

    def _limit(self, dog: Watchdog) -> float:
        return dog.timeout if dog._was_fed else dog.grace

    def _silence(self, dog: Watchdog) -> float:
        fed = dog._fed
        return monotonic() - fed - sum(lost for at, lost in self._losses if at > fed)

    def _bark(self, dog: Watchdog, silence: float) -> None:
        """Run the callback, in this thread; an Exception is logged with its traceback."""
        now = monotonic()
        if self._silent_since != dog._fed:
            self._silent_since = dog._fed
            self._incident = f"{dog.name}-{next(_ids)}"
            self._opened = time.time()
            self._run = 0
        self._run += 1
        self._next_run = now + dog.interval
        callback = dog._callback
        if callback is None:
            return
        cause = Cause.TIMEOUT if dog._was_fed else Cause.GRACE
        incident = Incident(self._incident, dog.name, cause, self._opened, silence, dog.timeout, self._run)
        try:
            calling.call(callback, dog._with_incident, incident)
        except Exception:
            log.exception("the callback of %s raised", dog.name)


class PortKeeper:
    """The timer is kept by a supervisor; what happens here is told to it through a port."""

    def __init__(self, port: Port, line: Line) -> None:
        self._port = port
        self._line = line
        self._watched = True
        self._told: tuple[float, float] = self._settings(line)

    def feed(self, dog: Watchdog) -> None:
        line = self._line
        if dog._fed < line.open_until:
            line.coalesced += 1
        elif self._watched:  # after stop() a feed is no declaration that the watch goes on
            self._port._send_feed(line, dog._fed)

    def check(self, dog: Watchdog) -> None:
        """The supervisor checks all the time; see to it that it does."""
        self.start(dog, True)

    def start(self, dog: Watchdog, daemon: bool) -> None:
        if not self._watched:
            self._watched = True
            self._declare(dog)
            if dog.callback is not None:
                self._port._bind(dog.name, dog.callback)

    def stop(self, dog: Watchdog, timeout: float | None) -> None:
        if self._watched:
            self._watched = False
            if dog.callback is not None:
                self._port._bind(dog.name, None)
            self._line.open_until = 0.0
            self._port.release(dog.name)

    def changed(self, dog: Watchdog) -> None:
        if not self._watched:
            return
        if (dog.timeout, dog.interval) != self._told:
            self._declare(dog)
        else:
            self._port._bind(dog.name, dog.callback)

    def _declare(self, dog: Watchdog) -> None:
        declaration = self._line.declaration
        assert declaration is not None
        declaration = declaration._replace(
            timeout=round(float(dog.timeout), 3),
            interval=round(float(dog.interval), 3),
            grace=round(float(dog.grace), 3),
        )
        self._line = self._port._declare(dog.name, declaration, self._line.resolution)
        self._told = (dog.timeout, dog.interval)

    @staticmethod
    def _settings(line: Line) -> tuple[float, float]:
        assert line.declaration is not None
        return line.declaration.timeout, line.declaration.interval
