"""When notices to one target go out, and how many of them in one message. Pure: the time is an argument.

Theory of operation
-------------------
A notice waits ``HOLD`` seconds for others. If few came, each goes out by itself. If there are more than ``most`` in
any ``window``, it is a storm: what waits becomes one message, and from then on there is one message per window,
until one comes up with so few that each can go out by itself again. While a first storm still grows, its message
waits a little longer, but never more than ``HOLD_MAX``: somebody must be told soon. So within one window a target
gets at most ``most`` messages and one or two that are folded, and every notice is in exactly one of them.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, NamedTuple, TypeVar

HOLD = 1.0
"""Seconds that a notice waits for others."""

HOLD_MAX = 2.0
"""Seconds that the first message of a storm waits while the storm still grows."""

QUIET = 0.25
"""Seconds without a further notice after which a storm no longer grows."""

NOTICES_MAX = 5_000
"""Notices of one message; with so many it goes out at once."""

T = TypeVar("T")


class Limits(NamedTuple):
    """At most ``most`` messages to one target within ``window`` seconds; 0 seconds: nothing waits or is folded."""

    window: float = 5.0
    most: int = 10


class Fold(Generic[T]):
    """The notices for one target. Times are in seconds of a clock that never goes back."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._waiting: deque[tuple[float, T]] = deque()
        self._sent: deque[float] = deque()
        """when messages of one notice went out lately"""
        self._storm_until = 0.0

    def add(self, notice: T, now: float) -> None:
        """One more that is to be told."""
        self._waiting.append((now, notice))

    def due(self) -> float | None:
        """When ``take`` has something to give; None: nothing waits."""
        if not self._waiting:
            return None
        first, last = self._waiting[0][0], self._waiting[-1][0]
        window, most = self.limits
        if window == 0.0 or len(self._waiting) >= NOTICES_MAX:
            return first
        if first < self._storm_until:
            return first + window
        hold = min(HOLD, window)
        if len(self._waiting) <= most:
            return first + hold
        return first + max(hold, min(HOLD_MAX, window, last + QUIET - first))

    def take(self, now: float) -> list[list[T]]:
        """The messages that are due at ``now``, each with the notices that it tells of, in their order."""
        due = self.due()
        if due is None or due > now:
            return []
        window, most = self.limits
        while self._sent and self._sent[0] <= now - window:
            self._sent.popleft()
        notices = [notice for _, notice in self._waiting]
        self._waiting.clear()
        if window == 0.0:
            return [[notice] for notice in notices]
        if len(notices) > most - len(self._sent):
            self._storm_until = now + window
            return [notices]
        self._sent.extend([now] * len(notices))
        return [[notice] for notice in notices]

    def flush(self) -> list[list[T]]:
        """Everything that waits, as messages that go out now, because there is no later."""
        notices = [notice for _, notice in self._waiting]
        self._waiting.clear()
        return [notices] if len(notices) > self.limits.most else [[notice] for notice in notices]

    def idle(self, now: float) -> bool:
        """Whether nothing waits and nothing is remembered that counts: it may be forgotten."""
        recent = self._sent and self._sent[-1] > now - self.limits.window
        return not self._waiting and not recent and now >= self._storm_until
