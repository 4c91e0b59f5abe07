"""The maintenance clock: reports to the loop which maintenance windows are open, by wall-clock time.

A thread checks the schedules when the next window opens or closes, and at least every ``CHECK_EVERY_S`` seconds,
because the wall clock may be set and daylight saving time may begin. What it reports is counted from then on by a
clock that is never set; so it compares the ends along that one. Without windows there is no thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from time import monotonic

from banken_supervisor.engine.policy import Window

CHECK_EVERY_S = 30.0
"""Seconds between two checks of the clock, at most."""

TOLERANCE_S = 1.0
"""Seconds by which the end of a window must have moved to be reported again."""


class MaintenanceClock:
    """``report`` is called on the thread with the open windows and the seconds that each has left.

    ``fault`` is called there with an exception of a check; the next check follows after ``check_every_s``.
    ``start`` runs a function on a thread, now or when one is free. ``passed``: seconds, by a clock that is not set.
    """

    def __init__(
        self,
        report: Callable[[Mapping[Window, float]], None],
        fault: Callable[[Exception], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        check_every_s: float = CHECK_EVERY_S,
        *,
        start: Callable[[Callable[[], None]], None],
        passed: Callable[[], float] = monotonic,
    ) -> None:
        self._report = report
        self._fault = fault
        self._clock = clock
        self._passed = passed
        self._check_every_s = check_every_s
        self._start = start
        self._started = False
        self._sets: SimpleQueue[tuple[Window, ...] | None] = SimpleQueue()
        """for the thread: the windows from now on; None: the end"""

    def set(self, windows: Iterable[Window]) -> None:
        """Replace the windows; those that are open are reported soon."""
        windows = tuple(dict.fromkeys(windows))
        if windows or self._started:
            self._sets.put(windows)
        if windows and not self._started:
            self._started = True
            self._start(self._work)

    def close(self) -> None:
        """End the thread."""
        self._sets.put(None)

    def _work(self) -> None:
        windows = self._sets.get()
        reported: dict[Window, float] | None = None
        while windows is not None:
            wait = self._check_every_s
            try:
                now, since = self._clock(), self._passed()
                ends, wait = open_windows(windows, now, self._check_every_s)
                left = {window: (end - now).total_seconds() for window, end in ends.items()}
                until = {window: since + seconds for window, seconds in left.items()}
                if reported is None or changed(reported, until):
                    self._report(left)
                    reported = until
            except Exception as fault:  # noqa: BLE001  # for example a clock outside the calendar
                self._fault(fault)
            with contextlib.suppress(Empty):
                windows, reported = self._sets.get(timeout=wait), None


def open_windows(windows: Iterable[Window], now: datetime, wait_max: float) -> tuple[dict[Window, datetime], float]:
    """(open windows at ``now`` with the end of each, seconds until the next window opens or closes).

    The seconds are at most ``wait_max``, and a little longer than needed, so that the next check sees the change.
    """
    from banken_supervisor.config import cron  # imported late: it loads the libraries of the config

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


def windows_ended(windows: Iterable[Window], seconds: float, now: datetime | None = None) -> dict[Window, float]:
    """The windows that ended within so many seconds before ``now``, and how many seconds ago."""
    from banken_supervisor.config import cron  # as above

    now = now or datetime.now(UTC)
    ends = {window: cron.last_end(window, now - timedelta(seconds=seconds), now) for window in windows}
    return {window: (now - end).total_seconds() for window, end in ends.items() if end is not None}


def changed(reported: Mapping[Window, float], until: Mapping[Window, float]) -> bool:
    """Whether the open windows, and until when each is, differ from those that were reported last."""
    return reported.keys() != until.keys() or any(
        abs(reported[window] - end) > TOLERANCE_S for window, end in until.items()
    )
