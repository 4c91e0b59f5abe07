"""The parts of a running supervisor that request handlers may use."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Protocol

from banken.protocol.messages import Message, ProcessIdentity
from banken_supervisor.actions.target import StopReason
from banken_supervisor.control.checks_in_force import ChecksInForce
from banken_supervisor.engine.driver import Driver
from banken_supervisor.observability.guard import Guard
from banken_supervisor.observability.loop_metrics import LoopMetrics
from banken_supervisor.programs.program_watchdogs import ProgramWatchdogs


class ReloadView(Protocol):
    """Starts reloads and knows the result of the last one."""

    @property
    def last(self) -> dict[str, Any]: ...

    @property
    def asked(self) -> int:
        """How often a reload was asked for."""

    @property
    def is_pending(self) -> bool:
        """Whether one that was asked for has not ended."""

    def ask(self, allow_empty: bool = False) -> int:
        """Start a reload. Returns its number. ``allow_empty``: take an empty file, too."""


class WordsView(Protocol):
    """What operators say to all members of a cluster."""

    def takes(self, message: Message) -> bool:
        """Whether this is said to all members."""

    def refusal(self, message: Message) -> str | None:
        """Why this cannot be said now."""

    def say(self, message: Message) -> int:
        """Begin to say it; a number by which to ask for its outcome."""

    def outcome(self, number: int) -> dict[str, object]:
        """``done``, and ``why`` it was not."""


class StepsView(Protocol):
    """What this member of a cluster does for the leader."""

    def do(self, asked: Any) -> dict[str, Any]:
        """Begin it: ``taken``, ``here``, ``why``."""

    def did(self, key: Any, end: StopReason | None) -> dict[str, Any]:
        """What became of it. ``end``: why nothing more is to be waited for."""


class IncidentsView(Protocol):
    """Searches in journals."""

    def search(self, search: Any, *, others: bool) -> int:
        """Begin one; a number by which to ask for what it found."""

    def found(self, number: int) -> dict[str, Any]:
        """``done``, and what each member has."""


class ClusterView(Protocol):
    """What can be asked of a member of a cluster."""

    @property
    def words(self) -> WordsView: ...

    @property
    def for_leader(self) -> StepsView: ...

    @property
    def incidents(self) -> IncidentsView: ...


@dataclass(frozen=True, slots=True)
class RemoteView:
    """What is known of other hosts; as it is where none comes in."""

    origin: Callable[[bytes], dict[str, Any]] = lambda boot: {}
    """``key`` and ``host`` of the processes with this boot id; empty: they are not of another host"""
    keys: Callable[[], dict[str, Any]] = lambda: {"rows": [], "denied": []}
    """as the request ``keys`` has them"""


@dataclass(frozen=True, slots=True)
class ControlView:
    """Belongs to the loop's thread."""

    driver: Driver
    programs: ProgramWatchdogs
    guard: Guard
    metrics: LoopMetrics
    parts: Callable[[], dict[str, Any]]
    """counters of other parts for ``summary``: callbacks, actions, journal …"""
    reloads: Callable[[], ReloadView | None]
    """None: the supervisor was started without a config file"""
    unseen: Collection[ProcessIdentity | None]
    """processes whose end is not noticed, for want of a descriptor"""
    stop: Callable[[], dict[str, Any]]
    """begins to stop; ``within``: seconds that it takes at most; ``programs``: whether they are stopped before"""
    remote: Callable[[], RemoteView]
    cluster: Callable[[], ClusterView | None] = lambda: None
    """None: this supervisor is alone"""
    checks: ChecksInForce = field(default_factory=ChecksInForce)
