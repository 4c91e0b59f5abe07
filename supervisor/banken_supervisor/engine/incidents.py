"""Incidents: opened by a verdict, escalated while they last, given up, closed.

Which transition calls what is in states.py and lifecycle.py.

``depends_on``: an incident is not escalated while another watchdog, which this one depends on, is down. The config
refuses circles; what is declared in code may have one, so blame never goes round in a circle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from banken.protocol.incidents import Cause
from banken.protocol.limits import is_section
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.engine.allowance import NOTHING_ALLOWED
from banken_supervisor.engine.descriptions import callback_run, check_data, incident_data, process_data
from banken_supervisor.engine.effects import Effect, EndIncident, Event, EventType, RunStep
from banken_supervisor.engine.feed_history import EVIDENCE_MAX, FeedHistory
from banken_supervisor.engine.ladder import (
    STEPS_MAX,
    Ladder,
    NextStep,
    Step,
    delay,
    first_step,
    following_step,
    step_after_reload,
    step_key,
)
from banken_supervisor.engine.members import member_of
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.record import Details, OpenIncident, Record, deadline, feed_deadline, stalls_at
from banken_supervisor.engine.repeat_pace import RepeatPace
from banken_supervisor.engine.states import State
from banken_supervisor.engine.table import Table

RECHECK_S = 0.5
"""Seconds until the next look, where a dependency was due but not judged yet."""

RUNS_MAX = 1000
"""Times of earlier runs that are remembered per step for budget and backoff."""

NO_LADDER = Ladder(())


def ladder_of(record: Record) -> Ladder:
    """The ladder in force; an empty one where the operator gave none."""
    return NO_LADDER if record.policy is None else record.policy.ladder


def cause_of(record: Record, due: float) -> tuple[Cause, str | None]:
    """Why a watchdog that is waiting or alive was due at ``due``, and a reason where that needs one."""
    demand = None if record.details is None else record.details.demand
    if demand is not None and demand.due <= due:
        return demand.cause, f"{demand.reason}: {demand.seen}" if demand.seen else demand.reason
    return _silence_of(record, due), None


def _silence_of(record: Record, due: float) -> Cause:
    if record.is_check:
        return Cause.CHECK
    if record.state is State.WAITING:
        return Cause.GRACE
    stalled, details = stalls_at(record), record.details
    if stalled is None or details is None or max(stalled, details.progress_allowed.until) > due:
        return Cause.TIMEOUT
    # Where both were held after a restart, the earlier one counts.
    was_silent_first = details.allowed.until == due and feed_deadline(record) < stalled
    return Cause.TIMEOUT if was_silent_first else Cause.NO_PROGRESS


@dataclass(eq=False)
class Incidents:
    """``run_id`` makes incident ids unique among all runs of all supervisors.

    The methods that return a bool: True means that a budget is spent, and the caller gives the incident up.
    """

    _table: Table
    _history: FeedHistory
    _run_id: str
    _jitter: Callable[[], float]
    """gives numbers in [0, 1) for backoff"""
    _count: int = 0
    _pace: RepeatPace = field(default_factory=RepeatPace)
    _excused: dict[str, dict[Record, None]] = field(default_factory=dict)
    """by the watchdog that is down: those whose incidents are blamed on it"""

    def open(
        self, record: Record, cause: Cause, due: float, now: float, out: list[Effect], reason: str | None,
        claimed: str | None = None,
    ) -> bool:  # fmt: skip
        """Open an incident, run the callback for the first time, and begin to escalate. ``claimed``: its id, where
        a claim has given it one.

        While a watchdog that this one depends on is down, the incident is marked and not escalated.
        """
        details = record.detailed()
        if cause is Cause.TIMEOUT and reason is None and details.scope is not None:
            reason = details.scope.late_text(now - record.fed_at)
        elif cause is Cause.GRACE and reason is None:
            reason = _unfed(record, details)
        details.incidents += 1
        self._table.end_extension(record)
        if (member := member_of(record, record.owner)) is not None:
            member.extended_until, member.allowed = None, NOTHING_ALLOWED
            self._table.mark_changed(record)  # whom it is about is known after a restart, too
        death, details.exited_how = details.exited_how, None
        details.exited_at = details.exited_at if details.ended else None  # that is looked at in the incident
        details.stopped_with = details.back_by = None
        details.cause = cause
        incident = OpenIncident(
            claimed or self.new_id(), cause, now, 1, now + record.declaration.interval, reason,
            death=death, failed_at=now if cause is Cause.FAILED else None, climbing_since=now,
        )  # fmt: skip
        details.incident = incident
        blamed = down(self._table, record, now)
        run = callback_run(record, incident, due, now)
        data = incident_data(record, run, now)
        incident.feeds = self._history.feeds(record, now, EVIDENCE_MAX)
        if incident.feeds:
            data["feeds"] = incident.feeds
        if record.is_check:
            data |= check_data(record, now)
        if blamed is not None:
            self.blame(record, incident, blamed, now)
            out.append(Event(EventType.EXPIRED, record.name, {**data, "blamed": blamed}))
            return False
        out.append(Event(EventType.EXPIRED, record.name, data))
        out.append(run)
        return self._begin(record, incident, now, out)

    def new_id(self) -> str:
        """An id that no other incident has."""
        self._count += 1
        return f"{self._run_id}-{self._count}"

    def escalate(self, record: Record, due: float, now: float, out: list[Effect]) -> bool:
        """Still silent: the ladder's next step if that is what was due, else the callback once more."""
        incident = record.incident
        assert incident is not None
        if incident.blamed is not None or incident.recovering:
            return self._excuse(record, incident, due, now, out)
        step = incident.next_step
        if step is not None and step.when <= due:
            return self._climb(record, incident, now, out)
        # Runs that a stall made miss are not made up for.
        interval = record.declaration.interval
        after = due + interval if due + interval > now else now + interval
        incident.next_run = self._pace.next_run(self._table.turns.of(record.name), after, now)
        incident.runs += 1
        self._repeat_callback(record, incident, due, now, out)
        return False

    def close(self, record: Record, how: str, now: float, out: list[Effect], *, recovered: bool) -> None:
        """Close the open incident, if there is one; it may have been given up."""
        details = record.details
        incident = None if details is None else details.open_incident
        if details is None or incident is None:
            return
        details.incident = details.given_up = None
        self._excused.get(incident.blamed or "", {}).pop(record, None)
        lasted = now - incident.opened
        kind = EventType.RECOVERED if recovered else EventType.CLOSED
        data = {"incident": incident.id, "lasted": lasted, "runs": incident.runs, "how": how}
        out.append(Event(kind, record.name, data))
        steps = tuple(incident.step_counts)
        out.append(EndIncident(record.name, incident.id, incident.opened, lasted, how, steps))

    def replay(self, name: str, now: float) -> Event | None:
        """The open incident of ``name`` as an event, for a listener that came late; None: there is none, or its
        callback has not run yet."""
        record = self._table.by_name.get(name)
        incident = None if record is None else record.incident
        if record is None or incident is None or incident.recovering:
            return None
        kind = EventType.EXPIRED if incident.runs == 1 else EventType.CALLBACK_REPEATED
        data = {**incident_data(record, callback_run(record, incident, now, now), now), "replay": True}
        return Event(kind, record.name, data if incident.blamed is None else {**data, "blamed": incident.blamed})

    def _repeat_callback(
        self, record: Record, incident: OpenIncident, due: float, now: float, out: list[Effect]
    ) -> None:
        run = callback_run(record, incident, due, now)
        out.append(Event(EventType.CALLBACK_REPEATED, record.name, incident_data(record, run, now)))
        out.append(run)

    def blame(self, record: Record, incident: OpenIncident, parent: str, now: float) -> None:
        """Mark an incident that begins now, or is not escalated yet. One that began before ``parent`` fell is the
        watchdog's own."""
        self._excused.get(incident.blamed or "", {}).pop(record, None)
        self._excused.setdefault(parent, {})[record] = None
        incident.blamed, incident.next_step, incident.recovering = parent, None, False
        incident.presumed = not self._table.by_name[parent].is_down
        declared = record.declaration
        wait = RECHECK_S if incident.presumed else min(declared.interval, declared.timeout)
        incident.next_run = now + wait

    def is_back(self, name: str, now: float) -> None:
        """A watchdog is down no longer: the marks of those that depend on it end. Each has a whole timeout to
        follow."""
        for record in self._excused.pop(name, ()):
            incident = record.incident
            if incident is None or incident.blamed != name:
                continue
            other = down(self._table, record, now)
            if other is not None:
                self.blame(record, incident, other, now)
            else:
                incident.blamed, incident.presumed, incident.recovering = None, False, True
                incident.next_run = now + record.declaration.timeout
            self._table.arm(record)

    def _excuse(self, record: Record, incident: OpenIncident, due: float, now: float, out: list[Effect]) -> bool:
        """Marked while a watchdog that this one depends on is down; when that is back, this one has a whole timeout
        to follow. After that the silence is its own: the callback runs, and escalation begins."""
        blamed = down(self._table, record, now)
        if blamed is not None:
            self.blame(record, incident, blamed, now)
            return False
        self._excused.get(incident.blamed or "", {}).pop(record, None)
        incident.blamed, incident.recovering, incident.presumed = None, False, False
        incident.next_run = now + record.declaration.interval
        self._repeat_callback(record, incident, due, now, out)
        return self._begin(record, incident, now, out)

    # -- the climb: the arithmetic of ladders is in ladder.py -------------------------------------

    def _begin(self, record: Record, incident: OpenIncident, now: float, out: list[Effect]) -> bool:
        """Climb from the bottom. True: a budget is spent already, and the incident is to be given up."""
        incident.climbing_since, incident.backed_off = now, False
        incident.next_step = first_step(ladder_of(record), now)
        return self._climb(record, incident, now, out)

    def _climb(self, record: Record, incident: OpenIncident, now: float, out: list[Effect]) -> bool:
        """Take every step that is due by ``now``. True: a step's budget is spent, and the incident is to be given
        up."""
        ladder = ladder_of(record)
        details = record.detailed()
        while (planned := incident.next_step) is not None and planned.when <= now:
            step = ladder.steps[planned.number]
            earlier = runs_of(details, ladder, planned.number) if step.budget or step.backoff else []
            if step.budget is not None:
                earlier[:] = [at for at in earlier if now - at < step.budget.period]
                if len(earlier) >= step.budget.runs:
                    return True
            if step.backoff is not None and not incident.backed_off:
                incident.backed_off = True
                wait = delay(step.backoff, len(earlier), self._jitter())
                incident.next_step = NextStep(now + wait, planned.number)
                continue
            incident.backed_off = False
            if step.budget or step.backoff:
                earlier.append(now)
                del earlier[:-RUNS_MAX]
            self._run(record, incident, step, planned, now, out)
            incident.next_step = following_step(ladder, incident.climbing_since, planned, now)
        return False

    def give_up(self, record: Record, now: float, out: list[Effect]) -> None:
        """Give the open incident up: ``on_give_up`` runs, and nothing more by itself."""
        details = record.detailed()
        incident = details.incident
        assert incident is not None
        ladder = ladder_of(record)
        data = {"incident": incident.id, "lasted": now - incident.opened, "runs": incident.runs}
        out.append(Event(EventType.GIVEN_UP, record.name, {**data, **process_data(record)}))
        for number, step in enumerate(ladder.on_give_up, len(ladder.steps)):
            self._run(record, incident, step, NextStep(now, number), now, out)
        incident.next_step = None
        details.given_up, details.incident = incident, None

    def follow_reload(self, record: Record, before: Policy | None) -> None:
        """The operator's policy was ``before``: an open incident goes on where it stood, on the ladder of now."""
        incident = record.incident
        if incident is None or incident.next_step is None or before is None:
            return
        planned, since = incident.next_step, incident.climbing_since
        incident.next_step = step_after_reload(before.ladder, ladder_of(record), planned, since)
        if incident.next_step is None or incident.next_step.when != planned.when:
            incident.backed_off = False  # that was another step's backoff

    def _run(
        self, record: Record, incident: OpenIncident, step: Step, at: NextStep, now: float, out: list[Effect]
    ) -> None:
        number, due = at.number, at.when
        count = incident.step_counts.get(number, 0) + 1
        incident.step_counts = {**incident.step_counts, number: count}
        about = callback_run(record, incident, due, now)
        observe = ladder_of(record).observe
        feeds = incident.feeds if incident.opened == now else self._history.feeds(record, now, EVIDENCE_MAX)
        data = {"incident": incident.id, "step": number, "run": count, "do": step.do, "late": now - due}
        if step.level is not None:
            data["level"] = step.level
        beginning = None if observe else Event(EventType.ACTION, record.name, data)
        if beginning is None:
            out.append(Event(EventType.WOULD_ACT, record.name, data))
        scope = None if record.details is None else record.details.scope
        if scope is not None:
            scope = scope._replace(age=scope.age + now - record.fed_at)
        check = None if record.policy is None else record.policy.check
        if check is None:
            out.append(RunStep(about, step, number, count, observe, record.owner, feeds, scope, beginning))
            return
        owner = self._table.by_name.get(check.of)
        process = None if owner is None else owner.owner
        is_found = process is None
        if is_found:
            process = next(self._found_by_checks(check.of), None)
        out.append(
            RunStep(
                about,
                step,
                number,
                count,
                observe,
                process,
                beginning=beginning,
                is_found=is_found,
                acts_on=check.of,
            )
        )

    def _found_by_checks(self, owner: str) -> Iterator[ProcessIdentity]:
        """The process of an owner that feeds nothing, as its checks have found it: in a pid file, say."""
        for record in map(self._table.by_name.get, self._table.checks_of.get(owner, ())):
            state = None if record is None or record.details is None else record.details.check
            if state is not None and state.process is not None:
                yield state.process


