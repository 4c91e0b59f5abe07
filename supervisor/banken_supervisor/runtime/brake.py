"""The brake: a leader that finds most of its world silent at once is more likely wrong than right.

Incidents are opened and told all the same. Of each incident that is opened while the brake is on, actions that
change something wait: each for the brake's time, from when it was due, so that they keep their distances; and it is
done if the incident is still open then. (The idea: Kubernetes' node controller, which evicts nobody while most of a
zone looks dead.)

Belongs to the loop's thread. What waits ends with the member's leadership: it was not begun, and whoever leads next
finds the incidents, and how many began lately.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import count
from time import monotonic

from banken_supervisor.engine.claim_gate import Gate
from banken_supervisor.engine.table import Table

SILENT_MIN = 10
"""With fewer that fall silent the brake stays off."""

COUNT_S = 1.0
"""Seconds for which it is known how many lived before the first of them fell silent: to count them all takes a
while, and whoever is found silent meanwhile is one of them."""

HARMLESS = frozenset({"log", "notify", "webhook", "dump"})
"""Actions that do not wait. A user's own ones do."""


@dataclass(eq=False)
class Brake:
    """``seconds``: for how long an action waits; 0: no brake. ``within``: seconds in which more than half fall
    silent. ``tell``: gets a sentence."""

    seconds: float
    _within: float
    _table: Table
    _gate: Gate
    _tell: Callable[[str], None]
    _silent: OrderedDict[str, float] = field(default_factory=OrderedDict)
    """by watchdog: when nobody was found that hears it, monotonic time; the latest last"""
    _until: float = 0.0
    """it is on, monotonic time"""
    _incidents: set[str] = field(default_factory=set)
    """that were opened while it was on, and are open"""
    _waiting: list[tuple[float, int, str, Callable[[], None]]] = field(default_factory=list)
    """a heap: when it is done, and for which incident"""
    _order: count[int] = field(default_factory=count)
    _lived: int = 0
    """watchdogs whose workers live, as far as is known, or did before they were found silent"""
    _counted_at: float = -COUNT_S

    @property
    def left(self) -> float | None:
        """Seconds for which the brake is on, or something waits; None: it is off."""
        until = max(self._until, self._waiting[0][0] if self._waiting else 0.0)
        return until - now if until > (now := monotonic()) else None

    @property
    def held(self) -> int:
        """How many actions wait, of incidents that are open."""
        return sum(incident in self._incidents for _, _, incident, _ in self._waiting)

    def note(self, name: str) -> None:
        """Nobody hears this worker."""
        now = monotonic()
        self._silent[name] = now
        self._silent.move_to_end(name)
        while self._silent and next(iter(self._silent.values())) < now - self._within:
            del self._silent[next(iter(self._silent))]
        if now >= self._until and self._is_most(self._silent, now):
            self._put_on(now, self.seconds)

    def opened(self, incident: str) -> None:
        """An incident of silence begins."""
        if monotonic() < self._until:
            self._incidents.add(incident)

    def goes_on(self, incidents: Iterable[tuple[str, str, float]]) -> None:
        """This member leads from now on: the incidents of silence that are open, each with its watchdog and its age
        in seconds."""
        lately = [each for each in incidents if each[2] <= self.seconds + self._within]
        now = monotonic()
        self._counted_at = now - COUNT_S
        if lately and self._is_most([name for _, name, _ in lately], now):
            left = self.seconds - min(age for _, _, age in lately)
            if left > 0.0:
                self._put_on(now, left)
                self._incidents.update(incident for incident, _, _ in lately)

    def delays(self, incident: str, action: str, do: Callable[[], None]) -> bool:
        """Whether this action waits; it is done then, if its incident is still open."""
        if action in HARMLESS or incident not in self._incidents:
            return False
        heapq.heappush(self._waiting, (monotonic() + self.seconds, next(self._order), incident, do))
        return True

    def ended(self, incident: str) -> None:
        """It is open no longer."""
        self._incidents.discard(incident)

    def stop(self) -> None:
        """This member leads no longer."""
        self._until = 0.0
        self._silent.clear()
        self._incidents.clear()
        self._waiting.clear()

    def patience(self, now: float) -> float | None:
        """Seconds until ``turn`` has something to do; None: not before something else happens."""
        return max(0.0, self._waiting[0][0] - now) if self._waiting else None

    def turn(self, now: float) -> None:
        """Do what has waited for long enough; ``now``: monotonic time."""
        while self._waiting and self._waiting[0][0] <= now:
            _, _, incident, do = heapq.heappop(self._waiting)
            if incident in self._incidents:
                do()

    def _is_most(self, silent: Collection[str], now: float) -> bool:
        if self.seconds <= 0.0 or len(silent) < SILENT_MIN:
            return False
        if now >= self._counted_at + COUNT_S:
            self._counted_at, self._lived = now, self._count(silent)
        return 2 * len(silent) > self._lived

    def _count(self, silent: Collection[str]) -> int:
        judged = sum(
            each.is_judged and each.awaited and not each.is_group and not self._gate.is_local(each)
            for each in self._table
        )
        found = map(self._table.by_name.get, silent)
        return judged + sum(record is None or record.is_down for record in found)

    def _put_on(self, now: float, seconds: float) -> None:
        self._until = now + seconds
        for name in self._silent:  # those of which the incident is open already
            record = self._table.by_name.get(name)
            if record is not None and record.incident is not None:
                self._incidents.add(record.incident.id)
        self._tell(f"more than half of the workers are silent: actions on them wait for {self.seconds:g} s")
