"""One watchdog's record, and when it is due.

The record is small because there may be a million: what only a few watchdogs have (an incident, a pause,
a status) lies in ``Rare``, which is made when it is first needed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf

from banken.model import Cause, Declaration, Incarnation
from banken_supervisor.core.deadlines import UNARMED
from banken_supervisor.core.ladder import Key, Step
from banken_supervisor.core.learning import Gaps
from banken_supervisor.core.pace import Pace
from banken_supervisor.core.policy import Policy
from banken_supervisor.core.states import State


@dataclass(slots=True)
class OpenIncident:
    """An unbroken expired spell. Times are deadline time, seconds."""

    id: str
    cause: Cause
    opened: float
    run: int
    next_run: float
    reason: str | None = None
    step: Step | None = None
    """the ladder's next; None: none, or none left"""
    began: float = 0.0
    """when the climb began: at the verdict, or when nobody else was to blame any more"""
    waited: bool = False
    """whether the step's backoff has been waited for"""
    counts: dict[int, int] = field(default_factory=dict)
    """how often each rung ran"""
    blamed: str | None = None
    """the watchdog that this one depends on, and that is down too"""
    presumed: bool = False
    """that one was not down yet, only due to be found so"""
    feeds: tuple[tuple[float, float], ...] = ()
    """the last feeds as they were at the verdict, of each the age and the gap before it"""
    pardoned: bool = False
    """that one is back, and until ``next_run`` this one may follow"""


@dataclass(slots=True)
class Standing:
    """How it stands with a group that wants ``at_least`` members alive (groups.py)."""

    at_least: int
    members: tuple[str, ...] = ()
    """names and patterns, as the config has them"""
    sure: int = 0
    """members that are alive, or paused"""
    coming: int = 0
    """members in the grace of a start"""
    down: dict[str, None] = field(default_factory=dict)
    """members with an open incident, or given up"""
    stirred: bool = True
    """a member's state has changed since the last sweep"""
    since: float | None = None
    """since when the group's state is not what it should be; None: it is"""

    def change(self, state: State) -> bool | None:
        """True: enough are alive again (or at last). False: too few are. None: as it was."""
        if state is State.ALIVE:
            return False if self.sure + self.coming < self.at_least else None
        if state is State.PAUSED:
            return None
        return True if self.sure >= self.at_least else None


@dataclass(slots=True)
class Rare:
    """What most watchdogs never have."""

    incident: OpenIncident | None = None
    paused_until: float = inf
    extended_until: float | None = None
    """set by extend, void with the next feed"""
    status: str | None = None
    progress: int | float | str | None = None
    progress_at: float | None = None
    """when progress last changed; None before the first value"""
    displaced: list[Incarnation] = field(default_factory=list)
    """processes that a newer one took this name from, oldest first"""
    contested: bool = False
    conflict_told: bool = False
    frames: list[bytes] = field(default_factory=list)
    """the known feeds beside ``Dog.frame``, where any process may feed"""
    incidents: int = 0
    exited_at: float | None = None
    """when its process was found to have ended, until that has been judged"""
    exited_how: str | None = None
    """how it ended, where that is known"""
    away: bool = False
    """its program was taken down and comes up again: until then there is no deadline"""
    runs: dict[Key, list[float]] = field(default_factory=dict)
    """by what the rung is known by: when it ran lately, in this incident and before, for its budget"""
    given_up: tuple[str, float, int, tuple[int, ...]] | None = None
    """the incident that was given up: id, opened, runs of the callback, rungs that ran"""
    cause: Cause | None = None
    """of the last incident"""
    pace: Pace | None = None
    """with ``min_interval``: how often it was fed"""
    gaps: Gaps | None = None
    """what was seen of the gaps between its feeds"""
    changed_hands: bool = False
    """another process feeds it than the one whose feed came last"""
    sampled: bool = False
    """its next feed is looked at only to learn the gap"""
    groups: tuple[Dog, ...] = ()
    """the watchdogs of the groups it is a member of"""
    standing: Standing | None = None
    """not None: this is the watchdog of a group"""
    maintained: bool = False
    """it is paused, and a maintenance window paused it"""


class Dog:
    """A watchdog as the supervisor keeps it."""

    __slots__ = (
        "armed",
        "declaration",
        "fed_at",
        "frame",
        "name",
        "operator",
        "owner",
        "policy",
        "rare",
        "resolution",
        "state",
        "trail",
    )

    def __init__(
        self, name: str, declaration: Declaration, resolution: float, now: float, *, operator: bool
    ) -> None:
        self.name = name
        self.state = State.WAITING
        self.armed = UNARMED
        self.fed_at = now
        """when it was last fed; while WAITING, since when it waits"""
        self.resolution = resolution
        self.declaration = declaration
        self.owner: Incarnation | None = None
        self.frame: bytes | None = None
        """the bytes of a plain feed that need no decoding now"""
        self.operator = operator
        """whether the declaration is the operator's word"""
        self.policy: Policy | None = None
        """the operator's word; None: it has none on this one"""
        self.rare: Rare | None = None
        self.trail: deque[float] | None = None
        """when its last feeds came, deadline time (trail.py); None: nobody notes that"""

    def more(self) -> Rare:
        """The rare part, made now if there is none yet."""
        if self.rare is None:
            self.rare = Rare()
        return self.rare


def deadline(dog: Dog) -> float | None:
    """When the watchdog is due next, deadline time; None: never, unless something happens."""
    state = dog.state
    rare = dog.rare
    if rare is not None and rare.standing is not None:
        return _group_deadline(dog, rare, rare.standing)
    if state is State.ALIVE:
        due = dog.fed_at + dog.declaration.timeout + dog.resolution
        if rare is None:
            return due
        if rare.extended_until is not None:
            due = max(due, rare.extended_until)
        if rare.exited_at is not None:
            due = min(due, rare.exited_at)
        stands_still = progress_deadline(dog)
        return due if stands_still is None else min(due, stands_still)
    if state is State.WAITING:
        if rare is not None and rare.away:
            return None
        due = dog.fed_at + dog.declaration.grace
        if rare is not None and rare.extended_until is not None:
            due = max(due, rare.extended_until)
        if rare is not None and rare.exited_at is not None:
            due = min(due, rare.exited_at)
        return due
    return None if rare is None else _later_deadline(state, rare)


def _later_deadline(state: State, rare: Rare) -> float | None:
    if state is State.EXPIRED:
        assert rare.incident is not None
        step = rare.incident.step
        return rare.incident.next_run if step is None else min(step.when, rare.incident.next_run)
    if state is State.PAUSED and rare.paused_until != inf:
        return rare.paused_until
    return None


def _group_deadline(dog: Dog, rare: Rare, standing: Standing) -> float | None:
    """A group is due when its members have made it so, and at the end of its grace."""
    if dog.state is State.RELEASED:
        return None
    due = dog.fed_at + dog.declaration.grace if dog.state is State.WAITING else _later_deadline(dog.state, rare)
    if standing.since is None or dog.state is State.PAUSED:
        return due
    return standing.since if due is None else min(due, standing.since)


def progress_deadline(dog: Dog) -> float | None:
    """When the progress value will have stood still for too long; None: never."""
    limit = dog.declaration.progress_timeout
    if limit is None or dog.rare is None or dog.rare.progress_at is None:
        return None
    return dog.rare.progress_at + limit + dog.resolution
