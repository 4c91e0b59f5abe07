"""Pieces of the year: long deadlines over restarts and reboots, what is judged at all, windows over both changes of
summer time, clocks that are set. The whole by command: ``python -m simulation.year 365 SEED`` from ``tests/``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from .year import CAST, ROOM, Year
from .year_calendar import Spell, beginnings, local
from .year_faults import FAULTS, YearFault

pytestmark = pytest.mark.timeout(300)  # seconds of work, and more on a busy machine

BERLIN = "Europe/Berlin"


@pytest.fixture
def room() -> Iterator[Path]:
    """In memory, if there is such a place: a year has ten thousand journals to open."""
    with tempfile.TemporaryDirectory(dir=ROOM) as path:
        yield Path(path)


@pytest.mark.parametrize("first", [datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)])
def test_nothing_is_false_missed_late_doubled_or_lost(room: Path, first: datetime) -> None:
    year = Year(4, room, first, reboot_every=11).run(2.5)
    assert year.oracle.findings == []
    assert year.host.boots > 3
    assert year.oracle.verdicts > 100


def test_servers_that_never_feed(room: Path) -> None:
    """No verdict in an hour with restarts of the supervisor; in weeks one for each that is killed, at once."""
    servers = tuple(role for role in CAST if role.judged.name in ("redis", "memcached", "postgres"))
    year = Year(1, room, cast=servers)
    assert (year.run(1 / 24).oracle.verdicts, year.oracle.findings) == (0, [])
    other = room / "other"
    other.mkdir()
    year = Year(2, other, cast=servers).run(10.0)
    assert year.oracle.verdicts >= 3
    assert year.oracle.findings == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.says)
def test_a_planted_fault_is_seen(fault: YearFault) -> None:
    cast = tuple(role for role in CAST if role.judged.name in fault.cast)
    assert len(cast) == len(fault.cast)
    seen: list[str] = []
    for seed in range(12):
        with tempfile.TemporaryDirectory(dir=ROOM) as path, fault.planted():
            seen += (
                Year(seed, Path(path), fault.first, fault.reboot_every, cast, fault.clock_chance)
                .run(2.5, 1)
                .oracle.findings
            )
        if any(finding.partition(":")[0] in fault.seen_as for finding in seen):
            return
    raise AssertionError(f"not seen: {seen}")


@pytest.mark.parametrize(
    ("spell", "month", "day", "expected"),
    [
        (Spell(2, 30, 0.0, BERLIN), 3, 28, ["02:30"]),
        (Spell(2, 30, 0.0, BERLIN), 3, 29, ["03:00"]),
        (Spell(2, 30, 0.0, BERLIN), 10, 25, ["02:30"]),
        (Spell(1, 45, 0.0, "Australia/Lord_Howe"), 4, 5, ["01:45"]),
        (Spell(2, 15, 0.0, "Australia/Lord_Howe"), 10, 4, ["02:30"]),
        (Spell(1, 30, 0.0, "America/New_York", "SUN"), 11, 2, []),
    ],
)
def test_the_oracles_calendar(spell: Spell, month: int, day: int, expected: list[str]) -> None:
    """Beside the summer time of a calendar on paper."""
    number = (datetime(2026, month, day) - datetime(1970, 1, 1)).days
    found = beginnings(spell, number)
    assert [local(each, spell.zone).strftime("%H:%M") for each in found] == expected
    if day == 25:
        assert datetime.fromtimestamp(found[0], UTC).hour == 0


@pytest.mark.parametrize(("month", "day", "hours"), [(3, 29, 23), (10, 25, 25), (6, 1, 24)])
def test_each_hour_of_the_oracles_calendar(month: int, day: int, hours: int) -> None:
    number = (datetime(2026, month, day) - datetime(1970, 1, 1)).days
    assert len(beginnings(Spell(None, 15, 0.0, BERLIN), number)) == hours
