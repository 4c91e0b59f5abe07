"""The checkpoint: what is kept of a watchdog over a restart of the supervisor, and when it is due after one.

No feed could arrive while the supervisor was away, so each watchdog gets its full timeout again, and a little more,
so that those that are really gone are not all due at one moment (etcd does so with its leases). The little more
depends on the name only: another restart, another order of the rows, gives the same.

There is no clock in here: what the journal has in wall-clock time comes in as an age, seconds before now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import inf
from typing import NamedTuple, TypeAlias

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration, Feeders, Kind, ProcessIdentity
from banken_supervisor.engine.members import extended_until
from banken_supervisor.engine.policy import By, Window
from banken_supervisor.engine.record import JOINS_AFTER, Record
from banken_supervisor.engine.states import State

DUE_PER_SECOND = 1_000
"""Watchdogs that fall due within one second, about, when all are silent."""

RETURN_S = 2.0
"""Seconds that workers have to find the new supervisor: a client tries again at least once a second."""

SHARE_MAX = 0.5
"""The spread is at most this share of a watchdog's own timeout: who is gone is noticed that much later, once."""


def rearm_offset(name: str, timeout: float, among: int) -> float:
    """Seconds to add to the full ``timeout`` of one watchdog that is armed again together with ``among`` in all."""
    span = min(timeout * SHARE_MAX, among / DUE_PER_SECOND)
    # A name may hold any text here; a lone surrogate only changes where it falls.
    digest = blake2b(name.encode("utf-8", "backslashreplace"), digest_size=8).digest()
    return span * (int.from_bytes(digest) / 2**64)


NumbersHeard: TypeAlias = tuple[tuple[tuple[ProcessIdentity, Kind], int], ...]
"""By process and matter: the highest number of a word of it."""


class PastMember(NamedTuple):
    """One of several processes that feed a watchdog."""

    process: ProcessIdentity
    words: int = JOINS_AFTER
    """how often it was heard, up to ``JOINS_AFTER``"""


Extensions: TypeAlias = tuple[tuple[ProcessIdentity, float], ...]
"""By process: how many seconds its extension ends before the longest one of its watchdog."""


class Checkpoint(NamedTuple):
    """One watchdog as it is kept."""

    name: str
    declaration: Declaration
    resolution: float
    owner: ProcessIdentity | None
    state: State
    left: float | None
    """seconds until its pause ends or, where it is not paused, until an extension does; None: without an end, or
    not extended"""
    by: By
    """whose word the timeout was"""
    awaited: bool
    """False: its first feed was waited for, and nothing had said that it would come"""
    maintained: bool
    """it is paused, and a maintenance window paused it"""
    program: str | None
    """the program that had started its owner or, of one without owner, that it waits for (on_purpose.py)"""
    incidents: int
    """how many were opened so far"""
    members: tuple[PastMember, ...] | None = None
    """where several processes may feed it: which do"""
    proved: bool = True
    """whether each of these processes said itself that it is this one; the caller's to set"""
    is_check: bool = False
    """nothing fed it but the runs of a check"""
    extended: Extensions | None = None
    """which of its members are extended; None: all, if it is, as long as it"""
    unfed: bool = False
    """it is paused, and has its grace after the pause: see ``Details.unfed``"""
    heard: NumbersHeard | None = None
    """the numbers of words that it has heard (numbered_words.py)"""

    @property
    def processes(self) -> tuple[ProcessIdentity, ...]:
        """Its owner and its members."""
        return (*(() if self.owner is None else (self.owner,)), *(each.process for each in self.members or ()))


class PastRun(NamedTuple):
    """One run of a step that was begun."""

    step: int
    run: int
    """which run of this step in its incident, from 1"""
    action: str
    age: float
    """seconds since it began"""


class PastIncident(NamedTuple):
    """One incident as it is kept."""

    id: str
    name: str
    cause: Cause
    age: float
    """seconds since it was opened"""
    silence: float
    """seconds that it had been silent for then"""
    timeout: float
    reason: str | None = None
    status: str | None = None
    progress: int | float | str | None = None
    steps: tuple[PastRun, ...] = ()
    """those that were begun"""
    given_up: bool = False
    age_least: float | None = None
    """as much of its age as is certain, where that was told by another host's clock; None: all of it"""


