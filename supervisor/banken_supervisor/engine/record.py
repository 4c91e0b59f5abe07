"""One watchdog's record, and when it is due.

The record is small because there may be a million: what only a few watchdogs have (an incident, a pause, a status)
lies in ``Details``, which is made when it is first needed. All times are deadline time, seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import Any

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration, Kind, ProcessIdentity, Scope
from banken_supervisor.engine.adaptive_timeout import Gaps
from banken_supervisor.engine.allowance import NOTHING_ALLOWED, Allowance
from banken_supervisor.engine.check_state import CheckState
from banken_supervisor.engine.demand import Demand
from banken_supervisor.engine.ladder import NextStep, StepKey
from banken_supervisor.engine.policy import By, Policy
from banken_supervisor.engine.quorum_state import QuorumState
from banken_supervisor.engine.rate_limit import Bucket
from banken_supervisor.engine.states import State

_NOTHING: Mapping[Any, Any] = MappingProxyType({})
"""In the place of an empty dict: it costs no memory."""

UNARMED = -1
"""``armed`` of a record that is not in the deadline queue."""

DISPLACED_MAX = 16
"""Processes remembered per name as no longer entitled; the oldest is forgotten first."""

ENDED = -inf
"""In ``displaced``: the process has ended, or was taken down. What it still had to say is out of date."""


@dataclass(slots=True)
class OpenIncident:
    """An unbroken expired spell."""

    id: str
    cause: Cause
    opened: float
    runs: int
    """how often the callback was due so far, the next one not counted"""
    next_run: float
    """when the callback runs again"""
    reason: str | None = None
    death: str | None = field(default=None, kw_only=True)
    """how its process ended, or why its program was given up: that is so after a pause, too, which closes the
    incident. None: it lives, or that is not known, or another one has the name"""
    failed_at: float | None = None
    """when its worker said last that it failed"""
    next_step: NextStep | None = None
    """of the ladder; None: none, or none left"""
    climbing_since: float = 0.0
    """when escalation began: at the verdict, or when no other watchdog was to blame any more"""
    backed_off: bool = False
    """the next step's backoff has been waited for"""
    step_counts: Mapping[int, int] = field(default_factory=lambda: _NOTHING)
    """how often each step ran"""
    blamed: str | None = None
    """the watchdog that this one depends on, and that is down too"""
    presumed: bool = False
    """that one was not down yet, only due to be found so"""
    recovering: bool = False
    """that one is back, and until ``next_run`` this one may follow"""
    feeds: tuple[tuple[float, float], ...] = ()
    """the last feeds as they were at the verdict, of each the age and the gap before it"""


JOINS_AFTER = 2
"""Feeds after which a process of ``each`` is judged: a step of a script that feeds once is not waited for."""


@dataclass(slots=True, eq=False)
class Member:
    """One process of a watchdog. ``fed_at`` and ``feed_times`` are a record's: its feed may be known by its bytes,
    and then stands for it in the table."""

    name: str
    """the watchdog's"""
    process: ProcessIdentity
    fed_at: float
    feed_times: deque[float] | None = None
    words: int = 0
    """how often it was heard, up to ``JOINS_AFTER``"""
    work_due: float | None = None
    scope: Scope | None = None
    extended_until: float | None = None
    allowed: Allowance = NOTHING_ALLOWED

    @property
    def joined(self) -> bool:
        """Whether it is judged by itself."""
        return self.words >= JOINS_AFTER


