"""The processes of a watchdog that several may feed.

``feeders = "any"``: any of them proves life; what is kept of each is that it belongs to the pool, which is released
with its last process.

``feeders = "each"``: each process is judged by itself, from its second feed on, until it ends, releases the name or
says that it is idle. A record has one last feed, one owner, one scope and one extension: they are those of the
process that is due first (``show_first``), and, while there is an incident, of the process that it is about. What
another process says meanwhile is kept for it and ends nothing. What an operator or a restart allows, each of them
has, until its own next feed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from math import inf

from banken.protocol.incidents import Cause
from banken.protocol.limits import is_section
from banken.protocol.messages import Feeders, Kind, Message, ProcessIdentity
from banken_supervisor.engine.allowance import NOTHING_ALLOWED
from banken_supervisor.engine.record import JOINS_AFTER, Member, Record
from banken_supervisor.engine.states import State
from banken_supervisor.engine.table import Table

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
    """A process says something that makes it a member. Whether what is kept of it over a restart is new."""
    details = record.detailed()
    if details.members is None:
        details.members = {}
    found = details.members.get(process)
    if found is not None:
        if kind is Kind.DECLARE:
            return False
        found.words += 1
        if found.words == JOINS_AFTER:
            others = [each for each in details.members.values() if each.joined and each is not found]
            if others and all(each.work_due == inf for each in others):
                begin_progress(record, now)
        return found.words <= JOINS_AFTER
    kept = None if record.feed_times is None else deque[float](maxlen=record.feed_times.maxlen)
    details.members[process] = Member(record.name, process, now, kept, int(kind is not Kind.DECLARE))
    return True


def bring_back(record: Record, process: ProcessIdentity, words: int) -> None:
    """It was one before a restart. ``words``: how often it was heard."""
    details = record.detailed()
    if details.members is None:
        details.members = {}
    details.members[process] = Member(record.name, process, record.fed_at, None, words)


def is_of_another(record: Record, member: Member | None, *, is_held: bool = False) -> bool:
    """Whether there is an incident, and it is about another process, which lives. ``is_held``: it is a verdict yet
    (claim_gate.py)."""
    if not (record.is_down or is_held) or record.declaration.feeders is not Feeders.EACH:
        return False
    about = member_of(record, record.owner)
    return about is not None and about is not member and about.joined


def is_beside(record: Record, member: Member | None) -> bool:
    """Whether there is an incident, and this process is not the one that it is about, who may be dead."""
    is_each = record.declaration.feeders is Feeders.EACH
    return is_each and record.is_down and member is not None and record.owner != member.process


def is_aside(record: Record, member: Member | None, message: Message, held: Cause | None) -> bool:
    """Whether this is said in an incident of another process. ``held``: the cause of a verdict that is none yet.
    The progress value is the name's: whoever moves it ends an incident for want of that. What names no process
    proves nothing of one that is silent."""
    cause = record.detailed().cause if record.is_down else held
    is_note = cause is Cause.NO_PROGRESS and message.kind is Kind.NOTE
    if is_note and message.args[0] not in (None, record.detailed().progress):
        return False
    if member is None and not (message.kind in PROOFS and cause is Cause.TIMEOUT):
        return False
    return is_of_another(record, member, is_held=held is not None)


def follow_feeders(table: Table, record: Record, before: Feeders) -> None:
    """``feeders`` was another one until now. From ``any`` on, what the name had is each process's; else the name
    has what is the last one's that fed or, where only the newest may feed, what is that one's."""
    table.forget_frames(record)
    details, feeders = record.details, record.declaration.feeders
    if details is None or not details.members:
        return
    found = details.members.values()
    if before is Feeders.ANY:
        for each in found:
            each.fed_at, each.work_due, each.scope = record.fed_at, details.work_due, details.scope
            each.extended_until, each.allowed = details.extended_until, details.allowed
    if feeders is Feeders.EACH:
        return
    longest = extended_until(record)
    one = max(found, key=lambda each: each.fed_at if feeders is Feeders.ANY else each.process.start)
    if record.state in (State.ALIVE, State.PAUSED):
        show(record, one)
    if feeders is Feeders.LATEST:
        if not record.is_down:
            record.owner = one.process
        table.clear_members(record)
        return
    details.extended_until = longest
    for each in found:
        each.extended_until = None


def show_mover(record: Record) -> None:
    """The progress value stands still: show the process that moved it last. Where that is gone, or a restart has
    forgotten it, and several are left, the incident is about none of them, and no step is done to one."""
    details = record.details
    if details is None or record.declaration.feeders is not Feeders.EACH:
        return
    mover = member_of(record, details.moved_by)
    if mover is not None:
        show(record, mover)
    elif sum(each.joined for each in (details.members or {}).values()) > 1:
        record.owner = None


def show(record: Record, member: Member) -> None:
    """The record's last feed, owner and scope are this process's, and so is what it is allowed. Before the first
    feed of all, what is allowed is the name's, and so is its grace: the latest one's."""
    fed_at = max(record.fed_at, member.fed_at) if record.state is State.WAITING else member.fed_at
    if member.feed_times is None and record.feed_times is not None:
        # It was brought back by a restart. What is known by its bytes has a history (feed_history.py): also the
        # feeds that name no process, and are the name's.
        member.feed_times = deque(maxlen=record.feed_times.maxlen)
    record.owner, record.fed_at, record.feed_times = member.process, fed_at, member.feed_times
    details = record.details
    if details is not None:
        details.work_due, details.scope = member.work_due, member.scope
        if record.state is not State.WAITING:
            details.extended_until = member.extended_until
            details.allowed = member.allowed


def keep(record: Record, member: Member) -> None:
    """What became of the record is the process's that it showed."""
    member.fed_at, member.feed_times = record.fed_at, record.feed_times
    details = record.details
    if details is not None:
        member.work_due, member.scope = details.work_due, details.scope
        member.extended_until, member.allowed = details.extended_until, details.allowed


