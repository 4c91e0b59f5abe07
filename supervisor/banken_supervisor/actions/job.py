"""A job for an executor (keyed_executor.py), and what is reported of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum, auto
from math import inf
from time import monotonic
from typing import Any

_current = threading.local()


class WasEnded(BaseException):
    """Raised by work that was ended because it was stuck: nothing more is reported of it."""


def begin(job: Job) -> None:
    """This thread works on it from now on."""
    _current.job = job


def when_stuck(end: Callable[[float], str] | None) -> Callable[[float], str] | None:
    """For the job on this thread, whose time limit begins anew: what to call if it gets stuck; None: nothing.
    Returns what was to be called before: an action may call a callback.

    It gets the limit, ends the work, must not wait, and returns in words what became of it; an empty text: the work
    has just ended.
    """
    job = getattr(_current, "job", None)
    if job is None:
        return None
    before: Callable[[float], str] | None = job.end
    job.end = end
    if end is not None:
        job.started = monotonic()
    return before


class How(Enum):
    """What is reported of a job."""

    DONE = auto()
    """it returned the value"""
    RAISED = auto()
    """the value is what it raised"""
    STUCK = auto()
    """it still runs after its limit; DONE or RAISED follows if it ever ends"""
    REFUSED = auto()
    """it was not begun, and will not be: the value says why"""
    DROPPED = auto()
    """the same: the executor was closed before"""
    WAITS = auto()
    """the system gives no thread, as the value says; it begins when there is one"""


@dataclass(slots=True, eq=False)
class Job:
    """One piece of work. The fields from ``started`` on belong to the executor."""

    lane: Any
    """hashable"""
    work: Callable[[], Any]
    """called on a thread; what it raises, SystemExit too, ends nothing but itself"""
    about: Any = None
    """the caller's own"""
    owner: Hashable = None
    """whose it is; None: its lane's own, which it is then set to"""
    same: Hashable = None
    """a job is refused while another with an equal value waits, runs or is stuck; None: never"""
    limit_s: float = inf
    """seconds until it counts as stuck"""
    outside: bool = False
    """it waits for something that is not ours"""
    holds_lane: bool = False
    """its lane waits for it even while it is stuck"""
    subject: Hashable = None
    """by what it is found once it has begun"""
    started: float = 0.0
    """monotonic time; 0: not begun"""
    stuck: bool = False
    waits: bool = False
    """it was reported that it waits for a thread"""
    end: Callable[[float], str] | None = None
    """see ``when_stuck``"""

    def __post_init__(self) -> None:
        self.owner = self.lane if self.owner is None else self.owner