@dataclass(slots=True)
class Details:
    """What most watchdogs never have."""

    incident: OpenIncident | None = None
    paused_until: float = inf
    work_due: float | None = None
    """with a work message: when the next message is due, inf: it is idle; None: the timeout holds"""
    scope: Scope | None = None
    """the scope that is due then, as it was when the message came, at ``fed_at``"""
    extended_until: float | None = None
    """set by extend, void with the next feed"""
    allowed: Allowance = NOTHING_ALLOWED
    """by a restart, to the timer of its feeds; void with the next feed"""
    demand: Demand | None = None
    """in words that are no feed (notified.py); void with a new process"""
    status: str | None = None
    progress: int | float | str | None = None
    progress_at: float | None = None
    """when progress last changed; None before the first value"""
    progress_allowed: Allowance = NOTHING_ALLOWED
    """by a restart, to the timer of its progress; void with the next value"""
    moved_at: float | None = None
    """when it was last seen to change. Another ``progress_at`` is the first value's, or what a restart allowed"""
    moved_by: ProcessIdentity | None = None
    """who changed it last"""
    displaced: Mapping[ProcessIdentity, float] = field(default_factory=lambda: _NOTHING)
    """processes that a newer one took this name from, oldest first, and when each was last heard; or ``ENDED``"""
    members: dict[ProcessIdentity, Member] | None = None
    """where several processes may feed it: which do (members.py)"""
    leaving: dict[ProcessIdentity, str | None] | None = None
    """processes that said that they end, and the exception that each died of, if it died of one"""
    ended: dict[ProcessIdentity, int | None] | None = None
    """processes that have ended, until that is judged, and the status of each, where it is known"""
    heard: dict[tuple[ProcessIdentity, Kind], int] | None = None
    """by process and matter: the highest number of a word of it (numbered_words.py)"""
    contest_reported: bool = False
    conflict_reported: bool = False
    frames: tuple[bytes, ...] = ()
    """the known feeds beside ``Record.frame``, where any process may feed"""
    incidents: int = 0
    exited_at: float | None = None
    """when its process was found to have ended, until that has been judged"""
    exited_how: str | None = None
    """how it ended, where that is known"""
    abandoned: bool = False
    """its program was given up; until it is started again"""
    asked_to_end: float | None = None
    """when a step for the leader of the cluster was begun that ends its process (ended_by_ladder.py)"""
    stopped_with: str | None = None
    """the program that was taken down on purpose, and it with that; until it is heard of again (on_purpose.py)"""
    back_by: float | None = None
    """of such a one: until when it is to be fed; None: there is no deadline before the program is up again"""
    dormant: bool = False
    """nothing says that its worker is there: it is not judged before its first feed, or its worker's declaration"""
    step_runs: Mapping[StepKey, list[float]] = field(default_factory=lambda: _NOTHING)
    """when each step ran lately, in this incident and before, for its budget"""
    given_up: OpenIncident | None = None
    """the incident that was given up: it is open, and nothing more is done about it"""
    cause: Cause | None = None
    """of the last incident"""
    bucket: Bucket | None = None
    """with ``min_interval``: how often it was fed"""
    gaps: Gaps | None = None
    """what was seen of the gaps between its feeds"""
    new_feeder: bool = False
    """another process feeds it than the one whose feed came last"""
    sampled: bool = False
    """its next feed is looked at only to measure the gap"""
    groups: tuple[Record, ...] = ()
    """the watchdogs of the groups it is a member of"""
    counted: tuple[int, int] = (0, 0)
    """what it adds to each of them: to the living, to the starting"""
    quorum: QuorumState | None = None
    """not None: this is the watchdog of a group"""
    maintained: bool = False
    """it is paused, and a maintenance window paused it"""
    unfed: bool = False
    """it is paused, and it was WAITING before, or had an incident for want of its first feed, or has a new process
    since; and it was not fed in the pause"""
    check: CheckState | None = None
    """of the watchdog of a check: what came of it"""

    @property
    def open_incident(self) -> OpenIncident | None:
        """The incident that nothing has ended yet, whether it is escalated or was given up."""
        return self.incident or self.given_up

    def note_death(self, how: str) -> None:
        """Its incident is of one that has ended; of several words the first one stays."""
        incident = self.open_incident
        if incident is not None and incident.death is None:
            incident.death = how

    def displace(self, process: ProcessIdentity, heard: float) -> None:
        """``process`` may no longer feed this name. ``heard``: its last feed, or ``ENDED``."""
        if self.displaced.get(process) != ENDED:
            self.displaced = dict([*{**self.displaced, process: heard}.items()][-DISPLACED_MAX:])


@dataclass(slots=True, eq=False)
class Record:
    """A watchdog as the supervisor keeps it."""

    name: str
    declaration: Declaration
    resolution: float
    fed_at: float
    """when it was last fed; while WAITING, since when it waits"""
    by: By = field(kw_only=True)
    """whose word the timeout is"""
    state: State = State.WAITING
    armed: int = UNARMED
    """the tick for which it stands in the deadline queue"""
    owner: ProcessIdentity | None = None
    frame: bytes | None = None
    """the bytes of a plain feed that need no decoding now"""
    policy: Policy | None = None
    """what the operator declared; None: nothing"""
    details: Details | None = None
    feed_times: deque[float] | None = None
    """when its last feeds came (feed_history.py); None: they are not noted"""

    def detailed(self) -> Details:
        """The details, made now if there are none yet."""
        if self.details is None:
            self.details = Details()
        return self.details

    @property
    def operator(self) -> bool:
        """Whether the declaration is the operator's."""
        return self.by is By.OPERATOR

    @property
    def awaited(self) -> bool:
        """Whether it is to be fed: it was, or somebody said that it will be."""
        return self.details is None or not self.details.dormant

    @property
    def stopped_with(self) -> str | None:
        """The program that was taken down on purpose, and it with that; None: it was not."""
        return None if self.details is None else self.details.stopped_with

    @property
    def incident(self) -> OpenIncident | None:
        """Its open incident, if it has one."""
        return None if self.details is None else self.details.incident

    @property
    def quorum(self) -> QuorumState | None:
        """Not None: this is the watchdog of a group."""
        return None if self.details is None else self.details.quorum

    @property
    def is_group(self) -> bool:
        """Whether this is the watchdog of a group."""
        return self.quorum is not None

    @property
    def is_check(self) -> bool:
        """Whether this is the watchdog of a check."""
        return self.policy is not None and self.policy.check is not None

    @property
    def is_judged(self) -> bool:
        """Whether it is waiting or alive: its silence or its process's end would open an incident."""
        return self.state is State.ALIVE or self.state is State.WAITING

    @property
    def is_down(self) -> bool:
        """Whether it has an open incident, one that was given up included."""
        return self.state is State.EXPIRED or self.state is State.GIVEN_UP

    @property
    def is_ending(self) -> bool:
        """Whether its process said that it ends, in words of systemd's (notified.py)."""
        return self.details is not None and self.details.demand is not None and self.details.demand.alone

    @property
    def is_idle(self) -> bool:
        """Whether it said that it has nothing to do: until its next message it is judged by its end alone."""
        return self.state is State.ALIVE and self.details is not None and self.details.work_due == inf

    @property
    def is_end_only(self) -> bool:
        """Whether it is judged by the end of its program alone: a process of that has released it."""
        return self.state is State.WAITING and self.has_released

    @property
    def has_released(self) -> bool:
        """Whether a process of its program has released it, and nothing was heard since; it may be paused."""
        return not self.awaited and self.owner is not None

    @property
    def owner_lives(self) -> bool:
        """Whether a process owns it that is not known to have ended."""
        if self.owner is None:
            return False
        return self.details is None or self.details.displaced.get(self.owner) != ENDED

    @property
    def exited(self) -> bool:
        """Whether its process was found to have ended, and that is not judged yet."""
        return self.details is not None and self.details.exited_at is not None


