"""What the program engine asks the shell to do, and the events that it publishes, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ProgramEventType(StrEnum):
    """Events about programs."""

    STARTED = "program-started"
    """data: pid"""
    WAITS = "program-waits"
    """it starts when others are ready; data: names, ``for``"""
    READY = "program-ready"
    """data: after"""
    ADOPTED = "program-adopted"
    """an earlier supervisor had started it; data: pid"""
    FAILED = "program-failed"
    """it could not be started; data: reason, and wanted=False if it had been asked to stop meanwhile"""
    EXITED = "program-exited"
    """it ended without a request; data: status (negative: the signal; None: unknown), ran"""
    BACKOFF = "program-backoff"
    """it will start again; data: seconds, attempt"""
    GAVE_UP = "program-gave-up"
    """a restart budget is used up; data: of (owner of the budget: the program or a group), count, period"""
    STOPPED = "program-stopped"
    """it is down; data: why, status, again (True: it starts again without a request)"""
    KILLED = "program-killed"
    """it still ran after its stop timeout: it and all that it started get SIGKILL; data: after"""
    UNKILLABLE = "program-unkillable"
    """it still runs after SIGKILL; data: after"""
    SLOW = "program-slow"
    """its process does not exist yet; other programs no longer wait for it; data: after"""


@dataclass(frozen=True, slots=True)
class ProgramEvent:
    """Publish an event. All durations in ``data`` are seconds."""

    type: ProgramEventType
    name: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start its process; report with ``Programs.started`` or ``Programs.failed``."""

    name: str


@dataclass(frozen=True, slots=True)
class SendSignal:
    """Send a signal to its process and to all that it has started."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class KillGroup:
    """Send SIGKILL to its process and to all that it has started."""

    name: str


ProgramEffect = ProgramEvent | Spawn | SendSignal | KillGroup
