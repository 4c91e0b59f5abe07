"""The threads that run actions.

The actions of one watchdog run strictly in the order in which they were submitted, so that evidence is taken
before anything is killed; those of different watchdogs run side by side (``keyed_executor``). The next action of a
watchdog does not wait for one that is stuck.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from banken.clock import wall
from banken_supervisor.actions.action_context import ActionContext
from banken_supervisor.actions.base import Action
from banken_supervisor.actions.job import How, Job, WasEnded
from banken_supervisor.actions.keyed_executor import STOPPED, THREADS_MAX, KeyedExecutor
from banken_supervisor.actions.own_action import OwnActions, made_of, raised, redacted
from banken_supervisor.actions.target import CUT, ActionReport, ActionTarget, IncidentEnd, Outcome, StopReason
from banken_supervisor.engine.effects import EventType
from banken_supervisor.text import sanitize

OUTSIDE_SHARE = 0.75
"""The part of the threads that may wait for the outside."""

EVIDENCE_MAX = 32
"""Incidents whose evidence is kept for their later actions."""

HANDED_OVER = "another supervisor leads now"

_WHY_DROPPED = {StopReason.HANDED_OVER: HANDED_OVER, StopReason.STOPPING: STOPPED}

_TYPES = {
    How.RAISED: EventType.ACTION_FAILED,
    How.STUCK: EventType.ACTION_STUCK,
    How.REFUSED: EventType.ACTION_SKIPPED,
    How.DROPPED: EventType.ACTION_DROPPED,
    How.WAITS: EventType.ACTION_FAILED,
}


class FirstLane(NamedTuple):
    """The lane of a watchdog's steps that wait for none of its others."""

    name: str


@dataclass(slots=True, eq=False)
class Run:
    action: Action
    target: ActionTarget
    started_at: float | None = None
    """wall clock"""
    ended: IncidentEnd | None = None
    """None: not begun. To make 10,000 events when all watchdogs expire at once would take long"""

    def ends_with(self, incident: str | None) -> bool:
        """Whether the end of ``incident`` (None: of any) ends it: not the news of that end, nor a message about
        further incidents."""
        target = self.target
        return not target.others and not target.recovered and incident in (None, target.incident.id)


