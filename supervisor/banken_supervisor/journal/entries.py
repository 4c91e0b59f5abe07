"""What the journal holds: one frozen dataclass for each kind of entry, whether it is recorded or read.

An entry must not be changed after it was recorded (``EventSeen.data`` is a dict: hand over one of its own). Times
are wall clock, seconds since 1970 (UTC); durations are seconds. Texts that are too long are cut when they are
written, see tables.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration, ProcessIdentity
from banken_supervisor.engine.policy import By
from banken_supervisor.engine.snapshot import Extensions, NumbersHeard, PastMember
from banken_supervisor.engine.states import State
from banken_supervisor.journal.values import unsqueeze

WEIGHT = 400
"""Bytes that an entry costs while it waits, its texts not counted: about what CPython takes for one."""


class Rank(IntEnum):
    """The order in which entries are dropped when there is no room: the lowest first."""

    EVENT = 0
    REGISTRY = 1
    EVIDENCE = 2
    STEP = 3
    INCIDENT = 4


@dataclass(frozen=True, slots=True)
class Declared:
    """One watchdog. Recorded at its declaration and again whenever one of these fields changes."""

    rank: ClassVar[Rank] = Rank.REGISTRY
    name: str
    declaration: Declaration
    resolution: float = 0.0
    owner: ProcessIdentity | None = None
    state: State = State.WAITING
    paused_until: float | None = None
    """wall clock; None: not paused, or until resumed. Of one that is not paused: until when it is extended"""
    by: By = By.WORKER
    """whose word its timeout is"""
    awaited: bool = True
    """False: its first feed is waited for, and nothing says that it will come"""
    maintained: bool = False
    """it is paused, and a maintenance window paused it"""
    program: str | None = None
    """which started its owner or, of one without owner, that it waits for"""
    incidents: int = 0
    """how many were opened so far"""
    members: tuple[PastMember, ...] | None = None
    """where several processes may feed it: which do"""
    proved: bool = True
    """whether each of these processes said itself that it is this one"""
    is_check: bool = False
    """nothing fed it but the runs of a check"""
    extended: Extensions | None = None
    """where several processes may feed it, and one is extended: which are, and how many seconds each ends before
    the longest one; None: all"""
    unfed: bool = False
    """it is paused, and has its grace after the pause"""
    heard: NumbersHeard | None = None
    """by process and matter: the highest number of a word of it that was heard"""
    changed: float = 0.0
    """wall clock of this change; 0: not known"""
    boot: str = ""
    """of this change; empty: not known"""
    ticks: float = 0.0
    """monotonic clock of this change"""


@dataclass(frozen=True, slots=True)
class Released:
    """A watchdog is no longer watched."""

    rank: ClassVar[Rank] = Rank.REGISTRY
    name: str


@dataclass(frozen=True, slots=True)
class Cleared:
    """The registry was recorded anew (see ``Condition.resync``): what was recorded before that began goes."""

    rank: ClassVar[Rank] = Rank.REGISTRY
    boot: str
    ticks: float
    """monotonic clock when it began"""


GIVEN_UP = "given-up"
"""How an open incident stands about which nothing more is done."""

HANDED_OVER = "handed-over"
"""How an incident ended here that another member of the cluster goes on with."""


@dataclass(frozen=True, slots=True)
class IncidentRecord:
    """A verdict, and after its end how that came. Recorded again under the same id, it changes nothing, but for one
    that was handed over: that is open here again."""

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
    closed: float | None = None
    """None: it is open, or its end was not recorded; see ``IncidentClosed``"""
    how: str | None = None
    """how it ended: fed, released, paused, reborn …; of an open one ``GIVEN_UP``, or None"""
    runs: int = 1


@dataclass(frozen=True, slots=True)
class IncidentClosed:
    """The end of an incident. The first one recorded for an id stands."""

    rank: ClassVar[Rank] = Rank.INCIDENT
    id: str
    closed: float | None
    """None, with ``GIVEN_UP``: it stays open"""
    how: str
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
    """None: not ended, or not known"""
    text: str = ""


@dataclass(frozen=True, slots=True)
class StepNotBegun:
    """The action of a ``StepRun`` was not begun after all: the step is due again."""

    rank: ClassVar[Rank] = Rank.STEP
    incident: str
    step: int
    run: int


@dataclass(frozen=True, slots=True)
class EvidenceTaken:
    """What was found out about a worker. ``blob`` is made by ``squeeze``, on the thread that collected it."""

    rank: ClassVar[Rank] = Rank.EVIDENCE
    incident: str
    taken: float
    blob: bytes

    @property
    def data(self) -> dict[str, Any]:
        """What ``squeeze`` was given. ValueError: the blob is none that it made."""
        found = unsqueeze(self.blob)
        return found if isinstance(found, dict) else {"data": found}


@dataclass(frozen=True, slots=True)
class EventSeen:
    """One event as it was published. ``seq`` is unique within one run of a supervisor."""

    rank: ClassVar[Rank] = Rank.EVENT
    seq: int
    time: float
    type: str
    name: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    """plain data; ``data["incident"]``: the incident whose timeline it belongs to"""
    run: str = ""
    """set when it is written: the supervisor's run"""
    incident: str | None = None
    """set when it is written, from ``data``"""


@dataclass(frozen=True, slots=True)
class LastFeed:
    """The last feed of a watchdog with a long deadline, see engine/last_feeds.py. Seconds."""

    rank: ClassVar[Rank] = Rank.REGISTRY
    name: str
    boot: str
    ticks: float
    """monotonic clock when this was recorded"""
    silent: float
    """since its last feed, or since it waits, at that time"""
    held: float | None = None
    """left of the grace of a restart; None: there was none since its last feed"""
    progress: int | float | str | None = None
    still: float | None = None
    """since its progress last changed; None: it never did"""


@dataclass(frozen=True, slots=True)
class ClockSpan:
    """How the wall clock and the monotonic clock went together for a while, see clock_history.py. The writer makes
    these rows itself."""

    number: int
    """counts from 1"""
    boot: str
    since: float
    """monotonic clock, seconds, of that boot"""
    until: float
    """the same; the last time that it was looked at"""
    offset: float
    """wall clock less monotonic clock, seconds"""


Entry = (
    Declared
    | Released
    | Cleared
    | IncidentRecord
    | IncidentClosed
    | StepRun
    | StepNotBegun
    | EvidenceTaken
    | EventSeen
    | LastFeed
)


def weight(entry: Entry) -> int:
    """About how many bytes the entry holds while it waits, with texts that can be long. On the loop's thread."""
    match entry:
        case EventSeen():
            return WEIGHT + sum(len(value) for value in entry.data.values() if isinstance(value, (str, bytes)))
        case EvidenceTaken():
            return WEIGHT + len(entry.blob)
        case StepRun():
            return WEIGHT + len(entry.text)
        case IncidentRecord():
            return WEIGHT + len(entry.reason or "") + len(entry.status or "")
    return WEIGHT
