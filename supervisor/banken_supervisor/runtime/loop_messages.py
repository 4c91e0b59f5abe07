"""Messages to the loop from the supervisor's other threads, through its mailbox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from banken.protocol.messages import Declaration
from banken_supervisor.actions.reports import ActionReport
from banken_supervisor.engine.policy import Policy
from banken_supervisor.runtime.mailbox import Feeds as Feeds


@dataclass(frozen=True, slots=True)
class Declare:
    """Message: the operator declares a name."""

    name: str
    policy: Declaration | Policy


@dataclass(frozen=True, slots=True)
class Forget:
    """Message: the operator takes back the declaration of a name."""

    name: str


@dataclass(frozen=True, slots=True)
class Acted:
    """Message: what became of an action; ``evidence``: what a dump found, compressed."""

    report: ActionReport
    evidence: bytes | None = None


@dataclass(frozen=True, slots=True)
class Do:
    """Message: a function to be called on the loop's thread."""

    what: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Stop:
    """Message: end the loop."""
