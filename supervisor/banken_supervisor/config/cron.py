"""Maintenance that comes back: when a window is open, by cronsim.

Why cronsim and not croniter: both had a release in November 2026; cronsim is one typed file of 19 kB without
further dependencies, written for and used by healthchecks; croniter (69 kB) brings python-dateutil, has no types,
and was declared abandoned by its first keeper in 2025 before the Pallets community took it over.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice, pairwise

from cronsim import CronSim, CronSimError

from banken_supervisor.engine.policy import Window

FIELDS = 5
ALLOWED = "five fields as for cron: minute hour day month weekday, such as 30 3 * * SUN"

_SAMPLE = 50
"""Moments looked at to see whether a window ever closes."""


def check(cron: str, seconds: float) -> None:
    """ValueError if the window can never open, or never closes."""
    if len(cron.split()) != FIELDS:
        raise ValueError(f"is no schedule; allowed are {ALLOWED}")
    try:
        starts = list(islice(CronSim(cron, datetime(2026, 1, 1)), _SAMPLE))
    except CronSimError as fault:
        raise ValueError(f"is no schedule ({str(fault).lower()}); allowed are {ALLOWED}") from None
    if not starts:
        raise ValueError("names no day that ever comes")
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(starts)]
    if gaps and max(gaps) <= seconds:
        raise ValueError("always begins again before it has ended: no watchdog would ever be judged")


def open_until(windows: Iterable[Window], now: datetime) -> datetime | None:
    """When the maintenance that holds at ``now`` ends; None: none holds. Where windows overlap, the later end.

    ``now`` in the time zone that the schedules mean, which is the supervisor's own.
    """
    ends = []
    for window in windows:
        # From the next minute backwards, so that a start at this very moment counts.
        starts = CronSim(window.cron, now + timedelta(minutes=1), reverse=True)
        start = next((each for each in starts if each <= now), None)
        if start is not None and start + timedelta(seconds=window.seconds) > now:
            ends.append(start + timedelta(seconds=window.seconds))
    return max(ends, default=None)


def next_opening(windows: Iterable[Window], now: datetime) -> datetime | None:
    """When the next window opens, after ``now``; None: there is no window."""
    starts = (next(CronSim(window.cron, now), None) for window in windows)
    return min((start for start in starts if start is not None), default=None)
