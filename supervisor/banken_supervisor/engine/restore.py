"""What a former supervisor left is taken up again: watchdogs, pauses, open incidents, spent budgets.

Silence while no supervisor ran is not counted: each watchdog has its full timeout again, the time that workers need
to find the new supervisor, and a little more (snapshot.py). An open incident goes on under its id, and is not
announced again. A step that was begun is not begun again; what fell due meanwhile is done once, and not before a
worker that recovered meanwhile has had the time to say so. A pause goes on until its end.

A watchdog that only the operator had declared, and the config names no longer, is not brought back: the config is
the operator's word, and a watchdog that a program made in its own process went with that process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from banken.protocol.incidents import Cause
from banken.protocol.limits import SECONDS_MAX, SECONDS_MIN
from banken.protocol.messages import Declaration, Feeders
from banken_supervisor.engine import members
from banken_supervisor.engine.admission import Admission
from banken_supervisor.engine.allowance import Allowance
from banken_supervisor.engine.declarations import Declarations
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.incidents import RECHECK_S, Incidents, down
from banken_supervisor.engine.last_feeds import GRACE_S, LONG_S, UNSURE_S, is_long, is_silence_long
from banken_supervisor.engine.on_purpose import OnPurpose
from banken_supervisor.engine.past_steps import next_step_of, report_past_steps, spend, spent_of
from banken_supervisor.engine.policy import HOST_OFF_COUNTS_S, By
from banken_supervisor.engine.record import OpenIncident, Record
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.snapshot import (
    RETURN_S,
    Checkpoint,
    PastFeed,
    PastIncident,
    PastRun,
    Snapshot,
    rearm_offset,
)
from banken_supervisor.engine.states import State
from banken_supervisor.engine.table import Table

RECOVERY_MAX_S = 60.0
"""Seconds that an overdue step waits, at the most, for a worker that recovered while no supervisor ran."""

FORGOTTEN = "forgotten"
"""How an incident ended whose watchdog is not watched any longer."""

LOST = "lost"
"""How an incident ended that was found open beside a newer one of the same watchdog."""


@dataclass(eq=False)
class Restore:
    """``run`` is used once, when the operator's policies are known and before anything has arrived.

    ``is_program``: whether the config has a program of this name; its watchdog is brought back.
    """

    _table: Table
    _rules: Rules
    _admission: Admission
    _declarations: Declarations
    _incidents: Incidents
    _is_program: Callable[[str], bool]
    _on_purpose: OnPurpose

    def run(self, left: Snapshot, now: float, out: list[Effect]) -> tuple[int, int]:
        """Bring back what was left. How many watchdogs came back, and how many open incidents go on."""
        table = self._table
        open_: dict[str, PastIncident] = {}
        for past in left.open:  # one for each watchdog; what is open beside it was left over by an accident
            if past.name in open_:
                _forget_incident(open_[past.name], LOST, out)
            open_[past.name] = past
        skipped = {each.name for each in left.watchdogs if self._unwanted(each)}
        for checkpoint in left.watchdogs:
            if checkpoint.name not in skipped:
                self._bring_back(checkpoint, left, open_.get(checkpoint.name), now, out)
            elif table.tracks_changes:
                table.changed[checkpoint.name] = None
        resumed = []
        for past in open_.values():
            record = None if past.name in skipped else self._record_of(past, now)
            if record is None:
                _forget_incident(past, FORGOTTEN, out)
                continue
            incident = self._reopen(record, past, left.runs.get(past.name, ()), now)
            report_past_steps(record, past, incident, out)
            if not past.given_up:
                resumed.append((record, incident))
        for name, runs in left.runs.items():  # one that was released, and may come again
            policy = self._rules.policy_of(name)
            if name not in table.by_name and policy is not None:
                table.keep_spent(name, spent_of(policy.ladder, runs, now))
        for record, incident in resumed:
            # A watchdog that it depends on may be down, too.
            parent = down(table, record, now)
            if parent is not None and _fell_before(table.by_name[parent], incident):
                self._incidents.blame(record, incident, parent, now)
            elif incident.recovering:
                incident.next_run = now + RETURN_S
            table.arm(record)
        return sum(each.name not in skipped for each in left.watchdogs), len(resumed)

    def adopt(self, past: PastIncident, now: float, out: list[Effect]) -> Record | None:
        """Go on with an incident that another supervisor has opened, over a timer that runs here. None: it is over,
        for the watchdog is paused, or not watched here."""
        record = self._record_of(past, now)
        if record is None or not (record.is_judged or record.is_down):
            _forget_incident(past, FORGOTTEN if record is None else "paused", out)
            return None
        incident = self._reopen(record, past, (), now, returning=0.0)
        report_past_steps(record, past, incident, out)
        parent = down(self._table, record, now)
        if parent is not None and not past.given_up and _fell_before(self._table.by_name[parent], incident):
            self._incidents.blame(record, incident, parent, now)
        elif incident.recovering:
            incident.next_run = now
        self._table.arm(record)
        return record

    def count_spent(
        self, spent: Mapping[str, Sequence[PastRun]], is_local: Callable[[Record], bool], now: float
    ) -> None:
        """Budgets of the cluster's watchdogs are as another supervisor has left them, and not as they were here."""
        for each in self._table:
            if each.details is not None and each.details.step_runs and not is_local(each):
                each.details.step_runs = {}
        for name, runs in spent.items():
            record, policy = self._table.by_name.get(name), self._rules.policy_of(name)
            if record is not None and not is_local(record):
                spend(record, runs, now)
            elif record is None and policy is not None:
                self._table.keep_spent(name, spent_of(policy.ladder, runs, now))

    # -- watchdogs ----------------------------------------------------------------------------------

    def _unwanted(self, checkpoint: Checkpoint) -> bool:
        """Whether only an operator had declared it, who does so no longer."""
        name = checkpoint.name
        if not checkpoint.awaited and name not in self._table.by_name:
            return not self._is_program(name)
        waits_for = checkpoint.program if checkpoint.owner is None else None
        if checkpoint.is_check or (waits_for is not None and not self._is_program(waits_for)):
            return name not in self._table.by_name  # nothing runs it any more, or what it waits for is no more
        if checkpoint.by is By.NOBODY and checkpoint.state is State.PAUSED and not checkpoint.maintained:
            return False  # it is known by a pause alone: that goes on, for whoever comes in it
        if checkpoint.owner is not None or name in self._table.by_name or self._is_program(name):
            return False
        return checkpoint.by in (By.OPERATOR, By.NOBODY) and self._rules.policy_of(name) is None

    def _bring_back(
        self, checkpoint: Checkpoint, left: Snapshot, open_: PastIncident | None, now: float, out: list[Effect]
    ) -> None:
        table, name = self._table, checkpoint.name
        record = table.by_name.get(name)
        if record is not None and record.is_group:
            # Else a worker had the name, and a group has it now.
            if checkpoint.state is State.PAUSED and checkpoint.owner is None and not checkpoint.awaited:
                table.move(record, State.PAUSED)
                record.detailed().heard = dict(checkpoint.heard or ())
                self._pause(record, checkpoint, left, now)
                table.arm(record)
            return
        if record is None:
            record = self._make(name, checkpoint.declaration, checkpoint.resolution, now, by=checkpoint.by)
            if not checkpoint.awaited:
                record.detailed().dormant = True
        fed = checkpoint.state is not State.WAITING
        if checkpoint.awaited and (fed or checkpoint.processes):  # else the config says whether it is
            table.await_feeds(record)
        self._declarations.bring_back(record, checkpoint.declaration, checkpoint.by, fed=fed)
        record.resolution = checkpoint.resolution
        if checkpoint.owner is not None:
            table.set_owner(record, table.share(checkpoint.owner), out)
        several = record.declaration.feeders is not Feeders.LATEST
        for process, words in (checkpoint.members or ()) if several else ():
            members.bring_back(record, table.share(process), words)
            if process != checkpoint.owner:
                table.watch_end(record, table.share(process), out)
        if checkpoint.program is not None and self._is_program(checkpoint.program):
            if checkpoint.owner is not None:
                table.assign(checkpoint.owner, checkpoint.program)
            else:
                table.await_feeds(record)
                self._on_purpose.await_program(record, checkpoint.program)
        if checkpoint.heard:
            record.detailed().heard = dict(checkpoint.heard)
        if checkpoint.incidents:
            record.detailed().incidents = checkpoint.incidents
        state, extended = checkpoint.state, None if checkpoint.state is State.PAUSED else checkpoint.left
        offset = rearm_offset(name, record.declaration.timeout, len(left.watchdogs))
        record.fed_at = now + RETURN_S + offset
        # The incident is the truth: between alive and expired no checkpoint is written.
        if open_ is not None:  # see _reopen
            state = State.GIVEN_UP if open_.given_up else State.EXPIRED
        else:
            state = State.ALIVE if state is State.EXPIRED else state
            table.move(record, state)
            if (last := left.feeds.get(name)) is not None and record.is_judged and is_long(record):
                self._take_up(record, last, now, offset)
                record.fed_at = max(record.fed_at, now - _since_windows(record, left))
            if state is State.PAUSED:
                self._pause(record, checkpoint, left, now)
            spend(record, left.runs.get(name, ()), now)
        if extended is not None and extended > 0:
            record.detailed().extended_until = now + extended + RETURN_S
        if record.details is not None:
            record.details.new_feeder = True  # the gap until the first feed is the supervisor's
        members.start_again(record, record.fed_at)
        owner = checkpoint.owner
        if open_ is not None and owner is None:
            record.owner = None  # an incident goes on that is about none of those that are left
        if owner is not None and owner != record.owner and members.member_of(record, owner) is None:
            table.lose(owner)  # an incident was about it
        if checkpoint.extended is not None:
            members.shorten_extensions(record, dict(checkpoint.extended))
        if open_ is not None and record.details is not None:
            record.details.extended_until = None  # the verdict has ended that of the process that it is about
        table.arm(record)
        kept = checkpoint.state, checkpoint.declaration, checkpoint.by
        # How long the host was off is taken from the clock once: what is left of a pause is written again.
        if (state, record.declaration, record.by) == kept and checkpoint.left is None:
            table.changed.pop(name, None)

    def _pause(self, record: Record, checkpoint: Checkpoint, left: Snapshot, now: float) -> None:
        """Its pause goes on until its end. One that ended meanwhile is over when feeds can have come, and what
        follows it began at its end (lifecycle.py)."""
        details = record.detailed()
        details.maintained, details.unfed = checkpoint.maintained, checkpoint.unfed
        until = inf if checkpoint.left is None else now + checkpoint.left
        if details.maintained:
            until = max(until, now - _since_windows(record, left))
            if record.policy is None or not record.policy.maintenance:
                until = min(until, now)
        if not _off_counts(record):
            until = max(until, now - left.host_up)
        details.paused_until, record.fed_at = until, min(until, now)
        details.allowed = Allowance(now + (GRACE_S if is_silence_long(record) else RETURN_S))

    def _take_up(self, record: Record, last: PastFeed, now: float, offset: float) -> None:
        """Its long deadline goes on by its last feed."""
        said, details = record.declaration, record.detailed()
        waiting = record.state is State.WAITING
        limit = said.grace if waiting else said.timeout
        away = last.age if _off_counts(record) else last.host_on
        # One grace for the restart, however often it is repeated; a restart long after it is another one.
        held = None if last.held is None else last.held - last.age
        if held is None or held < -GRACE_S:
            held = GRACE_S + min(offset, GRACE_S)
        held_until = now + max(held, RETURN_S)
        if limit > LONG_S:
            record.fed_at = now - last.silent - away
            details.allowed = Allowance(held_until, 0.0 if waiting else UNSURE_S)
        if not waiting and last.still is not None and (said.progress_timeout or 0.0) > LONG_S:
            details.progress = last.progress
            details.progress_at = now - last.still - away
            details.progress_allowed = Allowance(held_until, UNSURE_S)
        if self._table.tracks_changes:
            self._table.fed[record.name] = None  # with this grace

    def _make(self, name: str, declaration: Declaration, resolution: float, now: float, *, by: By) -> Record:
        record = Record(name, self._table.share(declaration), resolution, now, by=by)
        self._admission.watch(record)
        self._declarations.follow_rules(record)
        return record

    # -- incidents ----------------------------------------------------------------------------------

    def _record_of(self, past: PastIncident, now: float) -> Record | None:
        """The watchdog of an open incident; None: it is not watched any longer."""
        record = self._table.by_name.get(past.name)
        if (record is not None and record.is_group) != (past.cause is Cause.TOO_FEW):
            return None
        if record is None:  # its checkpoint was lost, or not written any more
            policy = self._rules.policy_of(past.name)
            timeout = min(max(past.timeout, SECONDS_MIN), SECONDS_MAX)
            declaration = Declaration(timeout, grace=timeout) if policy is None else policy.declaration
            record = self._make(past.name, declaration, 0.0, now, by=By.WORKER if policy is None else By.OPERATOR)
        return record

    def _reopen(
        self,
        record: Record,
        past: PastIncident,
        earlier: Iterable[PastRun],
        now: float,
        returning: float = RETURN_S,
    ) -> OpenIncident:
        """The incident is open again, under its id. The callback is taken to have run whenever it was due.
        ``returning``: seconds that workers have to find this supervisor; 0: it has heard them all the time."""
        self._table.move(record, State.GIVEN_UP if past.given_up else State.EXPIRED)
        details = record.detailed()
        incident = _incident_from(past, now)
        if details.members:  # it is about one of several processes, and the others live, as far as is known
            incident.death = None
        record.fed_at = incident.opened - past.silence
        details.cause = past.cause
        details.incidents = max(details.incidents, 1)
        details.status, details.progress = past.status, past.progress
        details.new_feeder = True
        if past.cause is Cause.NO_PROGRESS:
            details.progress_at = incident.opened  # only another value ends it
        interval = record.declaration.interval
        passed = int(past.age // interval)
        incident.runs = 1 + passed
        incident.next_run = max(incident.opened + (passed + 1) * interval, now + returning)
        spend(record, (*earlier, *past.steps), now)
        if past.given_up:
            details.given_up = incident
            return incident
        details.incident = incident
        step = next_step_of(record, incident, past.steps, now)
        if step is not None:
            # An overdue step waits until a worker that recovered meanwhile has had the time to feed.
            wait = min(record.declaration.timeout, RECOVERY_MAX_S)
            if past.cause is Cause.EXITED or not returning:
                wait = 0.0
            incident.next_step = step._replace(when=max(step.when, now + returning + wait))
        return incident


def _off_counts(record: Record) -> bool:
    """Whether the time that the host was off counts as silence."""
    counts = None if record.policy is None else record.policy.count_host_off
    if counts is not None:
        return counts
    said = record.declaration
    return (said.grace if record.state is State.WAITING else said.timeout) >= HOST_OFF_COUNTS_S


def _since_windows(record: Record, left: Snapshot) -> float:
    """Seconds since the last of its windows ended, if that was while no supervisor ran; else inf."""
    windows = () if record.policy is None else record.policy.maintenance
    since = min((left.window_ends.get(window, inf) for window in windows), default=inf)
    return since if since == inf or _off_counts(record) else min(since, left.host_up)


def _fell_before(parent: Record, incident: OpenIncident) -> bool:
    """Whether ``parent`` was down, or about to be found so, when the incident began."""
    above = None if parent.details is None else parent.details.open_incident
    return above is not None and above.opened <= incident.opened + RECHECK_S


def _incident_from(past: PastIncident, now: float) -> OpenIncident:
    opened = now - past.age
    incident = OpenIncident(past.id, past.cause, opened, 1, inf, past.reason, climbing_since=opened)
    incident.failed_at = opened if past.cause is Cause.FAILED else None
    incident.death = past.reason if past.cause is Cause.EXITED else None
    incident.step_counts = {run.step: run.run for run in sorted(past.steps, key=lambda run: run.run)}
    return incident


def _forget_incident(past: PastIncident, how: str, out: list[Effect]) -> None:
    data = {"incident": past.id, "lasted": past.age, "runs": 1, "how": how}
    out.append(Event(EventType.CLOSED, past.name, data))
