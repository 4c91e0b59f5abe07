"""What one run of an action is about, what it returns, and what the loop hears of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from banken.protocol.incidents import Incident
from banken.protocol.messages import ProcessIdentity, Scope
from banken_supervisor.engine.effects import EventType
from banken_supervisor.processes.incident_end import IncidentEnd as IncidentEnd
from banken_supervisor.processes.incident_end import StopReason as StopReason

CUT = "cut"
"""Key of data of an outcome, with True: it was left half done, or was not begun, for another member of the cluster
has the incident, or will have it. If that comes back, it is begun again."""

NO_STEP = -1
"""The index of what belongs to no step of the ladder."""


@dataclass(frozen=True, slots=True)
class ActionTarget:
    """What one run of an action is about."""

    incident: Incident
    who: ProcessIdentity | None = None
    """the process that feeds the watchdog; None: none is known"""
    level: str | None = None
    """the step's level for people and routing: warning, critical, emergency"""
    step: int = 0
    """index of the step; those of ``on_give_up`` count on after the ladder's last"""
    run: int = 1
    """which run of this step in this incident"""
    program: str | None = None
    """the supervisor's own program behind the watchdog; None: the supervisor did not start the process"""
    link: str | None = None
    """the incident's web page"""
    page: str | None = None
    """the web page of all watchdogs"""
    evidence: Mapping[str, Any] | None = None
    """what ``dump`` found earlier in this incident; filled in by the executor"""
    feeds: tuple[tuple[float, float], ...] = ()
    """the last feeds when the action was due, of each the age and the gap before it, seconds; the newest last"""
    scope: Scope | None = None
    """the work that is late, where the process said so"""
    recovered: bool = False
    """True: the incident is over, and this is the news of it; its ``silence`` is then how long it lasted"""
    how: str = "fed"
    """how it ended: fed, passed, released, paused, …"""
    fence: int | None = None
    """in a cluster: of which leader it is, a number that only grows; None: the supervisor is alone"""
    others: tuple[ActionTarget, ...] = ()
    """further incidents that the same message covers: only for an action with a ``recipient``"""

    @property
    def is_next_leaders(self) -> bool:
        """Whether another member of a cluster does this, if it is not begun here. The news of an end is nobody
        else's."""
        return self.fence is not None and not self.recovered


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run. The executor limits the text and the data."""

    ok: bool
    text: str = ""
    """one sentence for people"""
    data: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False
    """True: it was not begun; the text says why. With ``CUT`` in the data it is due again"""


@dataclass(frozen=True, slots=True)
class ActionReport:
    """What became of one action, for one incident."""

    type: EventType
    """ACTION_DONE, _FAILED or _STUCK. Not begun: _SKIPPED, the text says why; _DROPPED: its incident had ended, or
    the supervisor had"""
    action: str
    target: ActionTarget
    text: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    started: float | None = None
    """wall clock, seconds since 1970; None: it was not begun"""
    seconds: float = 0.0