def _unfed(record: Record, details: Details) -> str:
    """Why there is an incident of what was not fed in its grace."""
    grace = f"{record.declaration.grace:g} s"
    if details.stopped_with is not None:
        return f"not fed again since {details.stopped_with} was started again"
    if is_section(record.name):
        return f"{record.name.rpartition('@')[0]!r} has run for longer than its {grace}"
    if record.owner is None:
        return f"never fed in its {grace} grace: does it call banken?"
    return f"its worker declared it, and never fed it in its {grace} grace"


def runs_of(details: Details, ladder: Ladder, index: int) -> list[float]:
    """When this step ran before, to be added to. Steps that the ladder no longer has are dropped as soon as there
    are many."""
    key = step_key(ladder, index)
    if key not in details.step_runs and len(details.step_runs) >= STEPS_MAX:
        known = {step_key(ladder, each) for each in range(len(ladder.steps))}
        details.step_runs = {each: ran for each, ran in details.step_runs.items() if each in known}
    if key not in details.step_runs:
        details.step_runs = {**details.step_runs, key: []}
    return details.step_runs[key]


# -- depends_on ----------------------------------------------------------------------------------


def down(table: Table, record: Record, now: float) -> str | None:
    """The first of those it depends on that is down, or about to be found so."""
    if record.policy is None:
        return None
    for name in _depends(table, record, record.policy):
        parent = table.by_name.get(name)
        if parent is None or parent is record:
            continue
        if parent.is_down:
            if not _blames(table, parent, record):
                return name
            continue
        due = deadline(parent)
        if parent.is_judged and due is not None and due <= now:
            return name
    return None


def _depends(table: Table, record: Record, policy: Policy) -> Iterator[str]:
    """What it depends on, and the checks of that; a check depends on its owner, not on the owner's other checks."""
    own = None if policy.check is None else policy.check.of
    for name in policy.depends_on:
        yield name
        if name != own:
            yield from table.checks_of.get(name, ())


def _blames(table: Table, parent: Record, record: Record) -> bool:
    """Whether the parent's own incident is blamed on ``record``: then nobody would be notified of either."""
    seen = {parent.name}
    while parent.incident is not None:
        name = parent.incident.blamed
        if name == record.name:
            return True
        above = None if name is None or name in seen else table.by_name.get(name)
        if above is None:
            return False
        seen.add(above.name)
        parent = above
    return False
