"""The steps of a leader's incidents: each is written in the claim before its action begins and is told, and when it
has ended.

Belongs to the loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from banken.clock import wall
from banken_supervisor.actions.target import CUT, ActionReport
from banken_supervisor.coordination.records import Begun, Claim
from banken_supervisor.engine.effects import EndIncident, Event, EventType, RunStep
from banken_supervisor.runtime.brake import Brake
from banken_supervisor.runtime.claimed_incidents import with_begun, with_ended, without
from banken_supervisor.runtime.claimed_work import ClaimedWork
from banken_supervisor.runtime.incident_terms import Terms

REPEATABLE = frozenset({"log", "notify", "webhook"})
"""Actions that may be begun again by the next leader, where nobody knows whether they were done: whoever gets a
message twice, under one id, has got it once."""


class _Key(NamedTuple):
    """One run of a step."""

    incident: str
    step: int
    run: int


@dataclass(eq=False)
class ClaimedSteps:
    """``run_step``: tells that a step's action begins, and has it run."""

    _work: ClaimedWork
    _terms: Terms
    _brake: Brake
    _run_step: Callable[[RunStep], None]
    _tell: Callable[[Event], None]
    _spend: Callable[[str, Claim], bytes | None]
    """gets the claim of an incident that is closed: what is to be written of its budgets"""
    _begun: dict[_Key, RunStep] = field(default_factory=dict)
    """what this member has had run, until it is reported"""
    _interrupted: set[_Key] = field(default_factory=set)
    """those of them that were under way when this member stopped leading last"""
    _reported: dict[_Key, bool] = field(default_factory=dict)
    """and those that were reported before it led again: whether they were done"""
    _dropped: dict[_Key, str] = field(default_factory=dict)
    """what this member has had run in its term, and was not begun: the watchdog"""

    def stop(self) -> None:
        """This member leads no longer. What it has had run is reported in any case: done, or dropped."""
        self._interrupted = set(self._begun)
        self._reported.clear()
        self._dropped.clear()

    def take(self, effect: RunStep) -> bool:
        """A step of the ladder is due. True: its claim is written first; False: it is no matter of the cluster."""
        incident = effect.about.incident
        if incident not in self._terms:
            return False
        if not self._brake.delays(incident, effect.step.do, partial(self._take, effect)):
            self._take(effect)
        return True

    def _take(self, effect: RunStep) -> None:
        name, incident = effect.about.name, effect.about.incident
        claim = self._work.get(name)
        if claim is not None and claim.id == incident:
            begun = Begun(effect.number, effect.run, effect.step.do, wall())
            wanted = with_begun(claim, begun, effect.step)
            self._work.want(name, wanted, partial(self._run, effect), lambda claim: without(claim, begun))

    def ran(self, effect: RunStep) -> None:
        """A former leader has begun this step. If it is not known to have ended, it is done again where that does
        no harm, or where it was this member and has not done it."""
        claim = self._work.get(effect.about.name)
        if claim is None or claim.id != effect.about.incident:
            return
        run = next((each for each in claim.begun if (each.step, each.run) == (effect.number, effect.run)), None)
        key = _key(effect)
        if run is None or run.ended or key in self._begun:
            return
        was_done = self._reported.pop(key, None)
        if was_done:
            self._end(effect.about.name, claim, run.step, run.run)
            return
        if run.action in REPEATABLE or was_done is False:
            self._work.do(effect.about.name, claim.id, partial(self._run, effect))
            return
        data = {"incident": claim.id, "step": run.step, "run": run.run, "do": run.action}
        self._tell(Event(EventType.ACTION_UNKNOWN, effect.about.name, data))
        self._end(effect.about.name, claim, run.step, run.run)

    def acted(self, report: ActionReport) -> None:
        """An action has ended, or was dropped."""
        target = report.target
        if target.recovered:
            return
        key = _Key(target.incident.id, target.step, target.run)
        effect = self._begun.pop(key, None)
        claim = self._work.get(target.incident.name)
        was_done = report.type is not EventType.ACTION_DROPPED and not report.data.get(CUT)
        if effect is not None and key in self._interrupted:
            self._interrupted.discard(key)
            if self._work.claims is None:
                self._reported[key] = was_done
            elif claim is not None and claim.id == key.incident and not was_done:
                self._work.do(target.incident.name, claim.id, partial(self._run, replace(effect, beginning=None)))
                return
        if claim is None or claim.id != key.incident:
            return
        if report.type is EventType.ACTION_DROPPED:
            self._dropped[key] = target.incident.name
            self._give_back(target.incident.name, claim)
        elif was_done:
            self._end(target.incident.name, claim, target.step, target.run)

    def give_back(self) -> None:
        """This member is about to end, and what only waited for its claim is undone."""
        for name in set(self._dropped.values()):
            if (claim := self._work.get(name)) is not None:
                self._give_back(name, claim)

    def gave_up(self, name: str) -> None:
        """The incident of this watchdog is given up."""
        if (claim := self._work.get(name)) is not None:
            self._work.note(name, claim._replace(given_up=True))

    def ended(self, effect: EndIncident) -> None:
        """An incident is closed."""
        self._brake.ended(effect.incident)
        self._dropped = {key: name for key, name in self._dropped.items() if key.incident != effect.incident}
        claim = self._work.get(effect.name)
        if claim is not None and claim.id == effect.incident:
            self._work.drop(effect.name, self._spend(effect.name, claim))

    def _run(self, effect: RunStep) -> None:
        key = _key(effect)
        self._begun[key] = effect
        self._dropped.pop(key, None)
        self._run_step(effect)

    def _give_back(self, name: str, claim: Claim) -> None:
        """What was not begun is due again, for whoever leads next. Not below a step that was begun: there the next
        leader begins nothing, and says that it is not known."""
        left, before = claim, None
        while left.begun and left != before:
            last = max(left.begun, key=lambda each: (each.step, each.run))
            if _Key(left.id, last.step, last.run) not in self._dropped:
                break
            left, before = without(left, last), left
        if left != claim:
            self._work.note(name, left)

    def _end(self, name: str, claim: Claim, step: int, run: int) -> None:
        ended = with_ended(claim, step, run)
        if ended != claim:
            self._work.note(name, ended)


def _key(effect: RunStep) -> _Key:
    return _Key(effect.about.incident, effect.number, effect.run)