def deadline(record: Record) -> float | None:
    """When the watchdog is due next; None: never, unless something happens."""
    state = record.state
    details = record.details
    if details is None:
        if state is State.ALIVE:
            return record.fed_at + record.declaration.timeout + record.resolution
        return record.fed_at + record.declaration.grace if state is State.WAITING else None
    quorum, demand = details.quorum, details.demand
    due: float | None = None
    if demand is not None and demand.alone and record.is_judged:
        due = demand.due if details.extended_until is None else max(demand.due, details.extended_until)
        return due if details.exited_at is None else min(due, details.exited_at)
    if state is State.ALIVE and quorum is None:
        if details.work_due == inf:
            return details.exited_at
        due = details.work_due
        if due is None:
            due = feed_deadline(record)
        if record.is_check:
            due = _result_due(record, details, record.fed_at)
    elif state is State.WAITING:
        if details.dormant or (details.stopped_with is not None and details.back_by is None):
            return details.exited_at
        due = record.fed_at + record.declaration.grace if details.back_by is None else details.back_by
        if record.is_check and details.back_by is None:
            due = _result_due(record, details, due)
    elif state is State.EXPIRED:
        assert details.incident is not None
        step, due = details.incident.next_step, details.incident.next_run
        due = due if step is None else min(step.when, due)
    elif state is State.PAUSED:
        return None if details.paused_until == inf else max(details.paused_until, details.allowed.until)
    elif state is State.RELEASED:
        return None
    if quorum is not None:  # its members make it due, too
        return due if quorum.since is None else quorum.since if due is None else min(due, quorum.since)
    if state is State.EXPIRED or state is State.GIVEN_UP:
        return details.exited_at if due is None else min(due, details.exited_at or due)
    if due is None:
        return None
    if demand is not None:
        due = min(due, demand.due)
    due = max(due, details.allowed.until, details.extended_until or -inf)
    if state is State.ALIVE and (stalled := progress_deadline(record)) is not None:
        due = min(due, stalled)
    return due if details.exited_at is None else min(due, details.exited_at)


def _result_due(record: Record, details: Details, since: float) -> float:
    """When the next result of a check is missed. ``since``: its last pass, or the end of its grace."""
    last = since if details.check is None else max(since, details.check.heard_at)
    return last + record.declaration.timeout


def feed_deadline(record: Record) -> float:
    """When it will have been silent for too long, by its last feed and its timeout."""
    unsure = 0.0 if record.details is None else record.details.allowed.unsure
    return record.fed_at + record.declaration.timeout + record.resolution + unsure


def stalls_at(record: Record) -> float | None:
    """When the progress value will have stood still for too long; None: never."""
    limit, details = record.declaration.progress_timeout, record.details
    if limit is None or details is None or details.progress_at is None:
        return None
    return details.progress_at + limit + record.resolution + details.progress_allowed.unsure


def progress_deadline(record: Record) -> float | None:
    """When that is judged."""
    stalled = stalls_at(record)
    return None if stalled is None else max(stalled, record.detailed().progress_allowed.until)


def standing(record: Record, details: Details) -> tuple[int, int]:
    """(whether it counts as alive, whether as starting), 0 or 1. Without a timeout it is alive until it ends."""
    if record.state in (State.ALIVE, State.PAUSED):
        return 1, 0
    if record.is_end_only:
        return 1, 0
    if record.state is not State.WAITING or details.dormant:
        return 0, 0
    return (1, 0) if record.by is By.NOBODY and details.stopped_with is None else (0, 1)