class Executor:
    """Runs actions in ``context``. ``report`` is called from any thread, with what became of each."""

    def __init__(
        self,
        context: ActionContext,
        report: Callable[[ActionReport], None],
        *,
        threads_max: int = THREADS_MAX,
    ) -> None:
        self._context = context
        self._report = report
        outside_max = max(1, int(threads_max * OUTSIDE_SHARE))
        self._jobs = KeyedExecutor("banken-action", self._ran, threads_max=threads_max, outside_max=outside_max)
        self.counts = self._jobs.counts
        self.patience = self._jobs.patience
        self.check = self._jobs.check
        self.elsewhere: OwnActions | None = None
        """runs the user's own actions in a process of their own; None: they run here, on threads"""
        self.may_start_processes = False
        """whether an action has run that may have started what lives on: a command, or a user's own action"""
        self.permits: Callable[[ActionTarget], bool] = lambda target: True
        """whether an action may begin: asked on its thread, immediately before"""
        self._lock = threading.Lock()
        self._evidence: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def submit(self, actions: Iterable[Action], target: ActionTarget, lane: Hashable = None) -> None:
        """Have these actions run in this order, after everything that was submitted for the watchdog before.

        An action of the same incident that has not ended is not begun again. ``lane``: after everything of that
        lane instead; ``cancel`` then does not drop what has not begun, but for a ``FirstLane``.
        """
        incident = target.incident
        for action in actions:
            run = Run(action, target)
            # A message about many incidents is always a new one.
            same = None if target.others else (id(action), incident.id, target.recovered)
            work = partial(self._perform, run)
            self._jobs.submit(
                Job(
                    incident.name if lane is None else lane, work, run, _owner(target), same, action.limit_s,
                    action.outside, subject=incident.name,
                )
            )  # fmt: skip

    def hand_on(
        self,
        action: Action,
        target: ActionTarget,
        receive: Callable[[Action, ActionTarget], None],
        lane: Hashable = None,
    ) -> None:
        """Instead of running it, pass the action to ``receive``, on a thread and in the order of its lane: with the
        evidence that the watchdog's earlier actions took. The receiver reports what becomes of it."""
        same = id(action), target.incident.id

        def work() -> None:
            receive(action, self._with_evidence(target))

        name, run = target.incident.name, Run(action, target)
        self._jobs.submit(Job(name if lane is None else lane, work, run, _owner(target), same, subject=name))

    def cancel(self, name: str, incident: str | None = None, why: StopReason = StopReason.ENDED) -> int:
        """An incident of ``name`` ended (None: any of it): drop what has not begun, set ``ended`` for what runs.

        Or another reason why nothing more is done for it. Notifications of recovery stay. Returns how many were
        dropped.
        """
        # First what waits, then what runs: one that begins between is ended all the same.
        dropped = self._jobs.drop((name, FirstLane(name)), lambda job: job.about.ends_with(incident))
        for job in self._jobs.begun_about(name):
            if job.about.ends_with(incident):
                self._ended(job.about).end(why)
        self._tell_dropped(dropped, _WHY_DROPPED.get(why, "the incident ended before"))
        return len(dropped)

    def runs(self, kind: type[Action]) -> bool:
        """Whether an action of this kind has begun, and was not reported yet."""
        return any(isinstance(job.about.action, kind) and not job.stuck for job in self._jobs.begun())

    def stop(self) -> None:
        """The supervisor stops: nothing begins but messages to people, and what runs waits no longer. What begins
        until ``close`` is told then. A message about a cluster's open incidents is the next leader's."""
        dropped = self._jobs.drop(
            None, lambda job: job.about.action.recipient is None or job.about.target.is_next_leaders
        )
        self._tell_dropped(dropped, STOPPED)
        for job in self._jobs.begun():
            self._ended(job.about).end(StopReason.STOPPING)

    def close(self, wait: float) -> int:
        """Begin nothing more; wait at most ``wait`` seconds for what runs. How many then ran or were stuck."""
        self._jobs.close(0.0)
        self.stop()
        return self._jobs.close(wait)

    def _tell_dropped(self, dropped: Iterable[Job], text: str) -> None:
        for job in dropped:
            with contextlib.suppress(Exception):  # a fault of one action, or of the listener, must not end the loop
                self._publish(job.about, EventType.ACTION_DROPPED, text)

    # -- on the threads -----------------------------------------------------------------------------

    def _perform(self, run: Run) -> tuple[EventType, str, dict[str, Any]] | None:
        if not self._keep_permitted(run):
            return None
        run.started_at = wall()
        try:
            made, elsewhere = made_of(run.action), self.elsewhere
            own = type(run.action).__module__.startswith(__package__)
            self.may_start_processes |= run.action.outside or not own
            perform = run.action.run if made is None or elsewhere is None else partial(elsewhere.run, made)
            outcome = perform(self._with_evidence(run.target), self._context, self._ended(run))
            if not isinstance(outcome, Outcome):
                raise TypeError(f"an action returns an Outcome, not {type(outcome).__name__}")
            data = sanitize.plain(outcome.data)
            if isinstance(found := data.get("evidence"), dict):
                self.keep_evidence(run.target.incident.id, found)
            if isinstance(output := data.get("output"), str) and (lines := sanitize.last_lines(output)):
                what = {"of": sanitize.line(str(outcome.text)), "lines": lines}
                self.keep_evidence(run.target.incident.id, {"outputs": [what]})
            if outcome.skipped:
                run.started_at = None
                is_due = data.get(CUT) is True
                return EventType.ACTION_DROPPED if is_due else EventType.ACTION_SKIPPED, str(outcome.text), data
            return EventType.ACTION_DONE if outcome.ok else EventType.ACTION_FAILED, str(outcome.text), data
        except WasEnded:
            raise
        except BaseException as fault:  # noqa: BLE001
            # SystemExit and KeyboardInterrupt too: an action ends nothing but itself.
            return EventType.ACTION_FAILED, *raised(fault, run.action)

    def _keep_permitted(self, run: Run) -> bool:
        """Take out of a message what may not be told, and report it. Whether anything is left: each incident may be
        another supervisor's by now, whichever was the first."""
        all_ = (replace(run.target, others=()), *run.target.others)
        left = []
        for each in all_:
            if self.permits(each):
                left.append(each)
            else:
                self._publish(Run(run.action, each), EventType.ACTION_DROPPED, HANDED_OVER)
        if left and len(left) < len(all_):
            run.target = replace(left[0], others=tuple(left[1:]))
        return bool(left)

    def _ran(self, job: Job, how: How, value: Any, seconds: float) -> None:
        if how is not How.DONE:  # RAISED: only what describing a fault has raised itself
            text = type(value).__name__ if how is How.RAISED else value
            self._publish(job.about, _TYPES[how], text, seconds=seconds)
        elif value is not None:  # None: it was handed on, or what became of it is reported already
            type_, text, data = value
            self._publish(job.about, type_, text, data, seconds)

    def _ended(self, run: Run) -> IncidentEnd:
        with self._lock:
            run.ended = run.ended or IncidentEnd()
            return run.ended

    def _with_evidence(self, target: ActionTarget) -> ActionTarget:
        """The target, and its others, with the evidence that was taken since it was submitted."""
        if target.others:
            target = replace(target, others=tuple(map(self._with_evidence, target.others)))
        if target.evidence is not None:
            return target
        with self._lock:
            found = self._evidence.get(target.incident.id)
        return target if found is None else replace(target, evidence=found)

    def keep_evidence(self, incident: str, found: Mapping[str, Any]) -> None:
        """For the later actions of this incident. The outputs in it are added to those that are known."""
        with self._lock:
            before = self._evidence.get(incident, {})
            outputs = [*before.get("outputs", ()), *found.get("outputs", ())]
            known = {key: value for key, value in found.items() if key != "outputs"}
            # Of a command nothing but its output is known.
            merged = dict(known if "headline" in known else before)
            self._evidence[incident] = {**merged, "outputs": outputs} if outputs else merged
            while len(self._evidence) > EVIDENCE_MAX:
                self._evidence.popitem(last=False)

    def _publish(
        self, run: Run, type_: EventType, text: str, data: dict[str, Any] | None = None, seconds: float = 0.0
    ) -> None:
        """Report what became of it, for each incident that it was about, without what its action wants hidden."""
        first = run.target
        if type_ is not EventType.ACTION_DROPPED or data is not None:  # of what was dropped by us the text is ours
            text, data = redacted(run.action, text, data or {})
        text, data = sanitize.text(text, keep_end=type_ is EventType.ACTION_FAILED), data or {}
        if count := len(first.others):
            text += f"; in one message with {count} other{'' if count == 1 else 's'}"
        for each in (first, *first.others):
            self._report(ActionReport(type_, run.action.name, each, text, data, run.started_at, seconds))


def _owner(target: ActionTarget) -> Hashable:
    """The process whose watchdog it is, so that all of its watchdogs together have one turn."""
    return None if target.who is None else target.who[:3]
