"""What the loop is told through its mailbox by the supervisor's other threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from banken.model import Declaration
from banken_supervisor.actions.reports import ActionReport
from banken_supervisor.engine.policy import Policy
from banken_supervisor.runtime.mailbox import Feeds as Feeds

if TYPE_CHECKING:
    from banken_supervisor.runtime.loop import Loop


@dataclass(frozen=True, slots=True)
class Declare:
    """Message: the operator's word on a name."""

    name: str
    word: Declaration | Policy


@dataclass(frozen=True, slots=True)
class Forget:
    """Message: the operator no longer speaks for a name."""

    name: str


@dataclass(frozen=True, slots=True)
class Acted:
    """Message: what became of an action; ``evidence``: what a dump found, compressed."""

    report: ActionReport
    evidence: bytes | None = None


@dataclass(frozen=True, slots=True)
class Do:
    """Message: a function of the loop's, to be called on its thread."""

    what: Callable[[Loop], None]


@dataclass(frozen=True, slots=True)
class Stop:
    """Message: end the loop."""
