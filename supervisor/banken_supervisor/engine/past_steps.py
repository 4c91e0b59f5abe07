"""The steps that were begun in an incident before it was taken up again: where its climb goes on, and what of them
counts for the budgets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from banken_supervisor.engine.descriptions import callback_run
from banken_supervisor.engine.effects import Effect, RunStep, StepRan
from banken_supervisor.engine.incidents import RUNS_MAX, ladder_of
from banken_supervisor.engine.ladder import Ladder, NextStep, Step, StepKey, first_step, following_step, step_key
from banken_supervisor.engine.record import OpenIncident, Record
from banken_supervisor.engine.snapshot import PastIncident, PastRun


def _still_there(runs: Iterable[PastRun], steps: tuple[Step, ...]) -> list[PastRun]:
    """The runs of steps that stand where they stood; ``steps``: those that count."""
    return [each for each in runs if each.step < len(steps) and steps[each.step].do == each.action]


def report_past_steps(record: Record, past: PastIncident, incident: OpenIncident, out: list[Effect]) -> None:
    """Which steps were begun: their recipients wait to hear of the end."""
    ladder = ladder_of(record)
    steps = ladder.steps + ladder.on_give_up
    about = replace(
        callback_run(record, incident, incident.opened, incident.opened),
        silence=past.silence, timeout=past.timeout, run=1, status=past.status, progress=past.progress,
    )  # fmt: skip
    latest = {each.step: each for each in sorted(past.steps, key=lambda each: each.run)}
    out.extend(
        StepRan(RunStep(about, steps[each.step], each.step, each.run, False, record.owner))
        for each in _still_there(sorted(latest.values()), steps)
    )


def next_step_of(record: Record, incident: OpenIncident, ran: tuple[PastRun, ...], now: float) -> NextStep | None:
    """The ladder's next, given what was begun."""
    ladder = ladder_of(record)
    if not ladder.steps:
        return None
    depends_on = () if record.policy is None else record.policy.depends_on
    if depends_on and not ladder.observe:  # else what would have been done is not kept
        incident.climbing_since = max(incident.climbing_since, _began_by(ladder.steps, ran, now))
    since = incident.climbing_since
    on_it = _still_there(ran, ladder.steps)
    if on_it:
        last = max(on_it)  # a climb never goes down
        return following_step(ladder, since, NextStep(now - last.age, last.step), now)
    if ladder.observe or ran:  # what would have been done is not announced twice; or the ladder has changed
        for index, step in enumerate(ladder.steps):
            if since + step.after > now:
                return NextStep(since + step.after, index)
        again = ladder.steps[-1].repeat
        return None if again is None else NextStep(now + again, len(ladder.steps) - 1)
    if depends_on and ladder.steps[0].after <= 0.0:
        # Else its first step would have been begun: it was excused, and may follow now.
        incident.recovering = True
        return None
    return first_step(ladder, since)


def _began_by(steps: tuple[Step, ...], ran: tuple[PastRun, ...], now: float) -> float:
    """No climb that has begun only so many of its steps began later. One whose incident was blamed at first began
    after its verdict, which nothing that is kept says: at the verdict, all of its steps would be overdue."""
    if not ran:
        return now - steps[0].after
    return min(now - each.age - _at_least_after(steps, each) for each in ran)


def _at_least_after(steps: tuple[Step, ...], run: PastRun) -> float:
    """Seconds since the climb began. Of a step that is repeated, the last run may be all that is kept."""
    if not _still_there((run,), steps):
        return 0.0
    step = steps[run.step]
    return step.after + (run.run - 1) * (step.repeat or 0.0)


def spend(record: Record, ran: Iterable[PastRun], now: float) -> None:
    """Budgets count what was run before."""
    for key, times in spent_of(ladder_of(record), ran, now).items():
        details = record.detailed()
        details.step_runs = {**details.step_runs, key: [*details.step_runs.get(key, ()), *times]}


def spent_of(ladder: Ladder, ran: Iterable[PastRun], now: float) -> dict[StepKey, list[float]]:
    """When each step of this ladder ran that has a budget or a backoff."""
    found: dict[StepKey, list[float]] = {}
    for each in sorted(_still_there(ran, ladder.steps), key=lambda each: -each.age):
        step = ladder.steps[each.step]
        if step.budget is not None or step.backoff is not None:
            times = found.setdefault(step_key(ladder, each.step), [])
            times.append(now - each.age)
            del times[:-RUNS_MAX]
    return found
