"""From the core's word to the deed: steps become actions, handed to the threads that run them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import monotonic, sleep
from typing import Any

from banken.clock import wall
from banken.errors import Refused
from banken.protocol.incidents import Cause, Incident
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.actions.action_context import SupervisorContext
from banken_supervisor.actions.action_executor import Executor
from banken_supervisor.actions.base import HANDED, LIMIT_S, Action, Outcome, Subject, World
from banken_supervisor.actions.jobs import Report, What
from banken_supervisor.actions.notifications import Notifications
from banken_supervisor.actions.registry import build
from banken_supervisor.engine.effects import EndIncident, RunCallback, RunStep
from banken_supervisor.engine.ladder import Step

TO_PROCESSES = ("dump", "signal", "kill")
"""Actions that need a process."""

PORTION_S = 0.01
"""Seconds of one turn of the loop that handing out may take; what is left waits for the next turn."""

FLUSH_S = 1.5
"""Seconds that the last notices have to go out."""

FLUSH_LOOK_S = 0.01
"""Seconds between two looks at whether the last notices have begun to go out."""
CALLBACK_MIN, CALLBACK_MAX = 0.1, 3600.0
"""Seconds that the action ``callback`` can be told to allow."""

BUILT_MAX = 10_000
"""Actions that are kept made; with more different steps than that, making begins anew."""


class Handing(Action):
    """In place of an action that tells people: hands what it is to tell to the loop, and is done."""

    name = "handing"

    def __init__(
        self,
        action: Action,
        ask: Callable[[Callable[[], None]], None],
        hold: Callable[[Action, Subject], None],
    ) -> None:
        self.action = action
        self.name = action.name  # type: ignore[misc]  # each stands for another action
        self.hidden = action.hidden
        self._ask = ask
        self._hold = hold

    def run(self, subject: Subject, world: World, ended: threading.Event) -> Outcome:
        """On a thread, after what the same watchdog had to have done before: its evidence is taken."""
        self._ask(lambda: self._hold(self.action, subject))
        return HANDED


class Dispatcher:
    """``report`` is called from any thread with what became of each action. Everything else belongs to the loop.

    ``programs``: whether a name is one of the supervisor's own programs. ``process``: the process of one, if it has
    one. ``ask``: has something done on the loop's thread, from any.
    ``callback_limit``: seconds after which a step's callback is stuck, as any other callback is.
    """

    def __init__(
        self,
        world: SupervisorContext,
        report: Callable[[Report], None],
        programs: Callable[[str], bool],
        process: Callable[[str], ProcessIdentity | None],
        ask: Callable[[Callable[[], None]], None],
        callback_limit: float = LIMIT_S,
    ) -> None:
        self.world = world
        self.executor = Executor(world, report)
        self.notices = Notifications(self.executor)
        self.page: str | None = None
        """public address of the web page, without a slash at its end; None: nobody said"""
        self.named: Mapping[str, str] = {}
        """the user's own actions: name to ``module:Class``"""
        self._report = report
        self._programs = programs
        self._process = process
        self._ask = ask
        self._callback_limit = min(max(callback_limit, CALLBACK_MIN), CALLBACK_MAX)
        self._built: dict[int, tuple[Step, Action]] = {}
        self._told: dict[str, list[tuple[Action, Subject]]] = {}
        """by incident that is open and has notices: who was told, and will want to hear of its end"""
        self._hands: dict[int, Handing] = {}
        self._waiting: deque[tuple[RunStep, Incident] | EndIncident] = deque()
        self._over: set[str] = set()
        """incidents whose end waits among them"""

    def run(self, effect: RunStep, incident: Incident) -> None:
        """Have one step's action run, after those of the same watchdog that came before; see ``turn``."""
        self._waiting.append((effect, incident))

    def end(self, effect: EndIncident) -> None:
        """An incident is closed: drop what has not begun; tell those who were told of it; see ``turn``."""
        if effect.steps:
            self._waiting.append(effect)
            self._over.add(effect.incident)

    @property
    def waiting(self) -> bool:
        """Whether ``turn`` has something to do at once."""
        return bool(self._waiting)

    def patience(self, real: float) -> float | None:
        """Seconds until ``notify`` or ``executor.check`` has something to do; None: nothing is under way."""
        waits = [each for each in (self.executor.patience(real), self.notices.patience(real)) if each is not None]
        return min(waits, default=None)

    def notify(self) -> None:
        """Send the notices that are due."""
        self.notices.turn(monotonic())

    def turn(self) -> None:
        """Hand out what was asked for, in that order: all of it, or what can be done in ``PORTION_S``."""
        until = monotonic() + PORTION_S
        while self._waiting:
            next_ = self._waiting.popleft()
            if isinstance(next_, EndIncident):
                self._end(next_)
            elif next_[1].id in self._over:
                self._refuse(next_[0], What.DROPPED, "the incident ended before")
            else:
                self._run(*next_)
            if monotonic() >= until:
                return

    def close(self, wait: float, flush_wait: float = FLUSH_S) -> None:
        """Tell what waits to be told, and end: within ``wait`` seconds, or ``flush_wait`` if there is some."""
        until = monotonic() + wait
        if self.notices.flush():
            until = monotonic() + flush_wait
            while self.executor.counts()["queued"] and monotonic() < until:
                sleep(FLUSH_LOOK_S)
        self.executor.close(max(0.0, until - monotonic()))

    def remember(self, effect: RunStep, incident: Incident) -> None:
        """A former supervisor had this step run, in an incident that is still open: who was told hears of the end.

        A step that cannot be made any more tells nobody.
        """
        try:
            action = self._action(effect.step)
        except Refused:
            return
        if action.target is not None:
            self._told.setdefault(incident.id, []).append((action, self._subject(effect, incident)))

    def _subject(self, effect: RunStep, incident: Incident) -> Subject:
        return Subject(
            incident,
            effect.process,
            effect.step.level,
            effect.number,
            effect.run,
            incident.name if self._programs(incident.name) else None,
            link=None if self.page is None else f"{self.page}/#/incident/{incident.id}",
            page=None if self.page is None else f"{self.page}/",
            feeds=effect.feeds,
        )

    def _run(self, effect: RunStep, incident: Incident) -> None:
        subject = self._subject(effect, incident)
        if subject.program is not None:
            process = self._process(subject.program)
            if process is None and incident.cause is Cause.EXITED and effect.step.do in TO_PROCESSES:
                self._refuse(effect, What.SKIPPED, "the program has ended: there is nothing to do it to")
                return
            # Killed is what was started, with all that it started; looked at is whoever feeds, if anybody does.
            if subject.who is None or effect.step.do == "kill":
                subject = replace(subject, who=process)
                if process is not None:
                    self.world.trust(process)
        try:
            action = self._action(effect.step)
        except Refused as fault:  # found when the config is read; a step made in code may still be wrong
            self._refuse(effect, What.FAILED, str(fault))
            return
        if action.target is not None:
            self._told.setdefault(incident.id, [])
            action = self._handing(action)
        self.executor.submit([action], subject)

    def _end(self, effect: EndIncident) -> None:
        self._over.discard(effect.incident)
        self.executor.cancel(effect.name, effect.incident)
        for action, subject in self._told.pop(effect.incident, ()):
            incident = subject.incident._replace(silence=effect.lasted)
            self.notices.add(
                action, replace(subject, incident=incident, recovered=True, how=effect.how), monotonic()
            )

    def _hold(self, action: Action, subject: Subject) -> None:
        """Its turn among the watchdog's actions has come: it is told, with what else its target is to be told."""
        incident = subject.incident
        told = self._told.get(incident.id)
        if told is None:
            text = "the incident ended before"
            self._report(
                Report(
                    What.DROPPED, incident.name, incident.id, action.name, subject.step, subject.run, subject.level,
                    False, text,
                )
            )  # fmt: skip
            return
        if all(each is not action for each, _ in told):
            told.append((action, subject))
        self.notices.add(action, subject, monotonic())

    def _refuse(self, effect: RunStep, what: What, why: str) -> None:
        about, step = effect.about, effect.step
        self._report(
            Report(
                what, about.name, about.incident, step.do, effect.number, effect.run, step.level, False, why
            )
        )  # fmt: skip

    def _handing(self, action: Action) -> Action:
        made = self._hands.get(id(action))
        if made is None or made.action is not action:
            if len(self._hands) >= BUILT_MAX:
                self._hands.clear()
            made = self._hands[id(action)] = Handing(action, self._ask, self._hold)
        return made

    def _action(self, step: Step) -> Action:
        """Made once per step: the executor tells two runs of one action by its identity."""
        built = self._built.get(id(step))
        if built is not None and built[0] is step:
            return built[1]
        if len(self._built) >= BUILT_MAX:
            self._built.clear()
        options = {key: plain(value) for key, value in step.options}
        if step.do == "callback":
            options.setdefault("timeout", self._callback_limit)
        action = build(step.do, options, self.named)
        self._built[id(step)] = step, action
        return action


def incident_of(effect: RunCallback, now: float) -> Incident:
    """What actions and callbacks are told, with the opening by the clock on the wall. ``now``: deadline time."""
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


def plain(value: Any) -> Any:
    """An option as the action takes it: a secret of the config as the text that it is, a tuple as a list."""
    reveal = getattr(value, "reveal", None)
    return reveal() if reveal is not None else list(value) if isinstance(value, tuple) else value
