"""Faults planted in the product that the year must find: of what is judged, and of clocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo

from banken_supervisor.config import cron
from banken_supervisor.engine import restore
from banken_supervisor.engine.declarations import Declarations
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.last_feeds import LastFeeds
from banken_supervisor.engine.policy import Window
from banken_supervisor.engine.process_lifecycle import ProcessLifecycle
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.snapshot import Snapshot
from banken_supervisor.journal.clock_history import ClockHistory
from banken_supervisor.outbox import checkpoints
from banken_supervisor.runtime import maintenance_clock

BERLIN = ZoneInfo("Europe/Berlin")
WINTER, SPRING, AUTUMN = (datetime(2026, *day, tzinfo=UTC) for day in ((1, 1), (3, 28), (10, 24)))


@dataclass(frozen=True)
class YearFault:
    """One fault. ``seen_as``: the findings that it may be."""

    says: str
    owner: Any
    name: str
    instead: Any
    """a value, or a function that gets what it replaces first"""
    cast: tuple[str, ...]
    """who is enough to see it"""
    seen_as: tuple[str, ...]
    first: datetime = WINTER
    reboot_every: int = 5
    clock_chance: float = 0.04

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Inside, the product has the fault."""
        instead, right = self.instead, getattr(self.owner, self.name)
        if callable(instead):
            wrong = instead
            instead = lambda *args, **more: wrong(right, *args, **more)  # noqa: E731
        with mock.patch.object(self.owner, self.name, instead):
            yield


def _always_fed(right: Any, rules: Rules, policy: Any, told: Any, *, fed: bool) -> Any:
    return right(rules, policy, told, fed=True)


def _always_awaited(right: Any, engine: Engine, name: str, now: float, out: Any, *, awaited: bool) -> None:
    right(engine, name, now, out, awaited=True)


def _nothing(right: Any, *args: Any, **more: Any) -> None:
    pass


def _without_feeds(right: Any, *args: Any) -> Snapshot:
    return replace(right(*args), feeds={})


def _never_again(right: Any, feeds: LastFeeds, now: float) -> None:
    feeds._noted.clear()


def _by_the_wall(right: Any, clocks: ClockHistory, boot: str, ticks: float, *, off_counts: bool = True) -> float:
    first = next((span for span in clocks._spans if span.boot == boot), clocks._spans[0])
    return max(0.0, clocks._now.wall - (ticks + first.offset))


def _who_paused_is_forgotten(right: Any, *args: Any) -> Any:
    return right(*args)._replace(maintained=False)


def _until_that_moment(right: Any, entry: Any, incidents: int, clocks: ClockHistory) -> Any:
    until = entry.paused_until
    return right(entry, incidents, clocks)._replace(left=None if until is None else until - clocks._now.wall)


def _twice(right: Callable[..., Iterator[datetime]], window: Window, after: datetime) -> Iterator[datetime]:
    hour = timedelta(hours=1)
    for start in right(window, after - hour):
        again = start + hour
        found = [start]
        if again.astimezone(BERLIN).time() == start.astimezone(BERLIN).time():
            found.append(again)
        yield from (each for each in found if each > after)


def _left_out(right: Callable[..., Iterator[datetime]], window: Window, after: datetime) -> Iterator[datetime]:
    minute, hour = window.cron.split()[:2]
    return (
        start
        for start in right(window, after)
        if (start.astimezone(BERLIN).minute, start.astimezone(BERLIN).hour) == (int(minute), int(hour))
    )


def _in_utc(right: Callable[..., Iterator[datetime]], window: Window, after: datetime) -> Iterator[datetime]:
    return right(window._replace(timezone="UTC"), after)


def _by_what_the_clock_says(right: Any, clocks: ClockHistory, seconds: float) -> Any:
    return clocks._now.wall - seconds, []


def _none_ended(right: Any, windows: Iterable[Window], *more: Any) -> dict[Window, float]:
    return {}


NIGHT = ("night", "night-long")
FALSE, LATE, ANY = ("false",), ("late", "missed"), ("false", "late", "missed")
LONG = ("w61", "w100", "w900", "w7200")

FAULTS = (
    # What is judged.
    YearFault("What never feeds has a timeout.", Rules, "in_force", _always_fed, ("redis",), FALSE),
    YearFault("What is only named is judged at once.", Engine, "watch", _always_awaited, ("never",), FALSE),
    YearFault("A feed brings no default.", Declarations, "first_fed", _nothing, ("ladder",), ("missed",)),
    YearFault("A start has no grace.", ProcessLifecycle, "restarted", _nothing, ("tool", "trainer"), ANY),
    YearFault(
        "Each start of a supervisor gives all time again.",
        checkpoints,
        "snapshot_from",
        _without_feeds,
        ("w7200",),
        LATE,
    ),
    YearFault("A feed is written once and never again.", LastFeeds, "turn", _never_again, LONG, FALSE),
    YearFault("The host was never off.", restore, "HOST_OFF_COUNTS_S", 1e12, ("w7200", "w90000"), LATE),
    YearFault("The host was off for all.", restore, "HOST_OFF_COUNTS_S", 0.0, ("w900", "trainer"), FALSE),
    YearFault("A start gives five minutes more.", restore, "GRACE_S", 300.0, LONG, LATE),
    YearFault("What is kept is never older than the feed.", restore, "UNSURE_S", -60.0, LONG, FALSE),
    YearFault(
        "Who paused it is forgotten.",
        checkpoints,
        "_checkpoint_from",
        _who_paused_is_forgotten,
        ("night", "sundays"),
        LATE,
        SPRING,
        500,
        0.5,
    ),
    YearFault(
        "A window of the time without a supervisor is forgotten.",
        maintenance_clock,
        "windows_ended",
        _none_ended,
        ("night-long", "two"),
        FALSE,
        WINTER,
        3,
    ),
    # Clocks.
    YearFault(
        "The age of a feed is by the clock on the wall.",
        ClockHistory,
        "age_of_ticks",
        _by_the_wall,
        ("w7200", "w90000"),
        ANY,
    ),
    YearFault(
        "A pause lasts until the clock shows its end.",
        checkpoints,
        "_checkpoint_from",
        _until_that_moment,
        ("paused",),
        ANY,
    ),
    YearFault("A window comes twice in autumn.", cron, "_starts", _twice, NIGHT, LATE, AUTUMN),
    YearFault("A window is left out in spring.", cron, "_starts", _left_out, NIGHT, FALSE, SPRING),
    YearFault("A window is meant in UTC.", cron, "_starts", _in_utc, NIGHT, ANY, SPRING),
    YearFault(
        "A clock that is ahead wipes the history.",
        ClockHistory,
        "moment_before",
        _by_what_the_clock_says,
        ("w1",),
        ("lost",),
        WINTER,
        500,
    ),
)
