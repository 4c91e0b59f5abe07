"""What the engine asks its shells to do, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from banken.protocol.incidents import Cause
from banken.protocol.messages import ProcessIdentity, Scope
from banken_supervisor.engine.ladder import Step


class EventType(StrEnum):
    """What the supervisor tells the world. docs/wire.md lists the data of each."""

    DECLARED = "declared"
    FIRST_FED = "first-fed"
    EXPIRED = "expired"
    """the verdict: an incident is open"""
    CALLBACK_REPEATED = "callback-repeated"
    """still silent: the callback runs again"""
    RECOVERED = "recovered"
    """fed again: the incident is closed"""
    CLOSED = "closed"
    """the incident ended without a feed: paused, released or reborn"""
    ACTION = "action"
    """a step of the ladder is reached, and its action is begun"""
    WOULD_ACT = "would-act"
    """the same where the operator only wants to see what would be done"""
    ACTION_DONE = "action-done"
    ACTION_FAILED = "action-failed"
    ACTION_STUCK = "action-stuck"
    ACTION_SKIPPED = "action-skipped"
    ACTION_DROPPED = "action-dropped"
    ACTION_UNKNOWN = "action-unknown"
    """a former leader of the cluster has begun it, and nobody knows whether it was done; it is not begun again"""
    PROGRAM = "program"
    """something about a program; ``what`` says what"""
    RELOADED = "reloaded"
    RELOAD_FAILED = "reload-failed"
    """the config file was not taken; the old one stays in force"""
    EXITED = "exited"
    """the process of a watchdog that has an incident already has ended"""
    FAILED = "failed"
    """the worker said so itself, once more, during an incident or a pause"""
    PAUSED = "paused"
    RESUMED = "resumed"
    EXTENDED = "extended"
    GIVEN_UP = "given-up"
    TAKEN_DOWN = "taken-down"
    """its program was stopped on purpose, or one that it depends on: it is not judged before that is up again"""
    RELEASED = "released"
    ENDED = "ended"
    """a process has ended, and that is no incident: what it fed is released"""
    HANDED_BACK = "handed-back"
    """a process has ended, and the one before it, which lives, has the name again"""
    CONFLICT = "conflict"
    """operator and worker declare different things; the operator's word stands"""
    CONTEST = "contest"
    """two processes feed one name that takes only the latest"""
    REFUSED = "refused"
    """messages that were not taken: why, what is allowed, how many since the last such event"""
    CALLBACK_DONE = "callback-done"
    CALLBACK_FAILED = "callback-failed"
    CALLBACK_STUCK = "callback-stuck"
    CALLBACK_SKIPPED = "callback-skipped"
    STALLED = "stalled"
    """the supervisor itself lost time: no watchdog is judged by it"""
    JOURNAL = "journal"
    """it is no longer written, or again, or entries were lost"""
    ADDRESS = "address"
    """files of the address were removed or replaced; ``text`` says what was done"""
    RESOURCES = "resources"
    """descriptors, memory or places for checks are short, or not any more; ``text`` says what is done"""
    OUTER_WATCHDOG = "outer-watchdog"
    """who watches the supervisor cannot be told that it turns, or can be again; ``text`` says why"""
    OVERLOADED = "overloaded"
    """feeds come faster than they can be read"""
    FLOOD = "flood"
    """a process sends so much that its messages wait, or are dropped; nobody else's do"""
    INTERNAL_ERROR = "internal-error"
    """a fault in the supervisor itself: what raised it is dropped, and the loop goes on"""
    CLUSTER = "cluster"
    """who leads, and whether the store answers; ``what`` says what"""
    UPWARD = "upward"
    """a supervisor that this one feeds takes its feeds, or does not; ``what`` says which"""
    STARTED = "started"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Event:
    """Tell whoever listens. The shell adds a sequence number and the wall-clock time."""

    type: EventType
    name: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunCallback:
    """Run the callback of one watchdog for one incident. Times are deadline time, seconds."""

    name: str
    callback: str | None
    """the one that the declaration names; None: whatever is bound to the watchdog itself"""
    incident: str
    cause: Cause
    opened: float
    silence: float
    timeout: float
    due: float
    """the deadline this run answers to"""
    run: int
    reason: str | None
    status: str | None
    progress: int | float | str | None


@dataclass(frozen=True, slots=True)
class RunStep:
    """Do what one step of the ladder says."""

    about: RunCallback
    """the incident as a callback would get it"""
    step: Step
    number: int
    """index of the step; those of ``on_give_up`` count on after the ladder's last"""
    run: int
    """which run of this step in this incident, from 1"""
    observe: bool
    """do nothing: an event has said what would be done"""
    process: ProcessIdentity | None
    """the process that feeds the watchdog"""
    feeds: tuple[tuple[float, float], ...] = ()
    """its last feeds, of each the age and the gap before it, seconds; the newest last"""
    scope: Scope | None = None
    """the work that is late, where the process said so"""
    beginning: Event | None = None
    """tells that the action begins: the journal has it before that; None: it was told, or nothing is done"""
    is_found: bool = False
    """``process`` does not feed it: a check has found it"""
    acts_on: str | None = None
    """of a check: the watchdog, or the program, whose process the step acts on; None: the watchdog itself"""


@dataclass(frozen=True, slots=True)
class StepRan:
    """A former supervisor ran this step, in an incident that goes on: it is not run again, but its recipients learn
    of the incident's end."""

    run: RunStep


@dataclass(frozen=True, slots=True)
class EndIncident:
    """An incident is closed: what has not begun for it is not begun any more."""

    name: str
    incident: str
    opened: float
    lasted: float
    how: str
    steps: tuple[int, ...]
    """those that ran"""


@dataclass(frozen=True, slots=True)
class WatchProcess:
    """Notice the end of this process, if that can be done."""

    process: ProcessIdentity


@dataclass(frozen=True, slots=True)
class Fault:
    """One watchdog's verdict raised an exception. It is the engine's own fault; the others are judged all the
    same."""

    name: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Propose:
    """An incident is to be claimed before it is opened (claim_gate.py). Times are deadline time, seconds."""

    name: str
    cause: Cause
    due: float
    silence: float
    reason: str | None
    asks: bool
    """the other members are asked first whether they hear the worker"""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """What was proposed for this name is void."""

    name: str


Effect = Event | RunCallback | RunStep | StepRan | EndIncident | WatchProcess | Fault | Propose | Withdraw