class PastFeed(NamedTuple):
    """The last feed of a watchdog with a long deadline, as it is kept; seconds."""

    silent: float
    """since its last feed, or since it waits, when this was written"""
    held: float | None = None
    """left of the grace of a restart then; None: there was none since its last feed"""
    progress: int | float | str | None = None
    still: float | None = None
    """since its progress last changed then; None: it never did"""
    age: float = 0.0
    """since this was written"""
    host_on: float = 0.0
    """of which the host was on"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a former supervisor left."""

    watchdogs: Sequence[Checkpoint] = ()
    open: Sequence[PastIncident] = ()
    """incidents that were not closed, oldest first"""
    runs: Mapping[str, Sequence[PastRun]] = field(default_factory=dict)
    """by watchdog: what ran lately in incidents that are closed"""
    feeds: Mapping[str, PastFeed] = field(default_factory=dict)
    """by watchdog: its last feed, where that is kept (last_feeds.py)"""
    window_ends: Mapping[Window, float] = field(default_factory=dict)
    """seconds since a maintenance window last ended, of those that did while no supervisor ran"""
    host_up: float = inf
    """seconds since the host started"""


def checkpoint(
    record: Record, program_of: Callable[[ProcessIdentity | None], str | None], now: float
) -> Checkpoint | None:
    """What is to be kept of this one; None: nothing. The config makes it (of a group only a pause is kept), or its
    processes are ending in order: by the next start they have ended. ``program_of``: the program that started a
    process."""
    details, owner = record.details, record.owner
    left, maintained, incidents, members, extended, unfed, heard = None, False, 0, None, None, False, None
    # Where the config has the group no longer, nothing waits for a first feed.
    awaited = record.awaited and not record.is_group
    if details is not None:
        # An incident goes on, with whom it is about; an end in a pause is judged when that is over; and who dies of
        # an exception is owed a verdict.
        is_kept = record.is_down or (record.state is State.PAUSED and record.exited)
        last_words = {} if is_kept else details.leaving or {}
        leaving = {process for process, why in last_words.items() if why is None}
        found = [each for each in (details.members or {}).values() if each.process not in leaving]
        if owner in leaving:
            if not found:
                return None
            owner = found[-1].process
        incidents = details.incidents
        heard = tuple(details.heard.items()) if details.heard else None
        if record.is_group and record.state is not State.PAUSED:
            return None
        if record.state is State.PAUSED:
            left = None if details.paused_until == inf else details.paused_until - now
            maintained, unfed = details.maintained, details.unfed
        elif (until := extended_until(record)) is not None:
            left = until - now
        if details.members:
            members = tuple(PastMember(each.process, min(each.words, JOINS_AFTER)) for each in found)
            if left is not None and record.state is not State.PAUSED:
                until = left + now
                ends = [(each.process, each.extended_until) for each in found]
                extended = tuple((process, until - its) for process, its in ends if its is not None)
    return Checkpoint(
        record.name, record.declaration, record.resolution, owner, record.state, left, record.by,
        awaited, maintained, record.stopped_with if owner is None else program_of(owner), incidents, members,
        is_check=record.is_check, extended=extended, unfed=unfed, heard=heard,
    )  # fmt: skip


def last_feed(record: Record, now: float) -> PastFeed:
    """What is to be kept of its last feed. Of processes that are judged by themselves it is the last one of all:
    after a restart one that hangs is found later, and none is that has fed."""
    details, fed_at = record.details, record.fed_at
    if details is None:
        return PastFeed(now - fed_at)
    if details.members and record.declaration.feeders is Feeders.EACH and record.state is not State.WAITING:
        fed_at = max(fed_at, *(each.fed_at for each in details.members.values()))
    held_until, at = max(details.allowed.until, details.progress_allowed.until), details.progress_at
    return PastFeed(
        now - fed_at,
        None if held_until == -inf else held_until - now,
        None if at is None else details.progress,
        None if at is None else now - at,
    )
