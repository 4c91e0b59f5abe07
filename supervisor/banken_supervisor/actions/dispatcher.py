"""Turns the engine's decisions into work: steps become actions, handed to the threads that run them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from threading import Event
from time import monotonic, sleep

from banken.clock import wall
from banken.errors import Refused
from banken.protocol.incidents import Cause, Incident
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.actions.action_context import ActionContext
from banken_supervisor.actions.action_executor import Executor, FirstLane
from banken_supervisor.actions.base import LIMIT_S, Action
from banken_supervisor.actions.keyed_executor import STOPPED
from banken_supervisor.actions.notifications import Notifications
from banken_supervisor.actions.registry import build
from banken_supervisor.actions.target import NO_STEP, ActionReport, ActionTarget, Outcome, StopReason
from banken_supervisor.engine.effects import EndIncident, EventType, RunCallback, RunStep
from banken_supervisor.engine.ladder import Step
from banken_supervisor.engine.states import RECOVERIES
from banken_supervisor.evidence import output_evidence
from banken_supervisor.journal import squeeze

PORTION_S = 0.01
"""Seconds of one turn of the loop that handing out may take; what is left waits for the next turn."""

FLUSH_S = 1.5
"""Seconds that the last notices have to go out."""

FLUSH_POLL_S = 0.01
"""Seconds between two checks whether the last notices have begun to go out."""

CALLBACK_MIN, CALLBACK_MAX = 0.1, 3600.0
"""Seconds that the action ``callback`` may be given."""

BUILT_MAX = 10_000
"""Actions that are kept built; with more different steps than that, all are built again."""


class Dispatcher:
    """``report`` is called from any thread with what became of each action. Everything else belongs to the loop.

    ``programs``: whether a name is one of the supervisor's own programs. ``process``: the process of one, if it has
    one. ``ask``: has something done on the loop's thread, from any.
    ``callback_limit``: seconds after which a step's callback is stuck, as any other callback is.
    """

    def __init__(
        self,
        context: ActionContext,
        report: Callable[[ActionReport], None],
        programs: Callable[[str], bool],
        process: Callable[[str], ProcessIdentity | None],
        ask: Callable[[Callable[[], object]], None],
        callback_limit: float = LIMIT_S,
    ) -> None:
        self.context = context
        self.executor = Executor(context, report)
        self._output = Output()
        self.notices = Notifications(self.executor)
        self.page: str | None = None
        """public address of the web page, without a slash at its end; None: it is not known"""
        self.named: Mapping[str, str] = {}
        """the user's own actions: name to ``module:Class``"""
        self.is_elsewhere: Callable[[ProcessIdentity], bool] = lambda who: False
        """whether this process is on another host"""
        self.for_other: Callable[[Action, ActionTarget], Action | None] = lambda action, target: None
        """in a cluster: what has this done by the member on the process's host; None: nothing can"""
        self.fence_of: Callable[[str], int | None] = lambda incident: None
        """of the leader that has this incident, in a cluster"""
        self._report = report
        self._programs = programs
        self._process = process
        self._ask = ask
        self._callback_limit = min(max(callback_limit, CALLBACK_MIN), CALLBACK_MAX)
        self._built: dict[int, tuple[Step, Action]] = {}
        self._notified: dict[str, list[tuple[Action, ActionTarget]]] = {}
        """by open incident with notices: who gets the news of its end"""
        self._arrived: deque[tuple[Action, ActionTarget]] = deque()
        """notices whose watchdog's earlier actions have run; filled by the executor's threads"""
        self._waiting: deque[tuple[RunStep, Incident] | EndIncident] = deque()
        self._over: set[str] = set()
        """incidents whose end waits among them"""

    def run(self, effect: RunStep, incident: Incident) -> None:
        """Have one step's action run, after those of the same watchdog that came before; see ``turn``."""
        self._waiting.append((effect, incident))

    def take_output(self, name: str, opened: Callable[[], Incident], found: Callable[[str, bytes], None]) -> None:
        """Add the last lines that the program ``name`` wrote to its incident's evidence, before its actions run.

        ``found``: called on the loop's thread with the incident's id and the evidence for the journal.
        """
        if not self._programs(name):
            return
        incident = opened()

        def look(action: Action, target: ActionTarget) -> None:
            ended = incident.cause is Cause.EXITED
            if lines := self.context.last_output(name, has_ended=ended):
                evidence = output_evidence(name, lines, taken=wall(), says_why=ended)
                self.executor.keep_evidence(incident.id, evidence)
                self._ask(partial(found, incident.id, squeeze(evidence)))

        self.executor.hand_on(self._output, ActionTarget(incident, step=NO_STEP), look)

    def end(self, effect: EndIncident) -> None:
        """An incident is closed: drop what has not begun; send the news of its end; see ``turn``."""
        if effect.steps:
            self._waiting.append(effect)
            self._over.add(effect.incident)

    def forestall(self, effect: EndIncident) -> None:
        """An incident is closed, and ``end`` comes when that is on disk: nothing begins for it any more."""
        if effect.steps:
            self._over.add(effect.incident)
            self.executor.cancel(effect.name, effect.incident, _reason(effect))

    def hand_over(self, name: str, incident: str) -> None:
        """Another member of the cluster has this incident. If it comes back, its steps are remembered anew."""
        self.executor.cancel(name, incident, StopReason.HANDED_OVER)
        self._notified.pop(incident, None)

    @property
    def waiting(self) -> bool:
        """Whether ``turn`` has something to do at once."""
        return bool(self._waiting)

    def patience(self, real: float) -> float | None:
        """Seconds until ``notices.turn`` or ``executor.check`` has something to do; None: nothing is under way."""
        waits = [each for each in (self.executor.patience(real), self.notices.patience(real)) if each is not None]
        return min(waits, default=None)

    def turn(self) -> None:
        """Hand out what was asked for, in that order: all of it, or what can be done in ``PORTION_S``."""
        until = monotonic() + PORTION_S
        while self._waiting:
            next_ = self._waiting.popleft()
            if isinstance(next_, EndIncident):
                self._end(next_)
            elif next_[1].id in self._over:
                self._refuse(*next_, EventType.ACTION_DROPPED, "the incident ended before")
            else:
                self._run(*next_)
            if monotonic() >= until:
                return

    def stop(self) -> None:
        """The loop has ended: no step begins any more. The news of an end waits for ``close``, and so do messages
        to people, but for those that are the next leader's of a cluster."""
        self.executor.stop()
        self._take_notices()
        for action, target in self.notices.give_back():
            self._report(ActionReport(EventType.ACTION_DROPPED, action.name, target, STOPPED))
        left, self._waiting = self._waiting, deque(each for each in self._waiting if isinstance(each, EndIncident))
        for each in left:
            if not isinstance(each, EndIncident):
                self._refuse(*each, EventType.ACTION_DROPPED, STOPPED)

    def close(self, wait: float, flush_wait: float = FLUSH_S) -> None:
        """Send the notices that wait, and end: within ``wait`` seconds, or ``flush_wait`` if any is sent now."""
        began = monotonic()
        until = began + wait
        self.stop()
        for each in self._waiting:  # nobody else has the news of it
            assert isinstance(each, EndIncident)
            self._end(each)
        self._waiting.clear()
        # A notice may wait for an action of the same watchdog, which ends now. For one that does not (a command)
        # the long wait is for nothing: the notice behind it is told as dropped, and due again.
        while True:
            self._take_notices()
            if self.notices.flush():
                until = began + flush_wait
            elif not self.executor.counts()["queued"]:
                break
            if monotonic() >= until:
                break
            sleep(FLUSH_POLL_S)
        self.executor.close(max(0.0, until - monotonic()))

    def remember(self, effect: RunStep, incident: Incident) -> None:
        """A former supervisor ran this step in an incident that is still open: the recipient gets news of the end.

        A step that cannot be built any more sends none.
        """
        try:
            action = self._action(effect.step)
        except Refused:
            return
        if action.recipient is None:
            return
        # It may have had this incident before: one recipient gets the news once.
        known = [each for each in self._notified.get(incident.id, ()) if each[0] is not action]
        self._notified[incident.id] = [*known, (action, self._target(effect, incident))]

    def _target(self, effect: RunStep, incident: Incident) -> ActionTarget:
        acts_on = effect.acts_on or incident.name
        return ActionTarget(
            incident,
            effect.process,
            effect.step.level,
            effect.number,
            effect.run,
            acts_on if self._programs(acts_on) else None,
            link=None if self.page is None else f"{self.page}/#/incident/{incident.id}",
            page=None if self.page is None else f"{self.page}/",
            feeds=effect.feeds,
            scope=effect.scope,
            fence=self.fence_of(incident.id),
        )

    def _run(self, effect: RunStep, incident: Incident) -> None:
        try:
            action = self._action(effect.step)
        except Refused as fault:  # found when the config is read; a step made in code may still be wrong
            self._refuse(effect, incident, EventType.ACTION_FAILED, str(fault))
            return
        target = self._target(effect, incident)
        if target.program is not None:
            process = self._process(target.program)
            if process is None and incident.cause is Cause.EXITED and action.needs_process:
                text = "the program has ended: there is no process to act on"
                self._refuse(effect, incident, EventType.ACTION_SKIPPED, text)
                return
            # ``kill`` ends the process that was started, with its group; the others act on the process that feeds.
            if target.who is None or effect.step.do == "kill":
                target = replace(target, who=process)
                if process is not None:
                    self.context.trust(process)
        elif effect.is_found and target.who is not None:
            self.context.trust(target.who)  # the operator's config says how it is found
        if target.who is not None and self.is_elsewhere(target.who):
            other = self.for_other(action, target)
            if other is None and action.needs_process:
                self._refuse(effect, incident, EventType.ACTION_SKIPPED, "its process is on another host")
                return
            action = other or action
        lane = FirstLane(incident.name) if effect.step.first else None
        if action.recipient is None:
            self.executor.submit([action], target, lane)
        else:
            self._notified.setdefault(incident.id, [])
            self.executor.hand_on(action, target, self._hand_over_notice, lane)

    def _end(self, effect: EndIncident) -> None:
        self._over.discard(effect.incident)
        self.executor.cancel(effect.name, effect.incident, _reason(effect))
        for action, target in self._notified.pop(effect.incident, ()):
            incident = target.incident._replace(silence=effect.lasted)
            over = replace(target, incident=incident, recovered=True, how=effect.how)
            self.notices.add(action, over, monotonic())

    def _hand_over_notice(self, action: Action, target: ActionTarget) -> None:
        """On a thread of the executor: the watchdog's earlier actions have run."""
        self._arrived.append((action, target))
        self._ask(self._take_notices)

    def _take_notices(self) -> None:
        while self._arrived:
            self._add_notice(*self._arrived.popleft())

    def _add_notice(self, action: Action, target: ActionTarget) -> None:
        """The notice goes out, with others to the same recipient."""
        notified = self._notified.get(target.incident.id)
        if notified is None:
            text = "the incident ended before"
            if target.fence is not None:
                text += ", or another supervisor has it"
            self._report(ActionReport(EventType.ACTION_DROPPED, action.name, target, text))
            return
        if all(each is not action for each, _ in notified):
            notified.append((action, target))
        self.notices.add(action, target, monotonic())

    def _refuse(self, effect: RunStep, incident: Incident, type_: EventType, why: str) -> None:
        self._report(ActionReport(type_, effect.step.do, self._target(effect, incident), why))

    def _action(self, step: Step) -> Action:
        """Built once per step: the executor recognises two runs of one action by its identity."""
        if (built := self._built.get(id(step))) is not None:  # it holds the step: no other one has its id
            return built[1]
        if len(self._built) >= BUILT_MAX:
            self._built.clear()
        options = dict(step.options)
        if step.do == "callback":
            options.setdefault("timeout", self._callback_limit)
        # Its files were read when the policy was declared; here the loop would wait for the disk.
        action = build(step.do, options, self.named, False)
        self._built[id(step)] = step, action
        return action


class Output(Action):
    """What ``take_output`` is called in events. Nothing runs it: it is handed on."""

    name = "output"

    def run(self, target: ActionTarget, context: ActionContext, ended: Event) -> Outcome:
        raise NotImplementedError


def _reason(effect: EndIncident) -> StopReason:
    return StopReason.RECOVERED if effect.how in RECOVERIES else StopReason.ENDED


def incident_of(effect: RunCallback, now: float) -> Incident:
    """The incident as actions and callbacks get it, opened at wall clock time. ``now``: deadline time."""
    return Incident(
        effect.incident,
        effect.name,
        effect.cause,
        wall() - (now - effect.opened),
        effect.silence,
        effect.timeout,
        effect.run,
        effect.reason,
        effect.status,
        effect.progress,
    )
