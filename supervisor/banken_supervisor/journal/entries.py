"""What the journal is told: one frozen dataclass for each kind of entry.

An entry must not be changed after it was recorded (``EventSeen.data`` is a dict: hand over one of its own). Times
are wall clock, seconds since 1970 (UTC); durations are seconds. Texts that are too long are cut when they are
written, see rows.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration, ProcessIdentity
from banken_supervisor.engine.states import State

WEIGHT = 400
"""Bytes that an entry costs while it waits, its texts not counted: about what CPython takes for one."""


class Rank(IntEnum):
    """What is given up last when there is no room: the higher, the longer it is kept."""

    EVENT = 0
    REGISTRY = 1
    EVIDENCE = 2
    STEP = 3
    INCIDENT = 4


@dataclass(frozen=True, slots=True)
class Declared:
    """All that is kept of one watchdog. Recorded at its declaration and again whenever one of these changes."""

    rank: ClassVar[Rank] = Rank.REGISTRY
    name: str
    declaration: Declaration
    resolution: float = 0.0
    owner: ProcessIdentity | None = None
    state: State = State.WAITING
    paused_until: float | None = None
    """wall clock; None: not paused, or until resumed. Of one that is not paused: until when it is extended"""
    operator: bool = False
    """whether the declaration is the operator's word"""
    incidents: int = 0
    """how many were opened so far"""
    changed: float = 0.0
    """wall clock of this change; 0: not known"""


@dataclass(frozen=True, slots=True)
class Released:
    """A watchdog is no longer watched."""

    rank: ClassVar[Rank] = Rank.REGISTRY
    name: str


@dataclass(frozen=True, slots=True)
class Cleared:
    """No watchdog is watched; those that are follow. Begins a new copy of the registry (see
    ``Condition.resync``)."""

    rank: ClassVar[Rank] = Rank.REGISTRY


@dataclass(frozen=True, slots=True)
class IncidentOpened:
    """A verdict. Recorded again under the same id, it changes nothing."""

    rank: ClassVar[Rank] = Rank.INCIDENT
    id: str
    name: str
    cause: Cause
    opened: float
    silence: float = 0.0
    timeout: float = 0.0
    reason: str | None = None
    status: str | None = None
    progress: int | float | str | None = None
    pid: int | None = None
    level: str | None = None


@dataclass(frozen=True, slots=True)
class IncidentClosed:
    """The end of an incident. The first one recorded for an id stands."""

    rank: ClassVar[Rank] = Rank.INCIDENT
    id: str
    closed: float
    how: str
    """fed, released, paused, reborn, given-up …"""
    runs: int = 1


@dataclass(frozen=True, slots=True)
class StepRun:
    """One run of one step. Recorded with ``ok=None`` before the action, so that a restart does not repeat it, and
    again with the result."""

    rank: ClassVar[Rank] = Rank.STEP
    incident: str
    step: int
    """index into the ladder"""
    run: int
    """which run of this step, from 1"""
    action: str
    started: float
    ok: bool | None = None
    """None: not ended, or nobody knows"""
    text: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceTaken:
    """What was found out about a worker. ``blob`` is made by ``squeeze``, on the thread that collected it."""

    rank: ClassVar[Rank] = Rank.EVIDENCE
    incident: str
    taken: float
    blob: bytes


@dataclass(frozen=True, slots=True)
class EventSeen:
    """One event as it was published. ``seq`` is unique within the run that the journal was made with."""

    rank: ClassVar[Rank] = Rank.EVENT
    seq: int
    time: float
    type: str
    name: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    """plain data; ``data["incident"]`` is what the timeline of an incident is found by"""


Entry = Declared | Released | Cleared | IncidentOpened | IncidentClosed | StepRun | EvidenceTaken | EventSeen


_TEXTS: dict[type, Callable[[Any], int]] = {
    EventSeen: lambda entry: sum(len(value) for value in entry.data.values() if isinstance(value, (str, bytes))),
    EvidenceTaken: lambda entry: len(entry.blob),
    StepRun: lambda entry: len(entry.text),
    IncidentOpened: lambda entry: len(entry.reason or "") + len(entry.status or ""),
}
"""How long the texts of an entry are, where they can be long. This runs in the loop's thread."""


def weight(entry: Entry) -> int:
    """About how many bytes the entry holds while it waits."""
    texts = _TEXTS.get(type(entry))
    return WEIGHT if texts is None else WEIGHT + texts(entry)
