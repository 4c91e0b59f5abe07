"""What became of an action or a callback."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from banken_supervisor.engine.effects import EventType


class What(StrEnum):
    """What became of one run of an action."""

    DONE = "action-done"
    FAILED = "action-failed"
    STUCK = "action-stuck"
    SKIPPED = "action-skipped"
    """not begun: the text says why"""
    DROPPED = "action-dropped"
    """not begun, because its incident ended before"""


@dataclass(frozen=True, slots=True)
class ActionReport:
    """What became of one action, for one incident."""

    type: What
    name: str
    incident: str
    action: str
    step: int
    run: int
    level: str | None
    recovered: bool
    text: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    started: float | None = None
    """wall clock, seconds since 1970; None: it was not begun"""
    seconds: float = 0.0
    late: bool = False
    """True: it had been reported as stuck before"""


@dataclass(frozen=True, slots=True)
class CallbackReport:
    """What became of one callback."""

    type: EventType
    name: str
    incident: str
    run: int
    seconds: float
    text: str = ""
