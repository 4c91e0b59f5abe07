"""Messages from other threads to the loop, through its mailbox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from banken.protocol.messages import Declaration
from banken_supervisor.actions.target import ActionReport
from banken_supervisor.engine.policy import Policy
from banken_supervisor.runtime.mailbox import Feeds as Feeds


@dataclass(frozen=True, slots=True)
class Declare:
    """Message: the operator declares a name."""

    name: str
    policy: Declaration | Policy


@dataclass(frozen=True, slots=True)
class Forget:
    """Message: the operator withdraws the declaration of a name."""

    name: str


@dataclass(frozen=True, slots=True)
class ActionReported:
    """Message: the result of an action; ``evidence``: of a dump, compressed."""

    report: ActionReport
    evidence: bytes | None = None


@dataclass(frozen=True, slots=True)
class Do:
    """Message: call a function on the loop's thread."""

    what: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Stop:
    """Message: stop the loop."""
