"""What the oracle of a whole simulation knows of one watchdog, and what it finds."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from .whole_world import Process


class Finding(NamedTuple):
    """One fault."""

    kind: str
    """false, missed, doubled, lost, order or broken"""
    at: float
    name: str
    why: str


class Open(NamedTuple):
    """An open incident."""

    id: str
    since: float
    """in ``most`` time; 0: in an earlier life"""
    at: float
    """by the real clock"""


class Name:
    """What is known of one name. In the supervisor's own time: ``good`` in the most, ``heard`` in the least."""

    def __init__(self, name: str, timeout: float, resolution: float) -> None:
        self.name, self.timeout, self.resolution = name, timeout, resolution
        self.process: Process | None = None
        self.known = False
        """the supervisor has heard of it"""
        self.heard_pid = 0
        """of the process whose message arrived last"""
        self.judged = True
        """False: it was released, or its process has ended well"""
        self.unsure = False
        """nobody can say whether it is to be judged: how its process ended was not told"""
        self.good: float | None = None
        self.heard = 0.0
        self.unread = False
        """a message has come, and the loop has not woken since"""
        self.hold = 0.0
        """a pause lasts until then"""
        self.extended = self.extended_for = 0.0
        self.paused_until = 0.0
        """by the real clock"""
        self.kept_pause = False
        self.must_by: float | None = None
        """an incident is due by then, whatever was fed: it failed, or its process has ended"""
        self.failed = -inf
        """when it said that it failed, or ends by an exception"""
        self.idle = -inf
        """when it said that it has nothing to do, by the real clock; -inf: it has"""
        self.is_idle = False
        """as the supervisor has heard"""
        self.promised: float | None = 0.0
        """when its next message is due, as the supervisor has heard"""
        self.promised_for = 0.0
        """so long after that message"""
        self.open: Open | None = None
        self.since_start = True
        """heard since this supervisor's start"""
