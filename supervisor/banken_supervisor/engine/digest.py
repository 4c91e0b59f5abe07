"""Digests: when notices to one target are sent, and how many in one message. Pure: the time is an argument.

Theory of operation
-------------------
A notice waits ``HOLD`` seconds for others. If few came, each is sent as its own message. More than ``most`` in any
``window`` are a storm: all waiting notices become one message, a digest. From then on one digest is sent per
window, until a window has so few notices that each can be sent on its own again. While a new storm still grows, its
first digest waits a little longer, but at most ``HOLD_MAX``. So within one window a target gets at most ``most``
single messages and one or two digests, and every notice is in exactly one message.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, NamedTuple, TypeVar

HOLD = 1.0
"""Seconds that a notice waits for others."""

HOLD_MAX = 2.0
"""Seconds that the first message of a storm waits while the storm still grows."""

QUIET = 0.25
"""A storm that gets no notice for this many seconds no longer grows."""

NOTICES_MAX = 5_000
"""Notices in one message; with this many it is sent at once."""

T = TypeVar("T")


class Limits(NamedTuple):
    """At most ``most`` single messages to one target per ``window`` seconds; 0 seconds: no waiting, no digests."""

    window: float = 5.0
    most: int = 10


class Fold(Generic[T]):
    """The notices for one target. Times are in seconds of a clock that never goes back."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._waiting: deque[tuple[float, T]] = deque()
        self._sent: deque[float] = deque()
        """when single messages were sent, within the last window"""
        self._storm_until = 0.0

    def add(self, notice: T, now: float) -> None:
        """Add a notice to send."""
        self._waiting.append((now, notice))

    def due(self) -> float | None:
        """When ``take`` returns something; None: nothing waits."""
        if not self._waiting:
            return None
        first, last = self._waiting[0][0], self._waiting[-1][0]
        window, most = self.limits
        if window == 0.0 or len(self._waiting) >= NOTICES_MAX:
            return first
        if first < self._storm_until:
            return first + window
        wait = min(HOLD, window)
        if len(self._waiting) <= most:
            return first + wait
        return first + max(wait, min(HOLD_MAX, window, last + QUIET - first))

    def take(self, now: float) -> list[list[T]]:
        """The messages that are due at ``now``, each as the list of its notices, in order."""
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
        """All waiting notices, as messages to send now: the supervisor stops."""
        notices = [notice for _, notice in self._waiting]
        self._waiting.clear()
        return [notices] if len(notices) > self.limits.most else [[notice] for notice in notices]

    def idle(self, now: float) -> bool:
        """Whether nothing waits and no recent message counts: this object may be dropped."""
        recent = self._sent and self._sent[-1] > now - self.limits.window
        return not self._waiting and not recent and now >= self._storm_until
