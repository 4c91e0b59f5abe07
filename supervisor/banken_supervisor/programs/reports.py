"""Messages of the threads that work for programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from banken_supervisor.programs.engine.effects import ProgramEffect


@dataclass(frozen=True, slots=True)
class WorkTold:
    """Message: work for a program hangs, was refused, or waits for a thread."""

    name: str | None
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class ProgramReport:
    """Message: a job has found something. ``effects`` is called with the time, on the loop's thread."""

    effects: Callable[[float], list[ProgramEffect]]
