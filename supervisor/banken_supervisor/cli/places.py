"""Where watchdogs and programs stand in lists: the worst first, and each keeps its place while people read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

WORST_FIRST = ("given-up", "expired", "waiting", "alive", "running", "idle", "paused")

BAD = ("given-up", "expired")

SETTLE_S = 60.0
"""Seconds for which a row keeps its place after its state got better: what fails again and again does not jump."""

_ALIKE = {"running": "alive", "idle": "alive"}
"""States between which a worker changes all the time."""


def severity(state: str) -> int:
    """The place of a state, the worst first; one that is not known is the worst."""
    state = _ALIKE.get(state, state)
    return WORST_FIRST.index(state) if state in WORST_FIRST else -1


PROGRAMS_WORST_FIRST = ("given-up", "backoff", "queued", "starting", "stopping", "running", "stopped")


def program_severity(state: str) -> int:
    """The same for a program."""
    return PROGRAMS_WORST_FIRST.index(state) if state in PROGRAMS_WORST_FIRST else -1


class Places:
    """The severities of a live list. One that gets worse counts at once, one that gets better a minute later."""

    def __init__(self, severity: Callable[[str], int] = severity, well: str = "alive") -> None:
        """``severity``: of a state; ``well``: one of a row that is not to be held above others."""
        self._severity, self._well = severity, severity(well)
        self._worst: dict[str, tuple[int, float]] = {}
        """by name, of those that are or were bad: how bad, and when they were so last"""

    def severity(self, row: dict[str, Any], now: float) -> int:
        """That of a row as of ``now``, monotonic seconds."""
        name, found = row["name"], self._severity(row["state"])
        worst, last = self._worst.get(name, (found, now))
        if found <= worst or now - last >= SETTLE_S:
            worst, last = found, now
        if worst < self._well:
            self._worst[name] = worst, last
        else:
            self._worst.pop(name, None)
        return worst

    def sort(self, rows: Iterable[dict[str, Any]], now: float) -> list[dict[str, Any]]:
        """The worst first, then by name."""
        placed = [(self.severity(row, now), row["name"], row) for row in rows]
        return [row for _, _, row in sorted(placed, key=lambda each: each[:2])]

    def forget(self) -> None:
        """All that got better stand where they belong now."""
        self._worst.clear()
