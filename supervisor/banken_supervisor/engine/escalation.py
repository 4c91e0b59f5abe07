"""The climb: which steps of its ladder an open incident takes, and when it is given up.

The arithmetic of ladders is in ladder.py; here it is applied to records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from banken_supervisor.engine.descriptions import callback_run, process_data
from banken_supervisor.engine.effects import Effect, Event, EventType, RunStep
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
    within_budget,
)
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.record import Details, OpenIncident, Record

RUNS_MAX = 1000
"""Times of earlier runs that are remembered per step for budget and backoff."""

NO_LADDER = Ladder(())


def ladder_of(record: Record) -> Ladder:
    """The ladder in force; an empty one where the operator gave none."""
    return NO_LADDER if record.policy is None else record.policy.ladder


@dataclass(eq=False)
class Escalation:
    """``jitter`` gives numbers in [0, 1) for backoff."""

    _history: FeedHistory
    _jitter: Callable[[], float]

    def begin(self, record: Record, incident: OpenIncident, now: float, out: list[Effect]) -> bool:
        """Climb from the bottom. True: a budget is spent already, and the incident is to be given up."""
        incident.climbing_since, incident.backed_off = now, False
        incident.next_step = first_step(ladder_of(record), now)
        return self.climb(record, incident, now, out)

    def climb(self, record: Record, incident: OpenIncident, now: float, out: list[Effect]) -> bool:
        """Take every step that is due by ``now``. True: a step's budget is spent, and the incident is to be given
        up."""
        ladder = ladder_of(record)
        details = record.detailed()
        while (planned := incident.next_step) is not None and planned.when <= now:
            step = ladder.steps[planned.number] if planned.number < len(ladder.steps) else None
            if step is None:  # the ladder was changed during the climb
                incident.next_step = None
                return False
            earlier = runs_of(details, ladder, planned.number) if step.budget or step.backoff else []
            if step.budget is not None:
                earlier[:] = [at for at in earlier if now - at < step.budget.period]
                if not within_budget(earlier, now, step.budget):
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
            self._run(record, incident, step, planned.number, planned.when, now, out)
            incident.next_step = following_step(ladder, incident.climbing_since, planned, now)
        return False

    def stop(self, record: Record, now: float, out: list[Effect]) -> None:
        """Give the open incident up: ``on_give_up`` runs, and nothing more by itself."""
        details = record.detailed()
        incident = details.incident
        assert incident is not None
        ladder = ladder_of(record)
        data = {"incident": incident.id, "lasted": now - incident.opened, "runs": incident.runs}
        out.append(Event(EventType.GIVEN_UP, record.name, {**data, **process_data(record)}))
        for number, step in enumerate(ladder.on_give_up, len(ladder.steps)):
            self._run(record, incident, step, number, now, now, out)
        details.given_up, details.incident = incident, None

    def follow_reload(self, record: Record, before: Policy | None) -> None:
        """The operator's policy was ``before``: an open incident goes on where it stood, on the ladder of now."""
        incident = record.incident
        if incident is None or incident.next_step is None or before is None:
            return
        ladder = ladder_of(record)
        if before.ladder == ladder:
            return
        planned = incident.next_step
        incident.next_step = step_after_reload(before.ladder, ladder, planned, incident.climbing_since)
        if incident.next_step is None or incident.next_step.when != planned.when:
            incident.backed_off = False  # that was another step's backoff

    def _run(
        self,
        record: Record,
        incident: OpenIncident,
        step: Step,
        number: int,
        due: float,
        now: float,
        out: list[Effect],
    ) -> None:
        count = incident.step_counts[number] = incident.step_counts.get(number, 0) + 1
        about = callback_run(record, incident, due, now)
        observe = ladder_of(record).observe
        feeds = incident.feeds if incident.opened == now else self._history.feeds(record, now, EVIDENCE_MAX)
        data = {"incident": incident.id, "step": number, "run": count, "do": step.do, "late": now - due}
        if step.level is not None:
            data["level"] = step.level
        # The event comes first: the journal has it before the action begins.
        out.append(Event(EventType.WOULD_ACT if observe else EventType.ACTION, record.name, data))
        out.append(RunStep(about, step, number, count, observe, record.owner, feeds))


def runs_of(details: Details, ladder: Ladder, index: int) -> list[float]:
    """When this step ran before, to be added to. Steps that the ladder no longer has are dropped as soon as there
    are many."""
    key = step_key(ladder, index)
    if key not in details.step_runs and len(details.step_runs) >= STEPS_MAX:
        known = {step_key(ladder, each) for each in range(len(ladder.steps))}
        details.step_runs = {each: ran for each, ran in details.step_runs.items() if each in known}
    return details.step_runs.setdefault(key, [])
