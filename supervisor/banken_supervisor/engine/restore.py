"""What a former supervisor left is taken up again: watchdogs, pauses, open incidents, spent budgets.

Silence while no supervisor ran is not counted: each watchdog has its full timeout again, the time that workers need
to find the new supervisor, and a little more (snapshot.py). An open incident goes on under its id, and is not
announced again. A step that was begun is not begun again; what fell due meanwhile is done once, and not before a
worker that recovered meanwhile has had the time to say so. A pause goes on until its end.

A watchdog that only the operator had declared, and the config names no longer, is not brought back: the config is
the operator's word, and a watchdog that a program made in its own process went with that process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from banken.protocol.incidents import Cause
from banken.protocol.limits import SECONDS_MAX, SECONDS_MIN
from banken.protocol.messages import Declaration
from banken_supervisor.engine.declarations import Declarations
from banken_supervisor.engine.dependencies import Dependencies
from banken_supervisor.engine.effects import Effect, Event, EventType, RunCallback, RunStep, StepRan
from banken_supervisor.engine.escalation import RUNS_MAX, ladder_of
from banken_supervisor.engine.feed_history import FeedHistory
from banken_supervisor.engine.ladder import Ladder, NextStep, first_step, following_step, step_key
from banken_supervisor.engine.policy import EXIT_ONLY
from banken_supervisor.engine.quorum import Quorums
from banken_supervisor.engine.record import GivenUp, OpenIncident, Record
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.snapshot import Checkpoint, PastIncident, PastRun, Snapshot, rearm_offset
from banken_supervisor.engine.states import State
from banken_supervisor.engine.table import Table

RETURN_S = 2.0
"""Seconds that workers have to find the new supervisor: a client tries again at least once a second."""

RECOVERY_MAX_S = 60.0
"""Seconds that an overdue step waits, at the most, for a worker that recovered while no supervisor ran."""

GONE = "ended while no supervisor ran; how is not known"
"""Reason for a process that is found to be gone. It may have ended well: nothing was there to notice."""

FORGOTTEN = "forgotten"
"""How an incident ended whose watchdog is not watched any longer."""

LOST = "lost"
"""How an incident ended that was found open beside a newer one of the same watchdog."""

_DOWN = (State.EXPIRED, State.GIVEN_UP)


class Restore:
    """Used once, when the operator's policies are known and before anything has arrived.

    ``is_program``: whether the config has a program of this name; its watchdog is brought back.
    """

    def __init__(
        self,
        table: Table,
        rules: Rules,
        history: FeedHistory,
        dependencies: Dependencies,
        quorums: Quorums,
        declarations: Declarations,
        is_program: Callable[[str], bool],
    ) -> None:
        self._table = table
        self._rules = rules
        self._history = history
        self._dependencies = dependencies
        self._quorums = quorums
        self._declarations = declarations
        self._is_program = is_program

    def run(self, left: Snapshot, now: float, out: list[Effect]) -> tuple[int, int]:
        """Bring back what was left. How many watchdogs came back, and how many open incidents go on."""
        open_ = self._newest(left.open, out)
        skipped: set[str] = set()
        back = 0
        for checkpoint in left.watchdogs:
            if self._unwanted(checkpoint):
                skipped.add(checkpoint.name)
                if self._table.tracks_changes:
                    self._table.changed[checkpoint.name] = None
                continue
            self._bring_back(checkpoint, left, open_.get(checkpoint.name), now, out)
            back += 1
        resumed = []
        for past in open_.values():
            record = self._record_of(past, skipped, now)
            if record is None:
                self._forget_incident(past, FORGOTTEN, out)
                continue
            self._reopen(record, past, left.runs.get(past.name, ()), now)
            self._report_past_steps(record, past, now, out)
            resumed.append(record)
        for record in resumed:
            self._blame_again(record, now)
            self._table.arm(record)
        return back, len(resumed)

    # -- watchdogs ----------------------------------------------------------------------------------

    def _unwanted(self, checkpoint: Checkpoint) -> bool:
        """Whether only an operator had declared it, who does so no longer."""
        name = checkpoint.name
        if checkpoint.owner is not None or name in self._table.by_name or self._is_program(name):
            return False
        operators = checkpoint.operator or checkpoint.declaration == EXIT_ONLY.declaration
        return operators and self._rules.policy_of(name) is None

    def _bring_back(
        self, checkpoint: Checkpoint, left: Snapshot, open_: PastIncident | None, now: float, out: list[Effect]
    ) -> None:
        table = self._table
        record = table.by_name.get(checkpoint.name)
        if record is not None and record.is_group:
            return  # a group has the name now
        if record is None:
            record = self._make(
                checkpoint.name, checkpoint.declaration, checkpoint.resolution, now, operator=checkpoint.operator
            )
        record.resolution = checkpoint.resolution
        if checkpoint.owner is not None:
            table.set_owner(record, table.share(checkpoint.owner), out)
        if checkpoint.incidents:
            record.detailed().incidents = checkpoint.incidents
        state = checkpoint.state
        given_up = left.given_up.get(checkpoint.name)
        if open_ is not None:
            state = State.EXPIRED
        elif state in _DOWN:
            # The incident is the truth: between alive and expired no checkpoint is written.
            state = State.ALIVE if given_up is None and state is State.EXPIRED else State.GIVEN_UP
        if state is not State.EXPIRED:  # else see _reopen
            table.move(record, state)
            offset = rearm_offset(record.name, record.declaration.timeout, len(left.watchdogs))
            record.fed_at = now + RETURN_S + offset
            self._restore_details(record, state, checkpoint.left, given_up, now)
            if state is State.GIVEN_UP and given_up is not None:
                self._report_past_steps(record, given_up, now, out)
            self._spend(record, left.runs.get(record.name, ()), now)
        table.arm(record)
        kept = checkpoint.state, checkpoint.declaration, checkpoint.operator
        if (state, record.declaration, record.operator) == kept:
            table.changed.pop(record.name, None)

    @staticmethod
    def _restore_details(
        record: Record, state: State, left: float | None, given_up: PastIncident | None, now: float
    ) -> None:
        if state is State.PAUSED:
            # A pause that ended meanwhile ends when feeds can have come.
            record.detailed().paused_until = inf if left is None else now + max(left, RETURN_S)
        elif state is State.GIVEN_UP and given_up is not None:
            steps = tuple(dict.fromkeys(each.step for each in given_up.steps))
            details = record.detailed()
            details.given_up = GivenUp(given_up.id, now - given_up.age, given_up.runs, steps)
            details.cause = given_up.cause
        elif state in (State.WAITING, State.ALIVE) and left is not None and left > 0:
            record.detailed().extended_until = now + left + RETURN_S
        if record.details is not None:
            record.details.new_feeder = True  # the gap until the first feed is the supervisor's, not the worker's

    def _make(
        self, name: str, declaration: Declaration, resolution: float, now: float, *, operator: bool
    ) -> Record:
        record = Record(name, self._table.share(declaration), resolution, now, operator=operator)
        self._table.add(record)
        self._history.resize()
        self._quorums.enroll(record)
        self._declarations.follow_rules(record)
        return record

    # -- incidents ----------------------------------------------------------------------------------

    def _newest(self, left: Iterable[PastIncident], out: list[Effect]) -> dict[str, PastIncident]:
        """One open incident per watchdog; what is open beside it was left over by an accident."""
        newest: dict[str, PastIncident] = {}
        for past in left:
            older = newest.get(past.name)
            if older is not None:
                self._forget_incident(older, LOST, out)
            newest[past.name] = past
        return newest

    @staticmethod
    def _forget_incident(past: PastIncident, how: str, out: list[Effect]) -> None:
        data = {"incident": past.id, "lasted": past.age, "runs": past.runs, "how": how}
        out.append(Event(EventType.CLOSED, past.name, data))

    def _record_of(self, past: PastIncident, skipped: set[str], now: float) -> Record | None:
        """The watchdog of an open incident; None: it is not watched any longer."""
        record = self._table.by_name.get(past.name)
        is_group = record is not None and record.is_group
        if is_group != (past.cause is Cause.TOO_FEW) or past.name in skipped:
            return None
        if record is None:  # its checkpoint was lost, or not written any more
            policy = self._rules.policy_of(past.name)
            timeout = min(max(past.timeout, SECONDS_MIN), SECONDS_MAX)
            declaration = Declaration(timeout, grace=timeout) if policy is None else policy.declaration
            record = self._make(past.name, declaration, 0.0, now, operator=policy is not None)
        return record

    def _reopen(self, record: Record, past: PastIncident, earlier: Iterable[PastRun], now: float) -> None:
        """The incident is open again, under its id. The callback is taken to have run whenever it was due."""
        self._table.move(record, State.EXPIRED)
        details = record.detailed()
        opened = now - past.age
        record.fed_at = opened - past.silence
        details.cause = past.cause
        details.incidents = max(details.incidents, 1)
        details.status, details.progress = past.status, past.progress
        details.new_feeder = True
        if past.cause is Cause.NO_PROGRESS:
            details.progress_at = opened  # only another value ends it
        interval = record.declaration.interval
        passed = int(past.age // interval)
        incident = OpenIncident(
            past.id,
            past.cause,
            opened,
            1 + passed,
            max(opened + (passed + 1) * interval, now + RETURN_S),
            past.reason,
            climbing_since=opened,
        )
        for run in past.steps:
            incident.step_counts[run.step] = max(run.run, incident.step_counts.get(run.step, 0))
        details.incident = incident
        self._spend(record, (*earlier, *past.steps), now)
        step = self._next_step(record, incident, past.steps, now)
        if step is not None:
            # An overdue step waits until a worker that recovered meanwhile has had the time to feed.
            wait = 0.0 if past.cause is Cause.EXITED else min(record.declaration.timeout, RECOVERY_MAX_S)
            incident.next_step = step._replace(when=max(step.when, now + RETURN_S + wait))

    @staticmethod
    def _report_past_steps(record: Record, past: PastIncident, now: float, out: list[Effect]) -> None:
        """Which steps were begun: their recipients wait to hear of the end."""
        ladder = ladder_of(record)
        opened = now - past.age
        about = RunCallback(
            name=record.name,
            callback=record.declaration.callback,
            incident=past.id,
            cause=past.cause,
            opened=opened,
            silence=past.silence,
            timeout=past.timeout,
            due=opened,
            run=past.runs,
            reason=past.reason,
            status=past.status,
            progress=past.progress,
        )
        latest = {each.step: each for each in sorted(past.steps, key=lambda each: each.run)}
        steps = ladder.steps + ladder.on_give_up
        for number, each in sorted(latest.items()):
            if _is_of(ladder, each):
                out.append(StepRan(RunStep(about, steps[number], number, each.run, False, record.owner)))

    @staticmethod
    def _next_step(record: Record, incident: OpenIncident, ran: tuple[PastRun, ...], now: float) -> NextStep | None:
        """The ladder's next, given what was begun."""
        ladder = ladder_of(record)
        if not ladder.steps:
            return None
        on_it = [each for each in ran if _is_of(ladder, each) and each.step < len(ladder.steps)]
        if on_it:
            last = max(on_it, key=lambda each: (each.step, each.run))  # a climb never goes down
            done = NextStep(now - last.age, last.step)
            return following_step(ladder, incident.climbing_since, done, now)
        if ladder.observe or ran:  # what would have been done is not announced twice; or the ladder has changed
            return _beyond(ladder, incident.climbing_since, now)
        depends_on = () if record.policy is None else record.policy.depends_on
        if depends_on and ladder.steps[0].after <= 0.0:
            # Else its first step would have been begun: it was excused, and may follow now.
            incident.blamed = depends_on[0]
            return None
        return first_step(ladder, incident.climbing_since)

    def _blame_again(self, record: Record, now: float) -> None:
        """A watchdog that it depends on is down, too."""
        incident = record.incident
        assert incident is not None
        down = self._dependencies.down(record, now)
        if down is not None:
            self._dependencies.blame(record, incident, down, now)
        elif incident.blamed is not None:
            incident.next_run = now + RETURN_S

    @staticmethod
    def _spend(record: Record, ran: Iterable[PastRun], now: float) -> None:
        """Budgets count what was run before."""
        ladder = ladder_of(record)
        for each in sorted(ran, key=lambda each: -each.age):
            if _is_of(ladder, each) and each.step < len(ladder.steps):
                step = ladder.steps[each.step]
                if step.budget is not None or step.backoff is not None:
                    times = record.detailed().step_runs.setdefault(step_key(ladder, each.step), [])
                    times.append(now - each.age)
                    del times[:-RUNS_MAX]


def _is_of(ladder: Ladder, ran: PastRun) -> bool:
    """Whether this is a run of a step that the ladder still has, in that place."""
    steps = ladder.steps + ladder.on_give_up
    return ran.step < len(steps) and steps[ran.step].do == ran.action


def _beyond(ladder: Ladder, since: float, now: float) -> NextStep | None:
    """The first step that is not due yet."""
    for index, step in enumerate(ladder.steps):
        if since + step.after > now:
            return NextStep(since + step.after, index)
    last = len(ladder.steps) - 1
    again = ladder.steps[last].repeat
    return None if again is None else NextStep(now + again, last)
