"""How an action hears that it has nothing more to wait for, and why."""

from __future__ import annotations

import threading
from enum import StrEnum


class StopReason(StrEnum):
    """Why an action must stop waiting."""

    ENDED = "ended"
    """the incident has ended"""
    RECOVERED = "recovered"
    """it has ended, by a feed"""
    HANDED_OVER = "handed-over"
    """in a cluster: the incident is open, and another supervisor has it, or will have it"""
    STOPPING = "stopping"
    """the incident is open, and this supervisor stops: the next one does not begin this step again"""


_TEXTS = {
    StopReason.ENDED: "the incident has ended",
    StopReason.RECOVERED: "the incident has ended",
    StopReason.HANDED_OVER: "this supervisor leads no longer",
    StopReason.STOPPING: "the supervisor stops",
}


class IncidentEnd(threading.Event):
    """Set when the incident has ended, and when this supervisor can no longer say whether it has."""

    reason: StopReason | None = None
    """None: it is not set"""

    def end(self, reason: StopReason) -> None:
        """Set it, for the first reason that there is. From one thread."""
        if not self.is_set():
            self.reason = reason
            self.set()

    @property
    def recovered(self) -> bool:
        """Whether the worker was fed again."""
        return self.reason is StopReason.RECOVERED

    @property
    def text(self) -> str:
        """Why it is set, in words."""
        return "" if self.reason is None else _TEXTS[self.reason]
