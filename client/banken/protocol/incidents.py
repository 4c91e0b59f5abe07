"""What a callback gets: an incident and its cause. Durations are seconds."""

from enum import StrEnum
from typing import NamedTuple


class Cause(StrEnum):
    """Why an incident was opened."""

    TIMEOUT = "timeout"
    """it was fed before, and then no longer"""
    GRACE = "grace"
    """it was declared and never fed"""
    FAILED = "failed"
    """the worker itself reported it"""
    NO_PROGRESS = "no-progress"
    """it was fed, but its progress value stood still"""
    TOO_FAST = "too-fast"
    """it was fed more often than ``min_interval`` allows"""
    EXITED = "exited"
    """its process ended"""
    CHECK = "check"
    """a check of the operator's failed several times in a row, or gave no result"""
    TOO_FEW = "too-few"
    """of a group: fewer of its members are alive than it wants"""


class Incident(NamedTuple):
    """What a callback gets about the silence that it runs for."""

    id: str
    """unique, and never used again"""
    name: str
    cause: Cause
    opened: float
    """when the verdict fell; wall clock, seconds since 1970 (UTC), for people to read"""
    silence: float
    """seconds since the last proof of life, at this run"""
    timeout: float
    """the timeout that was in force, seconds"""
    run: int = 1
    """which run of the callback for this incident: 1 at the verdict, then one more every ``interval``"""
    reason: str | None = None
    """the reason given to ``fail``"""
    status: str | None = None
    """the last status the worker gave"""
    progress: int | float | str | None = None
    """the last progress value the worker gave"""
