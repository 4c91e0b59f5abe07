"""How reliable a watchdog was, according to the journal. In seconds; times since 1970 (UTC).

The uptime is the share of a period that lay in no incident. The period ends now and begins no earlier than the
journal: what was before is not known, and is in no figure. Time in which no supervisor ran, or the watchdog was
paused or not yet declared, counts as up, for nothing says that it was not; an incident that was open goes on in it.

An incident lasts from its verdict until it is closed. One that was given up lasts until the event that ended it.
Where that event is no longer kept, it lasts until the first sign that it was over: the next incident, or the
registry's last change to another state; without a sign, until it was given up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from banken_supervisor.engine.states import State
from banken_supervisor.journal.entries import IncidentRecord
from banken_supervisor.journal.reading import History

_ENDS = ("recovered", "closed")


class Spell(NamedTuple):
    """One incident's time: from its opening until it was up again; ``end`` None: it is not."""

    begin: float
    end: float | None


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


def spells(kept: History) -> list[Spell]:
    """The time of each incident, in the order of ``kept.incidents``."""
    ends: dict[str | None, float] = {}
    for event in kept.events:
        if event.type in _ENDS:
            ends.setdefault(event.incident, event.time)
    found = []
    later: IncidentRecord | None = None
    for record in kept.incidents:  # the newest first
        end = record.closed
        if end is not None and record.how == "given-up":
            if record.id in ends:
                end = ends[record.id]
            elif later is not None:
                end = max(end, later.opened)
            elif kept.registered is not None:
                given_up = kept.registered.state is State.GIVEN_UP
                end = None if given_up else max(end, kept.registered.changed)
        found.append(Spell(record.opened, end))
        later = record
    return found


def of(kept: History, length: float, now: float) -> Uptime:
    """The last ``length`` seconds before ``now``, or as many as the journal reaches back."""
    began = now if kept.began is None else min(now, kept.began)
    return uptime(spells(kept), max(now - length, began), now)


def uptime(spells: Iterable[Spell], since: float, now: float) -> Uptime:
    """The period from ``since`` to ``now``. Spells may come in any order and overlap; time in two counts once."""
    period = max(0.0, now - since)
    known = sorted(spells, key=lambda each: each.begin)
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
