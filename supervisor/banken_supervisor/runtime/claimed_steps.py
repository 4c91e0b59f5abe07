"""The steps of a leader's incidents: each is written in the claim before its action begins and is told, and when it
has ended.

Belongs to the loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from banken.clock import wall
from banken_supervisor.actions.target import ActionReport
from banken_supervisor.coordination.records import Begun, Claim
from banken_supervisor.engine.effects import EndIncident, Event, EventType, RunStep
from banken_supervisor.runtime.claimed_incidents import with_ended
from banken_supervisor.runtime.claimed_work import ClaimedWork
from banken_supervisor.runtime.incident_terms import Terms

REPEATABLE = frozenset({"log", "notify", "webhook"})
"""Actions that may be begun again by the next leader, where nobody knows whether they were done: whoever gets a
message twice, under one id, has got it once."""


@dataclass(eq=False)
class ClaimedSteps:
    """``run_step``: tells that a step's action begins, and has it run."""

    _work: ClaimedWork
    _terms: Terms
    _run_step: Callable[[RunStep], None]
    _tell: Callable[[Event], None]

    def take(self, effect: RunStep) -> bool:
        """A step of the ladder is due. True: its claim is written first; False: it is no matter of the cluster."""
        name, incident = effect.about.name, effect.about.incident
        if incident not in self._terms:
            return False
        claim = self._work.get(name)
        if claim is not None and claim.id == incident:
            begun = Begun(effect.number, effect.run, effect.step.do, wall())
            self._work.want(name, claim._replace(begun=(*claim.begun, begun)), partial(self._run_step, effect))
        return True

    def ran(self, effect: RunStep) -> None:
        """A former leader has begun this step. If it is not known to have ended, it is done again where that does
        no harm."""
        claim = self._work.get(effect.about.name)
        if claim is None or claim.id != effect.about.incident:
            return
        run = next((each for each in claim.begun if (each.step, each.run) == (effect.number, effect.run)), None)
        if run is None or run.ended:
            return
        if run.action in REPEATABLE:
            self._work.do(partial(self._run_step, effect))
            return
        data = {"incident": claim.id, "step": run.step, "run": run.run, "do": run.action}
        self._tell(Event(EventType.ACTION_UNKNOWN, effect.about.name, data))
        self._end(effect.about.name, claim, run.step, run.run)

    def acted(self, report: ActionReport) -> None:
        """An action has ended."""
        target = report.target
        claim = self._work.get(target.incident.name)
        if claim is not None and claim.id == target.incident.id and not target.recovered:
            self._end(target.incident.name, claim, target.step, target.run)

    def gave_up(self, name: str) -> None:
        """The incident of this watchdog is given up."""
        if (claim := self._work.get(name)) is not None:
            self._work.note(name, claim._replace(given_up=True))

    def ended(self, effect: EndIncident) -> None:
        """An incident is closed."""
        claim = self._work.get(effect.name)
        if claim is not None and claim.id == effect.incident:
            self._work.drop(effect.name)

    def _end(self, name: str, claim: Claim, step: int, run: int) -> None:
        ended = with_ended(claim, step, run)
        if ended != claim:
            self._work.note(name, ended)
