"""The table of states.py carried out: one method for each thing that a transition does."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any

from banken.protocol.incidents import Cause
from banken_supervisor.engine import members
from banken_supervisor.engine.allowance import NOTHING_ALLOWED
from banken_supervisor.engine.claim_gate import Gate
from banken_supervisor.engine.descriptions import process_data
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.feed_history import FeedHistory
from banken_supervisor.engine.incidents import Incidents
from banken_supervisor.engine.last_feeds import is_silence_long
from banken_supervisor.engine.occurrence import Occurrence
from banken_supervisor.engine.policy import NEVER
from banken_supervisor.engine.record import Record
from banken_supervisor.engine.states import RECOVERIES, Does, State, Trigger, transition
from banken_supervisor.engine.table import Table

MAINTENANCE = "maintenance"
"""By whom a watchdog is paused that no operator paused."""


_PAUSE_ENDS = (Trigger.RESUME, Trigger.DEADLINE)
_OF_CHECKS_TOO = (Trigger.PAUSE, Trigger.RESUME)
_OF_WORKERS = (Trigger.FEED, Trigger.FAIL, Trigger.REBORN)


@dataclass(eq=False)
class Lifecycle:
    """Moves records from state to state, and does what the table says."""

    _table: Table
    _history: FeedHistory
    _incidents: Incidents
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        self._does = {does: getattr(self, f"_{does}") for does in Does}

    def apply(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
        """Make the transition: close the incident if the table ends it, change the state, do the rest.

        IllegalTransition: the table has no such line; nothing was changed.
        """
        trigger = what.trigger
        details = record.details
        if details is not None and (details.dormant or details.stopped_with is not None):
            if trigger in _PAUSE_ENDS and record.state is State.PAUSED:
                trigger = Trigger.STAND_BY
            elif trigger in _OF_WORKERS:
                self._table.await_feeds(record)
        if details is not None and details.unfed and trigger in _PAUSE_ENDS and record.state is State.PAUSED:
            said = record.declaration  # its start-up has a grace, also after the pause
            trigger = Trigger.RUN_ON if said.timeout >= NEVER or said.grace > said.timeout else trigger
        if trigger is Trigger.PAUSE and record.state is not State.PAUSED:
            about = record.detailed().open_incident
            was_in_grace = about is not None and about.cause is Cause.GRACE
            record.detailed().unfed = record.state is State.WAITING or was_in_grace
        line = transition(record.state, trigger)
        if line.does is Does.OPEN_INCIDENT and self.gate.holds(record, what, now, out):
            self._table.forget_frames(record)  # its next feed is looked at
            return
        death = self._death_of(record) if trigger is Trigger.PAUSE else None
        if self.gate.held:
            self.gate.let_go(record, trigger, now, out)
        if line.ends is not None:
            how = what.how or line.ends
            recovered = what.trigger is Trigger.FEED and how in RECOVERIES
            self._incidents.close(record, how, now, out, recovered=recovered)
        self._table.move(record, line.state)
        self._does[line.does](record, what, now, out)
        if death is not None:  # nothing else would tell of it again: it is judged after the pause
            record.detailed().exited_at, record.detailed().exited_how = now, death
        if line.ends is not None:
            self._incidents.is_back(record.name, now)
        if what.trigger in _OF_CHECKS_TOO:
            self._pass_on(record, what, now, out)

    def _death_of(self, record: Record) -> str | None:
        """``OpenIncident.death`` of its incident, or of the verdict that is held of it."""
        incident = None if record.details is None else record.details.open_incident
        if incident is not None:
            return incident.death
        held = self.gate.held.get(record.name)
        return None if held is None or held.was_fed else held.what.death

    def await_feed(self, record: Record, how: str, now: float, out: list[Effect]) -> None:
        """Its silence is not judged before it is fed, or declared by a worker. ``how``: what ends its incident."""
        if record.state is not State.PAUSED:
            self.apply(record, Occurrence(Trigger.TAKE_DOWN, how=how), now, out)
        details = record.detailed()
        details.dormant, details.stopped_with, details.back_by = True, None, None
        self._table.mark_changed(record)
        self._table.count_member(record)

    def _pass_on(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
        """Who pauses a service for its maintenance means its checks, too; a longer pause of one of them stays."""
        pauses = what.trigger is Trigger.PAUSE
        for name in self._table.checks_of.get(record.name, ()):
            check = self._table.by_name.get(name)
            if check is None or (check.state is not State.PAUSED and not pauses):
                continue
            if not pauses or check.state is not State.PAUSED or check.detailed().paused_until < what.until:
                self.apply(check, what, now, out)

    def _nothing(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
        pass

    def _first_feed(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
        if not record.is_group:  # of a group, enough members are alive for the first time
            out.append(Event(EventType.FIRST_FED, record.name, process_data(record)))
        if record.details is not None:
            members.first_fed(record, now)
        self._start_timeout(record, what, now, out)

    def _start_timeout(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
        record.fed_at = now
        self._table.arm(record)

    def _open_incident(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
        assert what.cause is not None
        due = now if what.due is None else what.due
        if what.cause is Cause.NO_PROGRESS:
            members.show_mover(record)
            self._table.mark_changed(record)
        spent = self._incidents.open(record, what.cause, due, now, out, what.reason, what.incident)
        if what.death is not None:
            record.detailed().note_death(what.death)
        self._give_up_or_arm(spent, record, now, out)

    def _escalate(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
        assert what.due is not None
        self._give_up_or_arm(self._incidents.escalate(record, what.due, now, out), record, now, out)

    def _give_up_or_arm(self, spent: bool, record: Record, now: float, out: list[Effect]) -> None:
        if spent:
            self.apply(record, Occurrence(Trigger.GIVE_UP), now, out)
        self._table.arm(record)

    def _stop_escalation(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
        self._incidents.give_up(record, now, out)

    def _report_failure(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
        data: dict[str, Any] = {"reason": what.reason}
        if record.incident is not None:
            record.incident.failed_at = now
            data["incident"] = record.incident.id
        out.append(Event(EventType.FAILED, record.name, data))

    def _start_grace(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
        self._forget_process_end(record, now)
        self._table.mark_changed(record)
        self._table.count_member(record)
        self._table.arm(record)

    def _await_restart(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
        self._forget_process_end(record, now)
        self._table.deadlines.disarm(record)

    def _forget_process_end(self, record: Record, now: float) -> None:
        record.fed_at = now
        details = record.details
        if details is not None:
            details.progress_at = details.exited_at = details.exited_how = details.ended = None
            details.work_due = details.scope = details.demand = None
            details.progress_allowed = NOTHING_ALLOWED
            self._table.end_extension(record)

    def _fed_in_pause(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
        record.fed_at = now
        self._note_unfed(record, is_unfed=False)
        self._table.arm(record)  # a pause that ended while no supervisor ran waited for this

    def _reborn_in_pause(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
        self._note_unfed(record, is_unfed=True)
        record.detailed().allowed = NOTHING_ALLOWED  # that was for the former process; and the pause may be over
        self._table.arm(record)

    def _note_unfed(self, record: Record, *, is_unfed: bool) -> None:
        details = record.detailed()
        if details.unfed is not is_unfed:
            details.unfed = is_unfed
            self._table.mark_changed(record)

    def _suspend(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
        details = record.detailed()
        details.maintained = what.by == MAINTENANCE
        details.paused_until = what.until
        self._table.mark_changed(record)
        self._table.arm(record)
        data: dict[str, Any] = {"seconds": what.seconds}
        out.append(Event(EventType.PAUSED, record.name, data if what.by is None else {**data, "by": what.by}))

    def _stand_by(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
        details = record.detailed()
        details.maintained = False
        details.paused_until = inf
        if details.back_by is not None:
            details.back_by = max(details.back_by, now + record.declaration.grace)
        self._table.arm(record)  # that its program ended in the pause is judged now
        out.append(Event(EventType.RESUMED, record.name))

    def _judge_again(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
        details = record.detailed()
        since = now
        # It may have ended with no supervisor there.
        if details.allowed is not NOTHING_ALLOWED and is_silence_long(record):
            since = max(record.fed_at, min(details.paused_until, now))
        record.fed_at = since
        details.maintained = False
        details.bucket = None
        details.paused_until = inf
        self._table.end_extension(record)
        if details.work_due != inf:  # a whole timeout from now; what is idle stays idle
            details.work_due = details.scope = None
        details.progress_allowed = NOTHING_ALLOWED
        if details.progress_at is not None:
            details.progress_at = since
        if details.exited_at is not None:
            details.exited_at = since  # that its process ended in the pause is judged now
        members.start_again(record, since)
        if record.is_group:
            self._table.look_at_group(record)
        self._table.arm(record)
        out.append(Event(EventType.RESUMED, record.name))

    def _remove(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
        if record.details is not None and record.details.step_runs:
            self._table.keep_spent(record.name, record.details.step_runs)
        if not self.gate.is_local(record):
            self._table.note_released(record.name, now)
        self._table.remove(record)
        self._history.resize()
        out.append(Event(EventType.RELEASED, record.name))
