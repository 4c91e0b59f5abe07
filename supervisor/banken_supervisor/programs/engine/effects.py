"""What the core of the programs asks the shell to do, and what it tells, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ProgramEventType(StrEnum):
    """What is told about programs."""

    STARTED = "program-started"
    """data: pid"""
    ADOPTED = "program-adopted"
    """a former supervisor had started it; data: pid"""
    FAILED = "program-failed"
    """it could not be started; data: reason, and wanted=False if it had been asked to stop meanwhile"""
    EXITED = "program-exited"
    """it ended and nobody had asked it to; data: status (negative: the signal; None: unknown), ran"""
    BACKOFF = "program-backoff"
    """it will start again; data: seconds, attempt"""
    GAVE_UP = "program-gave-up"
    """a budget is spent; data: of (whose budget: its own name or a group's), count, period"""
    STOPPED = "program-stopped"
    """it is down; data: why, status, again (whether it comes up by itself all the same)"""
    KILLED = "program-killed"
    """it outlived its stop timeout: its group gets SIGKILL; data: after"""
    UNKILLABLE = "program-unkillable"
    """it outlived SIGKILL; data: after"""
    SLOW = "program-slow"
    """the system has not made its process yet; nobody waits for it any longer; data: after"""


@dataclass(frozen=True, slots=True)
class ProgramEvent:
    """Tell whoever listens. All durations in ``data`` are seconds."""

    type: ProgramEventType
    name: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start its process; answer with ``Programs.started`` or ``Programs.failed``."""

    name: str


@dataclass(frozen=True, slots=True)
class SendSignal:
    """Send its process, not its group, a signal."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class KillGroup:
    """SIGKILL for its process and all that is in its group."""

    name: str


ProgramEffect = ProgramEvent | Spawn | SendSignal | KillGroup