def keep_aside(record: Record, member: Member | None, message: Message, now: float) -> bool:
    """What a process says in an incident of another one is kept for it. False: it is more than that it lives."""
    if member is None:
        return True
    if message.kind is Kind.EXTEND:
        member.extended_until = now + message.args[0]
        return True
    if message.kind not in PROOFS:
        return False
    end_idle(record, member.work_due, now)
    member.fed_at, member.extended_until, member.allowed = now, None, NOTHING_ALLOWED
    member.work_due = member.scope = None
    if message.kind is Kind.WORK:
        seconds, scope = message.args
        member.work_due, member.scope = inf if seconds is None else now + seconds, scope
    return True


def keep_shown(record: Record) -> None:
    """What became of the record, by no process's word, is the process's that it shows."""
    member = member_of(record, record.owner)
    if member is not None and record.declaration.feeders is Feeders.EACH:
        keep(record, member)


def extend(record: Record, until: float | None, *, shortens: bool = True) -> None:
    """An extension, or the end of one, by a word that is no process's: it is for all of them. ``shortens``: also
    for one that has a longer one."""
    details = record.detailed()
    is_each = record.declaration.feeders is Feeders.EACH
    for one in (details, *((details.members or {}).values() if is_each else ())):
        if shortens or until is None or one.extended_until is None or one.extended_until < until:
            one.extended_until = until
    show_first(record)


def shorten_extensions(record: Record, by: Mapping[ProcessIdentity, float]) -> None:
    """That of each process ends so many seconds before the record's; of one that is not among them at once."""
    until = record.detailed().extended_until
    for process, member in (record.detailed().members or {}).items():
        earlier = by.get(process)
        member.extended_until = None if until is None or earlier is None else until - earlier
    show_first(record)


def extended_until(record: Record) -> float | None:
    """When the extension of the record, or the last one of its processes, ends; None: it has none."""
    details = record.details
    if details is None:
        return None
    found = [details.extended_until, *(each.extended_until for each in (details.members or {}).values())]
    return max((each for each in found if each is not None), default=None)


def take_out(table: Table, record: Record, member: Member, now: float) -> None:
    """A member is gone, the others are judged on. Where none is left that is judged by itself, another one has a
    timeout from the last feed."""
    details = record.detailed()
    if details.members is not None:
        details.members.pop(member.process, None)
        if not details.members:
            former, record.owner = record.owner, member.process  # the last one: its end is the name's
            if former is not None and former != member.process:
                table.lose(former)  # an incident was about it
        elif record.owner == member.process:
            _find_owner(table, record, details.members)
        if details.members:
            table.lose(member.process)
    if details.leaving is not None:
        details.leaving.pop(member.process, None)
    table.mark_changed(record)
    table.forget_frames(record)
    if record.state in (State.ALIVE, State.PAUSED):
        if record.declaration.feeders is Feeders.EACH:
            drop(record, member, now)
        elif not any(each.words for each in (details.members or {}).values()):
            _give_grace(record)
        table.arm(record)


