"""Where watchdogs stand in lists: the worst first, and each keeps its place while people read."""

from __future__ import annotations

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


class Places:
    """The severities of a live list. One that gets worse counts at once, one that gets better a minute later."""

    def __init__(self) -> None:
        self._worst: dict[str, tuple[int, float]] = {}
        """by name, of those that are or were bad: how bad, and when they were so last"""

    def severity(self, row: dict[str, Any], now: float) -> int:
        """That of a watchdog as of ``now``, monotonic seconds."""
        name, found = row["name"], severity(row["state"])
        worst, last = self._worst.get(name, (found, now))
        if found <= worst or now - last >= SETTLE_S:
            worst, last = found, now
        if worst < severity("alive"):
            self._worst[name] = worst, last
        else:
            self._worst.pop(name, None)
        return worst

    def forget(self) -> None:
        """All that got better stand where they belong now."""
        self._worst.clear()
