"""What the request handlers see of a running supervisor, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from banken_supervisor.engine.driver import Driver
from banken_supervisor.observability.guard import Guard
from banken_supervisor.observability.loop_metrics import LoopMetrics
from banken_supervisor.programs.program_watchdogs import ProgramWatchdogs


class ReloadOutcome(Protocol):
    """What became of one reading of the config file."""

    @property
    def number(self) -> int: ...
    @property
    def ok(self) -> bool: ...
    @property
    def text(self) -> str: ...


class Reloads(Protocol):
    """Reads the config file again when asked."""

    @property
    def last(self) -> ReloadOutcome | None: ...

    def ask(self) -> int:
        """Begin to read; the number of this reading."""


@dataclass(frozen=True, slots=True)
class ControlView:
    """Belongs to the loop's thread."""

    driver: Driver
    programs: ProgramWatchdogs
    guard: Guard
    metrics: LoopMetrics
    parts: Callable[[], dict[str, Any]]
    """counts of the other parts, as ``summary`` shows them: callbacks, actions, journal …"""
    reloads: Callable[[], Reloads | None]
    """None: the supervisor was started without a config file"""
    stop: Callable[[], None]
