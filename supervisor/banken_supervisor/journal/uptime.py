"""How reliable a watchdog was, according to the journal. In seconds; times since 1970 (UTC).

The uptime is the share of a period that lay in no incident. The period ends now and begins no earlier than the
journal: what was before is not known, and is in no figure. Time in which no supervisor ran, or the watchdog was
paused or not yet declared, counts as up, for nothing says that it was not; an incident that was open goes on in it.

An incident lasts from its verdict until it is closed, whether it was given up meanwhile or not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from banken_supervisor.journal.reading import History


@dataclass(frozen=True, slots=True)
class Uptime:
    """What a period was like."""

    period: float
    """its length in seconds"""
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


def of(kept: History, length: float, now: float) -> Uptime:
    """The last ``length`` seconds before ``now``, or as many as the journal reaches back."""
    began = now if kept.began is None else min(now, kept.began)
    spells = ((each.opened, each.closed) for each in kept.incidents)
    return uptime(spells, max(now - length, began), now)


def uptime(spells: Iterable[tuple[float, float | None]], since: float, now: float) -> Uptime:
    """The period from ``since`` to ``now``. ``spells``: beginning and end (None: it lasts) of each incident, in any
    order; time in two of them counts once."""
    period = max(0.0, now - since)
    known = sorted(spells, key=lambda each: each[0])
    failures = sum(since <= begin < now for begin, _ in known)
    ended = [(begin, max(begin, end)) for begin, end in known if end is not None]
    repairs = [end - begin for begin, end in ended if since <= end <= now]
    down, reached = 0.0, since
    for begin, end in known:
        until = now if end is None else min(end, now)
        down += max(0.0, until - max(begin, reached))
        reached = max(reached, until)
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
