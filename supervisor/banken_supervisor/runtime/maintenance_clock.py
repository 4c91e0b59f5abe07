"""When the config's maintenance windows are open, by the clock on the wall, told to the loop by messages.

A thread of its own looks at the schedules when the next window opens or closes, and at least every ``LOOK_S``
seconds, because the clock on the wall may be set and summer time may begin. There is no thread without windows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from banken_supervisor.engine.policy import Window

LOOK_S = 30.0
"""Seconds between two looks at the clock, at most."""

OFF_S = 1.0
"""Seconds by which an end must have moved to be told anew."""


class MaintenanceClock:
    """``tell`` is called from the thread with the windows that are open and the seconds that each has left.

    ``fault`` is called there with what looking raised; it is looked again after ``look_s``. ``start``: has a
    function run on a thread, now or when there is one.
    """

    def __init__(
        self,
        tell: Callable[[Mapping[Window, float]], None],
        fault: Callable[[Exception], None],
        clock: Callable[[], datetime] = datetime.now,
        look_s: float = LOOK_S,
        *,
        start: Callable[[Callable[[], None]], None],
    ) -> None:
        self._tell = tell
        self._fault = fault
        self._clock = clock
        self._look_s = look_s
        self._windows: tuple[Window, ...] = ()
        self._changed = threading.Condition()
        self._anew = self._closed = False
        self._start = start
        self._started = False

    def set(self, windows: Iterable[Window]) -> None:
        """These are the windows there are, from now on; what is open of them is told soon."""
        with self._changed:
            self._windows = tuple(dict.fromkeys(windows))
            self._anew = True
            self._changed.notify()
            first = not self._started and bool(self._windows) and not self._closed
            self._started = self._started or first
        if first:
            self._start(self._work)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _work(self) -> None:
        told: dict[Window, datetime] = {}
        while True:
            with self._changed:
                if self._closed:
                    return
                windows, anew, self._anew = self._windows, self._anew, False
            wait = self._look_s
            try:
                now = self._clock()
                ends, wait = look(windows, now, self._look_s)
                if anew or moved(told, ends):
                    self._tell({window: (end - now).total_seconds() for window, end in ends.items()})
                    told = ends
            except Exception as fault:  # noqa: BLE001  # a clock beyond all calendars, for instance
                self._fault(fault)
            with self._changed:
                if not self._anew and not self._closed:
                    self._changed.wait(wait)


def look(windows: Iterable[Window], now: datetime, wait_max: float) -> tuple[dict[Window, datetime], float]:
    """(windows that are open at ``now`` and when each ends, seconds until something opens or closes).

    The seconds are at most ``wait_max``, and a little more than needed, so that the next look sees the change.
    """
    from banken_supervisor.config import cron  # not before there is a window: it loads the config's libraries

    ends: dict[Window, datetime] = {}
    moments = []
    for window in windows:
        end = cron.open_until([window], now)
        if end is not None:
            ends[window] = end
            moments.append(end)
        opening = cron.next_opening([window], now)
        if opening is not None:
            moments.append(opening)
    left = min(((moment - now).total_seconds() for moment in moments), default=wait_max)
    return ends, min(wait_max, max(0.0, left) + 0.005)


def moved(told: Mapping[Window, datetime], ends: Mapping[Window, datetime]) -> bool:
    """Whether what was told last is not what holds now."""
    return told.keys() != ends.keys() or any(
        abs((told[window] - end).total_seconds()) > OFF_S for window, end in ends.items()
    )
