"""What one member of a cluster has heard of a worker, for another one that is about to judge it.

A worker is judged by two timers: of its feeds, and of its progress. Only what is heard of the timer that has run
out speaks against a verdict: a worker that feeds, and makes no progress, is convicted of that however often it
feeds.
What a restart or an operator allowed is no word of the worker. A worker that is paused here is heard, too: with the
other member that pause may be over.
"""

from __future__ import annotations

from typing import NamedTuple

from banken.protocol.incidents import Cause
from banken_supervisor.engine.members import keep_shown
from banken_supervisor.engine.record import Record, feed_deadline, progress_deadline, stalls_at
from banken_supervisor.engine.states import State


class Timer(NamedTuple):
    """One timer of a worker that is well by it."""

    age: float
    """seconds since it was set"""
    left: float
    """seconds until it runs out, above 0; inf: it does not"""


class Heard(NamedTuple):
    """What was heard of a worker; None: nothing that speaks for it."""

    feed: Timer | None = None
    progress: Timer | None = None

    def of(self, cause: Cause) -> Timer | None:
        """What speaks against a verdict of this cause."""
        return self.progress if cause is Cause.NO_PROGRESS else self.feed


NOTHING = Heard()


def heard(record: Record, now: float) -> Heard:
    """What this supervisor has heard of the worker. ``now``: deadline time."""
    if record.state not in (State.ALIVE, State.PAUSED) or record.exited or record.is_group:
        return NOTHING
    return Heard(_timer(record.fed_at, _feed_due(record), now), _progress(record, now))


def stands_still(record: Record, now: float) -> bool:
    """Whether its progress timer has run out."""
    due = progress_deadline(record)
    return due is not None and due <= now


def vouch(record: Record, cause: Cause, other: Timer, now: float) -> None:
    """Set the timer that has run out as another member's stands. It runs on, in any case: the same question is not
    asked again at once where the two members know different limits."""
    details = record.detailed()
    if cause is Cause.NO_PROGRESS:
        stalled = stalls_at(record)  # not when that is judged: a restart may hold it for longer
        if stalled is not None and details.progress_at is not None:
            missing = now + other.left - stalled
            details.progress_at = max(
                details.progress_at, min(now, max(now - other.age, details.progress_at + missing))
            )
        return
    record.fed_at = max(record.fed_at, now - other.age)
    if _silent_due(record) <= now:
        details.extended_until = now + min(other.left, record.declaration.timeout)
    keep_shown(record)


def _silent_due(record: Record) -> float:
    return record.fed_at + record.declaration.grace if record.state is State.WAITING else feed_deadline(record)


def _feed_due(record: Record) -> float:
    details = record.details
    if details is None:
        return _silent_due(record)
    due = _silent_due(record) if details.work_due is None else details.work_due
    if details.extended_until is None or record.state is State.PAUSED:
        return due
    return max(due, details.extended_until)


def _progress(record: Record, now: float) -> Timer | None:
    details, due = record.details, progress_deadline(record)
    if details is None or due is None or details.progress_at is None or details.moved_at != details.progress_at:
        return None  # that it moved was not seen
    return _timer(details.progress_at, due, now)


def _timer(since: float, due: float, now: float) -> Timer | None:
    return Timer(max(0.0, now - since), due - now) if due > now else None
