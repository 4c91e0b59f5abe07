"""Refused messages: all are counted, few are published as events."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from banken_supervisor.engine.effects import Event, EventType

REPORT_EVERY_S = 1.0
"""Seconds between two events for the same reason; refusals in between are only counted."""


class Refusal(NamedTuple):
    """Why a message was refused."""

    reason: str
    """one word, from a fixed set, for counters"""
    text: str
    """what is wrong and what is allowed"""


class Refusals:
    """Counts by reason, and rate-limited events. Times are deadline time, seconds."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._reported: dict[str, tuple[float, int]] = {}

    def note(self, refusal: Refusal, now: float, name: str | None = None) -> Event | None:
        """Count a refusal. Returns the event to publish, or None if the last one was too recent."""
        reason = refusal.reason
        self.counts[reason] += 1
        count = self.counts[reason]
        at, reported = self._reported.get(reason, (-REPORT_EVERY_S, 0))
        if count > 1 and now - at < REPORT_EVERY_S:
            return None
        self._reported[reason] = (now, count)
        return Event(
            EventType.REFUSED,
            name,
            {"reason": reason, "text": refusal.text, "count": count - reported, "total": count},
        )
