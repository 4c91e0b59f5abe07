"""What one process knows of one name that it feeds."""

from __future__ import annotations

from banken.protocol.messages import Declaration

RESOLUTION_UNDECLARED = 0.01
"""Seconds, for a name this process did not declare: it cannot know the timeout."""

RESOLUTION_SHARE = 0.02
RESOLUTION_MAX = 1.0
"""Default resolution: 2 % of the timeout, at most one second."""


class FeedState:
    """The bytes of one name's feeds, the time until which a feed need not travel, and counts."""

    __slots__ = (
        "coalesced",
        "declaration",
        "declared_here",
        "dropped",
        "frame",
        "name",
        "open_until",
        "resolution",
        "sent",
        "status",
    )

    def __init__(self, name: str, declaration: Declaration | None, resolution: float) -> None:
        self.name = name
        self.declaration = declaration
        self.declared_here = declaration is not None
        """this process declared it, not one that it was forked from, and the message was taken"""
        self.resolution = resolution
        """seconds"""
        self.frame = b""
        """the constant bytes of a plain feed; empty until they are needed"""
        self.open_until = 0.0
        """monotonic time before which a feed need not travel"""
        self.status: str | None = None
        """the last status that was sent"""
        self.sent = 0
        self.coalesced = 0
        """feeds that did not have to travel"""
        self.dropped = 0
        """messages that found no supervisor, or no room"""

    @property
    def is_own(self) -> bool:
        """Whether a supervisor may know it from this process."""
        return self.declared_here or self.sent > 0

    def add_counts(self, other: FeedState) -> None:
        """Count what another one has counted, too."""
        self.sent += other.sent
        self.coalesced += other.coalesced
        self.dropped += other.dropped

    def begin_anew(self) -> None:
        """This process has sent nothing of it yet."""
        self.frame = b""
        self.open_until = 0.0
        self.status = None
        self.declared_here = False  # it is the parent's
        self.sent = self.coalesced = self.dropped = 0
