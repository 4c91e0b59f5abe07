"""When maintenance windows are open, and cron jobs run, by a clock on the wall: the oracle's own calendar.

It knows one rule, which is the documentation's: what is meant for 02:30 begins in the first minute in which the
clock there shows 02:30 or a later time of that day. So an hour that comes twice counts once, and what is left out
in spring begins right after the gap. It looks at each minute, and asks nobody but zoneinfo. Times are seconds since
1970; lengths are seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import inf
from typing import NamedTuple
from zoneinfo import ZoneInfo

DAY = 86_400
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


class Spell(NamedTuple):
    """What comes back: at ``hour:minute``, each hour if that is None, on one weekday or on each day."""

    hour: int | None
    minute: int
    seconds: float
    zone: str
    weekday: str | None = None

    @property
    def cron(self) -> str:
        """As it is written in the config."""
        return f"{self.minute} {'*' if self.hour is None else self.hour} * * {self.weekday or '*'}"


def local(moment: float, zone: str) -> datetime:
    """What the clock on the wall shows there."""
    return datetime.fromtimestamp(moment, ZoneInfo(zone)).replace(tzinfo=None)


@lru_cache(maxsize=20_000)
def beginnings(spell: Spell, day: int) -> tuple[float, ...]:
    """When it begins on one day; ``day``: since 1970, as the clock there counts."""
    date = datetime(1970, 1, 1) + timedelta(days=day)
    if spell.weekday is not None and WEEKDAYS[date.weekday()] != spell.weekday:
        return ()
    noon = int((date.replace(hour=12, tzinfo=UTC)).timestamp())
    if spell.hour is None:
        whole = range(noon - 2 * DAY, noon + 2 * DAY, 60)
        first = next(each for each in whole if local(each, spell.zone).minute == spell.minute)
        shown = [
            each for each in range(first, noon + 2 * DAY, 3600) if local(each, spell.zone).date() == date.date()
        ]
        return tuple(float(each) for each in shown)
    wanted = date + timedelta(hours=spell.hour, minutes=spell.minute)
    guess = int(wanted.replace(tzinfo=ZoneInfo(spell.zone)).timestamp())
    shown = (each for each in range(guess - 3 * 3600, guess + 3 * 3600, 60) if local(each, spell.zone) >= wanted)
    return (float(next(shown)),)


@lru_cache(maxsize=2_000)
def _around(spells: tuple[Spell, ...], today: int) -> tuple[tuple[float, float], ...]:
    days = range(today - 2, today + 10)
    return tuple((at, at + spell.seconds) for spell in spells for day in days for at in beginnings(spell, day))


def open_until(spells: tuple[Spell, ...], moment: float) -> float | None:
    """When what is open at ``moment`` ends, the latest; None: nothing is open."""
    around = _around(spells, int(moment // DAY))
    return max((end for begin, end in around if begin <= moment < end), default=None)


def next_change(spells: tuple[Spell, ...], moment: float) -> float:
    """When the next one begins or ends after ``moment``."""
    around = _around(spells, int(moment // DAY))
    return min((each for both in around for each in both if each > moment), default=inf)


def next_beginning(spell: Spell, moment: float) -> float:
    """When it begins next, after ``moment``."""
    return min(begin for begin, _ in _around((spell,), int(moment // DAY)) if begin > moment)
