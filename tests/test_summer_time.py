"""Maintenance windows over the changes of summer time: as long as ever, and once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from banken_supervisor.config import cron
from banken_supervisor.engine.policy import Window
from banken_supervisor.runtime.maintenance_clock import open_windows

STEP = 5


@pytest.fixture(params=["named", "local", "rule"])
def zone(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Berlin: by its name, and as the system's own zone, which may be a rule without a name."""
    if request.param == "named":
        yield "Europe/Berlin"
        return
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin" if request.param == "local" else "CET-1CEST,M3.5.0,M10.5.0/3"
    time.tzset()
    yield None
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


def spells(window: Window, begin: datetime, days: float) -> list[tuple[str, float]]:
    """When it was open within these days, as a clock on the wall in Berlin says, and for how many minutes. Every
    five it is asked, as a supervisor would that was started then."""
    found: list[tuple[str, float]] = []
    open_ = False
    now = begin
    while now < begin + timedelta(days=days):
        end = cron.open_until([window], now)
        if end is not None:
            if not open_:
                found.append((now.astimezone(ZoneInfo("Europe/Berlin")).strftime("%d. %H:%M %Z"), 0.0))
            at, minutes = found[-1]
            found[-1] = at, minutes + STEP
            assert now < end <= now + timedelta(seconds=window.seconds)
        open_ = end is not None
        now += timedelta(minutes=STEP)
    return found


SPRING = datetime(2026, 3, 27, 23, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 23, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "minutes", "spring", "autumn"),
    [
        ("30 2 * * *", 60, ["28. 02:30 CET", "29. 03:00 CEST", "30. 02:30 CEST"],
         ["24. 02:30 CEST", "25. 02:30 CEST", "26. 02:30 CET"]),
        ("30 1 * * *", 60, ["28. 01:30 CET", "29. 01:30 CET", "30. 01:30 CEST"],
         ["24. 01:30 CEST", "25. 01:30 CEST", "26. 01:30 CET"]),
        ("0 3 * * *", 20, ["28. 03:00 CET", "29. 03:00 CEST", "30. 03:00 CEST"],
         ["24. 03:00 CEST", "25. 03:00 CET", "26. 03:00 CET"]),
        ("*/30 2 * * *", 60, ["28. 02:00 CET", "29. 03:00 CEST", "30. 02:00 CEST"],
         ["24. 02:00 CEST", "25. 02:00 CEST", "26. 02:00 CET"]),
        ("0 23 * * SAT", 300, ["28. 23:00 CET"], ["24. 23:00 CEST"]),
    ],
)  # fmt: skip
def test_a_window_is_as_long_as_it_says_and_comes_once(
    schedule: str, minutes: int, spring: list[str], autumn: list[str], zone: str | None
) -> None:
    window = Window(schedule, minutes * 60.0, zone)
    for begin, expected in ((SPRING, spring), (AUTUMN, autumn)):
        found = spells(window, begin, 2.9)
        assert [at for at, _ in found] == expected
        long = minutes + 30 if schedule.startswith("*") else minutes
        in_gap = schedule.startswith("*") and begin is SPRING  # both of its beginnings are left out there
        assert [length for _, length in found] == [
            minutes if in_gap and at.startswith("29.") else long for at, _ in found
        ]


def test_each_hour_has_its_window(zone: str | None) -> None:
    """With a star as the hour: 23 of them on the short day, 25 on the long one."""
    window = Window("0 * * * *", 600.0, zone)
    for begin, hours in ((datetime(2026, 3, 28, 23, tzinfo=UTC), 23), (datetime(2026, 10, 24, 22, tzinfo=UTC), 25)):
        found = spells(window, begin, 2)
        day = [at for at, _ in found if at.startswith(("29.", "25."))]
        assert len(day) == hours
        assert {length for _, length in found} == {10.0}


def test_the_next_check_is_at_the_change(zone: str | None) -> None:
    """The thread of the windows sleeps until one opens or closes, and not an hour too long or too short."""
    window = Window("30 2 * * *", 3600.0, zone)
    ends, wait = open_windows([window], datetime(2026, 3, 29, 0, 59, 50, tzinfo=UTC), 30.0)
    assert not ends
    assert wait == pytest.approx(10.0, abs=0.1)
    ends, wait = open_windows([window], datetime(2026, 10, 25, 1, 29, 50, tzinfo=UTC), 30.0)
    assert ends == {window: datetime(2026, 10, 25, 1, 30, tzinfo=UTC)}
    assert wait == pytest.approx(10.0, abs=0.1)
    assert open_windows([window], datetime(2026, 10, 25, 1, 30, 1, tzinfo=UTC), 30.0) == ({}, 30.0)


def test_a_zone_that_is_none_is_told() -> None:
    for wrong in ("Mars/Olympus", "", "../etc/passwd", "/etc/localtime", "x" * 300):
        with pytest.raises(ValueError, match="is no time zone; allowed are names such as Europe/Berlin"):
            cron.check_zone(wrong)
    cron.check_zone("Asia/Tokyo")
