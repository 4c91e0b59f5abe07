"""What was not taken: every one counted, few of them told."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from banken_supervisor.engine.effects import Event, EventType

TELL_EVERY = 1.0
"""Seconds between two events for the same reason; what comes between is only counted."""


class Refusal(NamedTuple):
    """Why one message was not taken."""

    reason: str
    """one word, from a fixed set, for counters"""
    text: str
    """what was wrong and what is allowed"""


class Refusals:
    """Counts by reason, and rate-limited events. Times are deadline time, seconds."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._told: dict[str, tuple[float, int]] = {}

    def note(self, refusal: Refusal, now: float, name: str | None = None) -> Event | None:
        """Count one; the event to publish, if it is time for one."""
        reason = refusal.reason
        self.counts[reason] += 1
        count = self.counts[reason]
        at, told = self._told.get(reason, (-TELL_EVERY, 0))
        if count > 1 and now - at < TELL_EVERY:
            return None
        self._told[reason] = (now, count)
        return Event(
            EventType.REFUSED,
            name,
            {"reason": reason, "text": refusal.text, "count": count - told, "total": count},
        )