def _find_owner(table: Table, record: Record, left: dict[ProcessIdentity, Member]) -> None:
    """The owner is gone. An incident that is about it is about none of the others: any of them ends it, and no
    step is done to them."""
    is_silent_pool = record.declaration.feeders is not Feeders.EACH and record.detailed().cause is Cause.TIMEOUT
    if not record.is_down or is_silent_pool:
        record.owner = next(reversed(left))  # who is looked at after a verdict
    elif table.watches(record.owner):
        record.owner = None  # it has released the name, and lives


def end_idle(record: Record, work_due: float | None, now: float) -> None:
    """A process says something, whose ``work_due`` was this one. While all were idle nothing could go on."""
    others = (record.detailed().members or {}).values() if record.declaration.feeders is Feeders.EACH else ()
    if work_due == inf and all(each.work_due == inf for each in others if each.joined):
        begin_progress(record, now)


def end_idle_of_all(record: Record) -> None:
    """The name was fed, and no process was named: where none is judged by itself, that may be any of them."""
    found = (record.detailed().members or {}).values()
    if not any(each.joined for each in found):
        for each in found:
            each.work_due = each.scope = None


def begin_progress(record: Record, now: float) -> None:
    """The progress value has a whole time from ``now``. An incident for want of it only another value ends."""
    details = record.detailed()
    stands_still = record.is_down and details.cause is Cause.NO_PROGRESS
    if details.progress_at is not None and not stands_still:
        details.progress_at, details.progress_allowed = now, NOTHING_ALLOWED


def drop(record: Record, member: Member, now: float) -> None:
    """``member`` of a record that is ALIVE, or PAUSED, belongs to it no more. Where none is left that is judged by
    itself, the others have what they are allowed, from the last feed of all; where none is left at all, the name
    keeps that."""
    details = record.detailed()
    left = (details.members or {}).values()
    record.fed_at = (
        now if member.work_due == inf else max(record.fed_at, member.fed_at, *(each.fed_at for each in left))
    )
    details.work_due = details.scope = None
    if left:
        details.extended_until = None
        details.extended_until = extended_until(record)
        if not any(each.joined for each in left):
            last = max(left, key=lambda each: each.work_due or -inf)
            if (last.work_due or -inf) > record.fed_at + record.declaration.timeout:
                details.work_due, details.scope = last.work_due, last.scope
            _give_grace(record)
    show_first(record)


def _give_grace(record: Record) -> None:
    """Of those that are left, who has not fed yet has its grace; after a pause, too, if nobody has."""
    details, grace = record.detailed(), record.declaration.grace
    left = (details.members or {}).values()
    starts = [each.fed_at + grace for each in left if not each.words]
    if starts:
        details.extended_until = max(*starts, details.extended_until or -inf)
    if record.state is State.PAUSED and len(starts) == len(left):
        details.unfed = True


def show_first(record: Record) -> None:
    """Show the process that is due first. Where none is judged by itself, the last feed of any of them counts. A
    pause that ended while no supervisor ran waits for the word of each."""
    details = record.details
    if details is None or not details.members or record.declaration.feeders is not Feeders.EACH:
        return
    if record.state is State.PAUSED:
        joined = (member.allowed for member in details.members.values() if member.joined)
        details.allowed = max(joined, default=details.allowed)
    if record.state is not State.ALIVE:
        return
    limit = record.declaration.timeout + record.resolution
    first, earliest = None, inf
    for member in details.members.values():
        if member.joined:
            allowed = member.allowed
            due = member.fed_at + limit + allowed.unsure if member.work_due is None else member.work_due
            due = max(due, allowed.until, member.extended_until or due)
            if first is None or due < earliest:
                first, earliest = member, due
    if first is not None:
        show(record, first)


def first_fed(record: Record, now: float) -> None:
    """One of them has fed. The others may have been known before the name waited for that: each has a whole timeout
    from ``now``, and what is idle stays idle."""
    for member in (record.detailed().members or {}).values():
        member.fed_at = max(member.fed_at, now)
        if member.work_due != inf:
            member.work_due = member.scope = None


def start_again(record: Record, now: float) -> None:
    """Each has a whole timeout from ``now``, or what the record is allowed; what is idle stays idle."""
    details = record.details
    if details is not None and details.members:
        for member in details.members.values():
            member.fed_at, member.extended_until, member.allowed = now, details.extended_until, details.allowed
            if member.work_due != inf:
                member.work_due = member.scope = None
        left = details.members.values()
        is_each = record.declaration.feeders is Feeders.EACH
        if is_each and not any(each.joined for each in left) and any(each.work_due == inf for each in left):
            details.work_due = inf  # none is judged by itself: they are what the name is
    show_first(record)
