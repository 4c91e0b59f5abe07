"""The watchdog's handle: the API of the class that banken grew from, wherever its timer is kept.

``Watchdog(timeout=60, interval=20)`` keeps its own timer, in this process. ``client.watchdog(...)`` and
``Supervisor.watchdog(...)`` return the same class with the timer kept by a supervisor. Who keeps it is the
handle's *keeper*; nothing else differs.
"""

from __future__ import annotations

import itertools
import os
import time
from math import isfinite
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from banken import calling
from banken.errors import DurationRefused
from banken.local import Bell, LocalKeeper
from banken.model import DEFAULT_INTERVAL, DEFAULT_TIMEOUT, check_seconds, shorten

if TYPE_CHECKING:
    from banken.calling import Callback
    from banken.model import Declaration
    from banken.port import Line, Port

_numbers = itertools.count(1)


class Keeper(Protocol):
    """Whoever owns a watchdog's timer."""

    def feed(self, dog: Watchdog) -> None: ...
    def check(self, dog: Watchdog, bell: Bell) -> None: ...
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
        self._bound: tuple[Callback, bool] | None = None
        """the callback and whether it takes the incident; one value, so that a thread never mixes two"""
        self._fed = monotonic()
        self._was_fed = False
        self._sleepers: set[Bell] = set()
        """of each ``start`` that sleeps"""
        self.name = _name or f"local-{os.getpid()}-{next(_numbers)}"
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
        self._bound = None if callback is None else (callback, calling.wants_incident(callback))
        self._keeper.changed(self)

    setCallback = set_callback

    def start(self) -> None:
        """Check once, then sleep for ``interval`` seconds; ``stop`` ends the sleep."""
        bell = Bell()
        self._sleepers.add(bell)
        try:
            self._keeper.check(self, bell)
        finally:
            self._sleepers.discard(bell)

    def start_in_thread(self, daemon: bool = True) -> None:
        """Watch in the background until ``stop``; a second call while it watches does nothing.

        ``daemon=False`` keeps the process alive until then, where the timer is kept in this process.
        """
        self._keeper.start(self, daemon)

    def stop(self, timeout: float | None = None) -> None:
        """Watch no longer. Returns at once; if the callback runs, when it has ended, at most ``timeout`` seconds.

        From inside the callback it does not wait. ``start_in_thread`` may be called again.
        """
        for bell in list(self._sleepers):
            bell.ring()
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
        """Seconds between the callback's runs while it stays unfed. May be set at any time.

        While it is unfed, the next run is due this long after the last one, and not before now.
        """
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
        return None if self._bound is None else self._bound[0]

    @callback.setter
    def callback(self, callback: Callback | None) -> None:
        self.set_callback(callback)

    @property
    def last_feed_time(self) -> float:
        """When it was last fed through this handle (at first: made), as time.time() would have said.

        For people to read: the timer itself does not follow the wall clock. Setting it (finite seconds since
        1970; DurationRefused otherwise) moves the last feed, where the timer is kept in this process.
        """
        return time.time() - (monotonic() - self._fed)

    @last_feed_time.setter
    def last_feed_time(self, when: float) -> None:
        self._fed = monotonic() - (time.time() - _moment(when))
        self._was_fed = True
        self._keeper.changed(self)

    def __repr__(self) -> str:
        return f"<Watchdog {self.name} timeout={self._timeout} interval={self._interval}>"


class PortKeeper:
    """The timer is kept by a supervisor; what happens here is told to it through a port."""

    def __init__(self, port: Port, line: Line) -> None:
        self._port = port
        self._line = line
        self._watched = True

    def feed(self, dog: Watchdog) -> None:
        line = self._line
        if dog._fed < line.open_until:
            line.coalesced += 1
        elif self._watched:  # after stop() a feed is no declaration that the watch goes on
            self._port._send_feed(line, dog._fed)

    def check(self, dog: Watchdog, bell: Bell) -> None:
        """The supervisor checks all the time; see to it that it does."""
        self.start(dog, True)
        bell.wait(float(dog.interval))

    def start(self, dog: Watchdog, daemon: bool) -> None:
        if not self._watched:
            self._watched = True
            self._declare(self._wanted(dog))
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
        """Tell what differs from what was told. Compared as it travels, in whole milliseconds."""
        if not self._watched:
            return
        wanted = self._wanted(dog)
        if wanted != self._line.declaration:
            self._declare(wanted)
        self._port._bind(dog.name, dog.callback)

    def _wanted(self, dog: Watchdog) -> Declaration:
        declaration = self._line.declaration
        assert declaration is not None
        return declaration._replace(
            timeout=round(float(dog.timeout), 3),
            interval=round(float(dog.interval), 3),
            grace=round(float(dog.grace), 3),
        )

    def _declare(self, declaration: Declaration) -> None:
        self._line = self._port._declare(self._line.name, declaration, self._line.resolution)


def _moment(value: object) -> float:
    """``value`` as seconds since 1970; DurationRefused unless it is a finite number."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise DurationRefused(f"last_feed_time is a number of seconds since 1970, not {type(value).__name__}")
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        number = float("nan")
    if not isfinite(number):
        raise DurationRefused(
            f"last_feed_time={shorten(repr(value))} is no time: a finite number of seconds since 1970 is allowed"
        )
    return number
