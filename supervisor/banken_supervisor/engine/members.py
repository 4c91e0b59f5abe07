"""The processes of a watchdog that several may feed.

``feeders = "any"``: any of them proves life; what is kept of each is that it belongs to the pool, which is released
with its last process.

``feeders = "each"``: each process is judged by itself, from its second feed on, until it ends, releases the name or
says that it is idle. A record has one last feed, one owner and one scope: they are those of the process that is due
first (``show_first``), and, while there is an incident, of the process that it is about. What another process says
meanwhile is kept for it and ends nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

from banken.protocol.limits import is_section
from banken.protocol.messages import Feeders, Kind, ProcessIdentity
from banken_supervisor.engine.record import JOINS_AFTER, Member, Record
from banken_supervisor.engine.states import State

PROOFS = (Kind.FEED, Kind.NOTE, Kind.WORK)
"""What proves that a process lives."""


def member_of(record: Record, process: ProcessIdentity | None) -> Member | None:
    """What is known of this process; None: nothing, or only one process may feed the name."""
    details = record.details
    if process is None or details is None or details.members is None:
        return None
    return details.members.get(process)


def is_part_of(record: Record, process: ProcessIdentity) -> bool:
    """Whether this is a part of one process, and no other one will feed it: a section; or a name such as
    ``client.watched`` gives in a child, ``NAME@PID``, unless it has a ladder, which is to do something about it."""
    if is_section(record.name, process.pid):
        return True
    has_steps = record.policy is not None and bool(record.policy.ladder.steps)
    return record.name.endswith(f"@{process.pid}") and not has_steps


def rename(record: Record, process: ProcessIdentity) -> ProcessIdentity | None:
    """One that is known by another random part is this process: it has become another program (execve), or has
    several copies of banken. Who it was; None: it is another process, or known as it is."""
    details = record.details
    if details is None or not details.members or process in details.members:
        return None
    found = next((each for each in details.members.values() if each.process[:3] == process[:3]), None)
    if found is None:
        return None
    former, found.process = found.process, process
    details.members[process] = details.members.pop(former)
    found.work_due = found.scope = None
    if record.owner == former:
        record.owner = process
    return former


def make_room(record: Record, most: int, lose: Callable[[ProcessIdentity], None]) -> bool:
    """Whether there is room for one more process, ``most`` in all: what was heard once gives way to it. Of a pool,
    the one that came first does; what is judged by itself never does. ``lose`` is told which."""
    details = record.details
    if details is None or details.members is None or len(details.members) < most:
        return True
    is_pool = record.declaration.feeders is Feeders.ANY
    first = next((each.process for each in details.members.values() if is_pool or not each.joined), None)
    if first is not None:
        del details.members[first]
        if first != record.owner:
            lose(first)
    return first is not None


def note(record: Record, process: ProcessIdentity, kind: Kind, now: float) -> bool:
    """A process says something that makes it a member. Whether it is new, or is judged by itself from now on."""
    details = record.detailed()
    if details.members is None:
        details.members = {}
    found = details.members.get(process)
    if found is not None:
        if kind is not Kind.DECLARE:
            found.words += 1
            return found.words == JOINS_AFTER
        return False
    kept = None if record.feed_times is None else deque[float](maxlen=record.feed_times.maxlen)
    details.members[process] = Member(record.name, process, now, kept, int(kind is not Kind.DECLARE))
    return True


def bring_back(record: Record, process: ProcessIdentity) -> None:
    """It was one before a restart, and is judged on."""
    details = record.detailed()
    if details.members is None:
        details.members = {}
    details.members[process] = Member(record.name, process, record.fed_at, None, JOINS_AFTER)


def is_of_another(record: Record, member: Member) -> bool:
    """Whether there is an incident, and it is about another process, which lives."""
    if not record.is_down or record.declaration.feeders is not Feeders.EACH:
        return False
    about = member_of(record, record.owner)
    return about is not None and about is not member and about.joined


def show(record: Record, member: Member) -> None:
    """The record's last feed, owner and scope are this process's."""
    record.owner, record.fed_at, record.feed_times = member.process, member.fed_at, member.feed_times
    if record.details is not None:
        record.details.work_due, record.details.scope = member.work_due, member.scope


def keep(record: Record, member: Member) -> None:
    """What became of the record is the process's that it showed."""
    member.fed_at, member.feed_times = record.fed_at, record.feed_times
    if record.details is not None:
        member.work_due, member.scope = record.details.work_due, record.details.scope


def show_first(record: Record) -> None:
    """Show the process that is due first. Where none is judged by itself, the last feed of any of them counts."""
    details = record.details
    if details is None or not details.members or record.declaration.feeders is not Feeders.EACH:
        return
    if record.state is not State.ALIVE:
        return
    limit = record.declaration.timeout + record.resolution
    first, earliest = None, inf
    for member in details.members.values():
        if member.joined:
            due = member.fed_at + limit if member.work_due is None else member.work_due
            if first is None or due < earliest:
                first, earliest = member, due
    if first is not None:
        show(record, first)


def start_again(record: Record, now: float) -> None:
    """Each has a whole timeout from ``now``; what is idle stays idle."""
    if record.details is not None and record.details.members:
        for member in record.details.members.values():
            member.fed_at = now
            if member.work_due != inf:
                member.work_due = member.scope = None
