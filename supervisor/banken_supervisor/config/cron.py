"""Maintenance that comes back: when a window is open, by cronsim.

Why cronsim and not croniter: both had a release in November 2026; cronsim is one typed file of 19 kB without
further dependencies, written for and used by healthchecks; croniter (69 kB) brings python-dateutil, has no types,
and was declared abandoned by its first keeper in 2025 before the Pallets community took it over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from itertools import islice, pairwise
from math import inf
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from banken_supervisor.engine.policy import Window

FIELDS = 5
ALLOWED = "five fields as for cron: minute hour day month weekday, such as 30 3 * * SUN"

_zone = re.compile(r"[A-Za-z0-9_+/-]{1,64}")

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


def check_zone(name: str) -> None:
    """ValueError if it is no time zone that this system knows."""
    try:
        if not _zone.fullmatch(name):  # zoneinfo takes a name for a module's, too, and falls over many dots
            raise ZoneInfoNotFoundError
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        what = "such as Europe/Berlin or UTC"
        if not _knows_zones():
            what += "; this system knows none: install its package tzdata"
        raise ValueError(f"is no time zone; allowed are names {what}") from None


@cache
def _knows_zones() -> bool:
    """Whether the system has any. It takes some ten milliseconds, and each of many windows may be wrong."""
    return bool(available_timezones())


def open_until(windows: Iterable[Window], now: datetime) -> datetime | None:
    """When the maintenance that holds at ``now`` ends; None: none holds. Where windows overlap, the later end.

    ``now`` with its time zone: then each schedule means its own, and the answer is in UTC. Over a change of summer
    time a window is as long as ever, and there once: one whose hour comes twice opens in the first, one whose
    beginning is left out opens right after the gap. Without a zone, all times are taken as they are.
    """
    ends = (start + timedelta(seconds=window.seconds) for window, start in _open(windows, now))
    return max(ends, default=None)


def next_opening(windows: Iterable[Window], now: datetime) -> datetime | None:
    """When the next window opens, after ``now`` (as for ``open_until``); None: there is no window."""
    starts = (next(_starts(window, now), None) for window in windows)
    return min((start for start in starts if start is not None), default=None)


def last_end(window: Window, since: datetime, now: datetime) -> datetime | None:
    """When it last ended after ``since`` and up to ``now``; None: it did not. Both with their time zone."""
    length = timedelta(seconds=window.seconds)
    for span in (3600.0, 86_400.0, inf):
        begin = max(since, now - timedelta(seconds=span)) if span != inf else since
        last = None
        for start in _starts(window, begin - length):
            if start + length > now:
                break
            last = start + length
        if last is not None or begin == since:
            return last
    return None


def _open(windows: Iterable[Window], now: datetime) -> Iterator[tuple[Window, datetime]]:
    """The windows that are open, and when each began last."""
    for window in windows:
        for span in (3600.0, 86_400.0, inf):  # the last beginning is in the shortest that has one
            since = now - timedelta(seconds=min(span, window.seconds))
            last = None
            for start in _starts(window, since):
                if start > now:
                    break
                last = start
            if last is not None:
                yield window, last
            if last is not None or span >= window.seconds:
                break


def _starts(window: Window, after: datetime) -> Iterator[datetime]:
    """When it begins, after ``after``, which is in UTC or has no zone; so are they."""
    if after.tzinfo is None:
        yield from CronSim(window.cron, after)
        return
    after = after.astimezone(UTC)
    zone = LOCAL if window.timezone is None else ZoneInfo(window.timezone)
    minute, hour, *days = window.cron.split()
    if not hour.startswith("*"):
        # With a star, the minute would stand for real time, and the hour that comes twice would count twice.
        minute = minute.replace("*", "0-59")
    for start in CronSim(" ".join([minute, hour, *days]), after.astimezone(zone)):
        moment = start.astimezone(UTC)
        if moment > after:  # in the hour that comes twice, a beginning in the first one is looked at again
            yield moment


class _LocalZone(tzinfo):
    """The system's own zone with its changes of summer time, as the C library knows them."""

    def utcoffset(self, when: datetime | None) -> timedelta:
        if when is None:
            return timedelta(0)
        local = when.replace(tzinfo=None)
        utc = datetime.fromtimestamp(local.timestamp(), UTC).replace(tzinfo=None)
        return local.replace(fold=0) - utc.replace(microsecond=local.microsecond)

    def dst(self, when: datetime | None) -> timedelta | None:
        return None

    def tzname(self, when: datetime | None) -> str:
        return "local time"

    def fromutc(self, when: datetime) -> datetime:
        return datetime.fromtimestamp(when.replace(tzinfo=UTC).timestamp()).replace(tzinfo=self)


LOCAL = _LocalZone()
