"""What a message of each kind does to a watchdog: one method a kind.

Whether it may be said at all was asked before (principal.py, admission.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from banken.protocol.incidents import Cause
from banken.protocol.messages import Feeders, Kind, Message
from banken_supervisor.engine import members
from banken_supervisor.engine.admission import Admission
from banken_supervisor.engine.allowance import NOTHING_ALLOWED
from banken_supervisor.engine.declarations import Declarations
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.feed_observer import FeedObserver
from banken_supervisor.engine.last_feeds import LastFeeds
from banken_supervisor.engine.lifecycle import Lifecycle
from banken_supervisor.engine.occurrence import Occurrence
from banken_supervisor.engine.on_purpose import OnPurpose
from banken_supervisor.engine.policy import By
from banken_supervisor.engine.process_lifecycle import ProcessLifecycle
from banken_supervisor.engine.record import Record
from banken_supervisor.engine.states import State, Trigger
from banken_supervisor.engine.table import Table


@dataclass(eq=False)
class MessageKinds:
    """Applies messages to records. Times are deadline time, seconds."""

    _table: Table
    _lifecycle: Lifecycle
    _on_purpose: OnPurpose
    _processes: ProcessLifecycle
    _declarations: Declarations
    _observer: FeedObserver
    _last_feeds: LastFeeds
    _admission: Admission

    def __post_init__(self) -> None:
        self._handlers = {
            Kind.FEED: self._feed,
            Kind.NOTE: self._note,
            Kind.RELEASE: self._release,
            Kind.LEAVING: self._leaving,
            Kind.FAIL: self._fail,
            Kind.PAUSE: self._pause,
            Kind.RESUME: self._resume,
            Kind.EXTEND: self._extend,
            Kind.WORK: self._work,
        }

    def take(self, record: Record, message: Message, now: float, out: list[Effect]) -> None:
        """Do what it says."""
        self._handlers[message.kind](record, message, now, out)

    def _feed(self, record: Record, message: Message, now: float, out: list[Effect]) -> None:
        observer = self._observer
        if record.by is By.NOBODY:
            self._declarations.first_fed(record, out)
        fast = observer.too_fast(record, now)
        observer.observe(record, now, out)
        details = record.details
        if details is not None:
            self._table.await_feeds(record)
            self._table.end_extension(record)
            members.end_idle(record, details.work_due, now)
            details.work_due = details.scope = None
            if message.identity is None:
                members.end_idle_of_all(record)
        keeps_incident = observer.keeps_incident(record, now)
        if (keeps_incident or record.state is State.PAUSED) and message.identity is None:
            self._processes.joins(record)  # else another process's first word has done so
        if keeps_incident:
            record.fed_at = now
            return
        was_alive = record.state is State.ALIVE
        self._lifecycle.apply(record, Occurrence(Trigger.FEED), now, out)
        self._last_feeds.note(record, now)
        if fast and was_alive:
            assert record.policy is not None
            reason = f"fed more often than once in {record.policy.min_interval:g} s"
            what = Occurrence(Trigger.DEADLINE, cause=Cause.TOO_FAST, reason=reason)
            self._lifecycle.apply(record, what, now, out)

    def _note(self, record: Record, message: Message, now: float, out: list[Effect]) -> None:
        _, status = message.args
        if status is not None and not self._admission.short_of_memory:
            record.detailed().status = status
        self.take_progress(record, message, now)
        self._feed(record, message, now, out)

    def take_progress(self, record: Record, message: Message, now: float) -> None:
        """The progress value of a note: it is the name's, whichever of its processes says it."""
        progress, details = message.args[0], record.detailed()
        if progress is None or (self._admission.short_of_memory and isinstance(progress, str)):
            return
        details.progress_allowed = NOTHING_ALLOWED  # whether it moved since the restart, and before, is known
        if progress != details.progress or details.progress_at is None:
            details.moved_at = details.moved_at if details.progress is None else now
            details.progress, details.progress_at, details.moved_by = progress, now, message.identity

    def _work(self, record: Record, message: Message, now: float, out: list[Effect]) -> None:
        """Alive, and judged from now on by when the next message is due. Gaps between such messages say nothing of
        how often it is fed. Nothing of it goes to the journal: the next message comes soon after a restart, too."""
        seconds, scope = message.args
        if record.by is By.NOBODY:
            self._declarations.first_fed(record, out)
        details = record.detailed()
        table = self._table
        table.await_feeds(record)
        table.forget_frames(record)  # the next feed must be looked at: it ends this
        table.end_extension(record)
        members.end_idle(record, details.work_due, now)
        details.work_due, details.scope = inf if seconds is None else now + seconds, scope
        details.sampled = False
        began = None if seconds is None else now if scope is None else now - scope.age
        observer = self._observer
        if observer.keeps_failure(record, began) or observer.keeps_incident(record, now):
            record.fed_at = now
        else:
            self._lifecycle.apply(record, Occurrence(Trigger.FEED), now, out)
        self._last_feeds.note(record, now)

    def _release(self, record: Record, message: Message, now: float, out: list[Effect]) -> None:
        self._processes.released(record, message.identity, now, out)

    def _leaving(self, record: Record, message: Message, now: float, out: list[Effect]) -> None:
        if message.identity is not None:
            self._processes.left(record, message.identity, message.args[0], now, out)

    def _resume(self, record: Record, message: Message, now: float, out: list[Effect]) -> None:
        self._lifecycle.apply(record, Occurrence(Trigger.RESUME), now, out)

    def _fail(self, record: Record, message: Message, now: float, out: list[Effect]) -> None:
        if message.identity is not None and record.is_judged and self._on_purpose.excuses(record, now, out):
            out.append(Event(EventType.FAILED, record.name, {"reason": message.args[0]}))
            return
        member, incident = members.member_of(record, message.identity), record.detailed().open_incident
        if member is not None and incident is not None and members.is_of_another(record, member):
            data = {"reason": message.args[0], "incident": incident.id, "pid": member.process.pid}
            out.append(Event(EventType.FAILED, record.name, data))
            return
        what = Occurrence(Trigger.FAIL, cause=Cause.FAILED, reason=message.args[0])
        self._lifecycle.apply(record, what, now, out)

    def _pause(self, record: Record, message: Message, now: float, out: list[Effect]) -> None:
        seconds = message.args[0] or None
        until = inf if seconds is None else now + seconds
        self._lifecycle.apply(record, Occurrence(Trigger.PAUSE, until=until, seconds=seconds), now, out)

    def _extend(self, record: Record, message: Message, now: float, out: list[Effect]) -> None:
        member = members.member_of(record, message.identity)
        if members.is_beside(record, member) and members.keep_aside(record, member, message, now):
            self._table.mark_changed(record)
        elif record.is_judged:
            self._table.forget_frames(record)  # the next feed must be looked at: it ends the extension
            if member is None or record.declaration.feeders is not Feeders.EACH:
                members.extend(record, now + message.args[0])
            else:  # it is this one that the record shows
                record.detailed().extended_until = now + message.args[0]
            self._table.mark_changed(record)
            self._table.arm(record)  # it may be shorter than the one before
            out.append(Event(EventType.EXTENDED, record.name, {"seconds": message.args[0]}))
