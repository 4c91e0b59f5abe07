"""How reliable a watchdog was: arithmetic over its incidents. Pure; seconds since 1970, or seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spell:
    """One incident's time: from its opening until it was up again; ``end`` None: it is not."""

    begin: float
    end: float | None


@dataclass(frozen=True, slots=True)
class Uptime:
    """What a period was like."""

    period: float
    """seconds looked at"""
    down: float
    """seconds of them within at least one incident"""
    failures: int
    """incidents that began in the period"""
    mtbf: float | None
    """mean time between failures: the time up, for each failure; None: there was none"""
    mttr: float | None
    """mean time to recovery of the incidents that ended in the period, each counted whole; None: none ended"""

    @property
    def share(self) -> float | None:
        """The part of the period that was up, 0 to 1; None for no period."""
        return None if self.period <= 0 else (self.period - self.down) / self.period


def uptime(spells: Iterable[Spell], since: float, now: float) -> Uptime:
    """The period from ``since`` to ``now``. Spells may come in any order and overlap; time in two counts once."""
    period = max(0.0, now - since)
    down = 0.0
    reached = since
    failures = 0
    repairs: list[float] = []
    for spell in sorted(spells, key=lambda each: each.begin):
        end = now if spell.end is None else max(spell.begin, spell.end)
        if since <= spell.begin < now:
            failures += 1
        if spell.end is not None and since <= end <= now:
            repairs.append(end - spell.begin)
        begin = max(spell.begin, reached)
        end = min(end, now)
        if end > begin:
            down += end - begin
            reached = end
    return Uptime(
        period,
        down,
        failures,
        (period - down) / failures if failures else None,
        sum(repairs) / len(repairs) if repairs else None,
    )


def percent(share: float | None) -> str:
    """``99.95 %``; never 100 where something was missing, and as many nines as there were."""
    if share is None:
        return "-"
    if share >= 1:
        return "100 %"
    for digits in (2, 3, 4, 5, 6):
        text = f"{share * 100:.{digits}f}"
        if not text.startswith("100"):
            return f"{text} %"
    return "99.999999 %"
