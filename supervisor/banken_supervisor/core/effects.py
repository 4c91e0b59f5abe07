"""What the core asks the shell to do, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from banken.model import Cause


class EventType(StrEnum):
    """What the supervisor tells the world. docs/wire.md lists the data of each."""

    DECLARED = "declared"
    FIRST_FED = "first-fed"
    EXPIRED = "expired"
    """the verdict: an incident is open"""
    RUNG = "rung"
    """still silent: the callback runs again"""
    RECOVERED = "recovered"
    """fed again: the incident is closed"""
    CLOSED = "closed"
    """the incident ended without a feed: paused, released or reborn"""
    FAILED = "failed"
    """the worker said so itself, once more, during an incident or a pause"""
    PAUSED = "paused"
    RESUMED = "resumed"
    EXTENDED = "extended"
    GIVEN_UP = "given-up"
    RELEASED = "released"
    CONFLICT = "conflict"
    """operator and worker declare different things; the operator's word stands"""
    CONTEST = "contest"
    """two processes feed one name that takes only the latest"""
    REFUSED = "refused"
    """messages that were not taken: why, what is allowed, how many since the last such event"""
    CALLBACK_DONE = "callback-done"
    CALLBACK_FAILED = "callback-failed"
    CALLBACK_STUCK = "callback-stuck"
    CALLBACK_SKIPPED = "callback-skipped"
    STALLED = "stalled"
    """the supervisor itself lost time; it is held against nobody"""
    OVERLOADED = "overloaded"
    """feeds come faster than they can be read"""
    STARTED = "started"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Event:
    """Tell whoever listens. The shell adds a sequence number and the wall-clock time."""

    type: EventType
    name: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunCallback:
    """Run the callback of one watchdog for one incident. Times are deadline time, seconds."""

    name: str
    callback: str | None
    """the one that the declaration names; None: whatever is bound to the watchdog itself"""
    incident: str
    cause: Cause
    opened: float
    silence: float
    timeout: float
    due: float
    """the deadline this run answers to"""
    run: int
    reason: str | None
    status: str | None
    progress: int | float | str | None


Effect = Event | RunCallback
