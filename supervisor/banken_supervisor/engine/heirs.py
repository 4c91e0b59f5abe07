"""A name that an earlier process has again: the later one has ended, or nothing but its silence is known."""

from __future__ import annotations

from collections.abc import Callable

from banken.protocol.messages import ProcessIdentity
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.record import ENDED, Details, Record
from banken_supervisor.engine.table import Table

IsKnown = Callable[[ProcessIdentity], bool]


def heir_of(
    record: Record, details: Details, now: float, lives: IsKnown, has_ended: IsKnown
) -> ProcessIdentity | None:
    """The process that had the name before and lives: of those that still feed a host's newest, else the one
    that was heard last."""
    since = now - record.declaration.timeout - record.resolution
    living = {
        process: heard
        for process, heard in details.displaced.items()
        if heard != ENDED and (lives(process) or (heard >= since and not has_ended(process)))
    }
    if not living:
        return None
    last = max(living, key=lambda process: living[process])
    feeding = [each for each, heard in living.items() if each.boot == last.boot and heard >= since]
    return max(feeding, key=lambda process: process.start, default=last)


def outlived_by(record: Record, now: float, lives: IsKnown, has_ended: IsKnown) -> ProcessIdentity | None:
    """The process that had the name before and was heard later than the owner, of which nothing but silence is
    known: that is on another host, and so not certainly newer, or has ended unseen, if there ever was such a
    process."""
    details, owner = record.details, record.owner
    if owner is None or details is None or not details.displaced or lives(owner):
        return None
    heir = heir_of(record, details, now, lives, has_ended)
    if heir is None or details.displaced[heir] <= record.fed_at:
        return None
    return heir if heir.boot != owner.boot or has_ended(owner) else None


def hand_back(
    table: Table,
    record: Record,
    heir: ProcessIdentity,
    former: ProcessIdentity,
    status: int | None,
    out: list[Effect],
) -> None:
    """The name is an earlier process's again. It is judged by when that was heard last, and by nothing that the
    other one said."""
    details = record.detailed()
    record.fed_at = details.displaced[heir]
    details.displaced = {each: heard for each, heard in details.displaced.items() if each != heir}
    details.work_due = details.scope = details.progress_at = details.extended_until = None
    table.forget_frames(record)
    table.set_owner(record, heir, out)
    details.new_feeder, details.contest_reported = True, False
    if record.feed_times is not None:
        record.feed_times.clear()
    data = {"pid": heir.pid, "former_pid": former.pid, "status": status}
    out.append(Event(EventType.HANDED_BACK, record.name, data))
    table.arm(record)
