"""From the core's word to the deed: rungs become actions, handed to the threads that run them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from banken.errors import Refused
from banken.model import Cause, Incarnation, Incident
from banken_supervisor.core.effects import EndIncident, RunRung
from banken_supervisor.core.ladder import Rung
from banken_supervisor.recovery.base import Action, Subject
from banken_supervisor.recovery.executor import Executor
from banken_supervisor.recovery.jobs import Report, What
from banken_supervisor.recovery.registry import build
from banken_supervisor.world import SupervisorWorld

NEWS = ("notify", "webhook")
"""Actions that are told when the incident is over, if they were told of it."""

TO_PROCESSES = ("dump", "signal", "kill")
"""Actions that need a process."""

BUILT_MAX = 10_000
"""Actions that are kept made; with more different rungs than that, making begins anew."""


class Remedies:
    """``report`` is called from any thread with what became of each action. Everything else belongs to the loop.

    ``programs``: whether a name is one of the supervisor's own programs. ``process``: the process of one, if it has
    one.
    """

    def __init__(
        self,
        world: SupervisorWorld,
        report: Callable[[Report], None],
        programs: Callable[[str], bool],
        process: Callable[[str], Incarnation | None],
    ) -> None:
        self.world = world
        self.executor = Executor(world, report)
        self.named: Mapping[str, str] = {}
        """the user's own actions: name to ``module:Class``"""
        self._report = report
        self._programs = programs
        self._process = process
        self._built: dict[int, tuple[Rung, Action]] = {}
        self._told: dict[str, list[tuple[Action, Subject]]] = {}
        """by incident: who will want to hear of its end"""

    def run(self, effect: RunRung, incident: Incident) -> None:
        """Have one rung's action run, after those of the same watchdog that came before."""
        subject = Subject(
            incident,
            effect.who,
            effect.rung.level,
            effect.number,
            effect.run,
            incident.name if self._programs(incident.name) else None,
        )
        if subject.program is not None:
            process = self._process(subject.program)
            if process is None and incident.cause is Cause.EXITED and effect.rung.do in TO_PROCESSES:
                self._refuse(effect, What.SKIPPED, "the program has ended: there is nothing to do it to")
                return
            # Killed is what was started, with all that it started; looked at is whoever feeds, if anybody does.
            if subject.who is None or effect.rung.do == "kill":
                subject = replace(subject, who=process)
        try:
            action = self._action(effect.rung)
        except Refused as fault:  # found when the config is read; a rung made in code may still be wrong
            self._refuse(effect, What.FAILED, str(fault))
            return
        if effect.rung.do in NEWS:
            told = self._told.setdefault(incident.id, [])
            if all(each is not action for each, _ in told):
                told.append((action, subject))
        self.executor.submit([action], subject)

    def end(self, effect: EndIncident) -> None:
        """An incident is closed: drop what has not begun; tell those who were told of it."""
        if not effect.ran:
            return
        self.executor.cancel(effect.name, effect.incident)
        for action, subject in self._told.pop(effect.incident, ()):
            over = replace(subject, incident=subject.incident._replace(silence=effect.lasted), recovered=True)
            self.executor.submit([action], over)

    def _refuse(self, effect: RunRung, what: What, why: str) -> None:
        about, rung = effect.about, effect.rung
        self._report(
            Report(
                what, about.name, about.incident, rung.do, effect.number, effect.run, rung.level, False, why
            )
        )  # fmt: skip

    def _action(self, rung: Rung) -> Action:
        """Made once per rung: the executor tells two runs of one action by its identity."""
        built = self._built.get(id(rung))
        if built is not None and built[0] is rung:
            return built[1]
        if len(self._built) >= BUILT_MAX:
            self._built.clear()
        action = build(rung.do, {key: plain(value) for key, value in rung.options}, self.named)
        self._built[id(rung)] = rung, action
        return action


def plain(value: Any) -> Any:
    """An option as the action takes it: a secret of the config as the text that it is, a tuple as a list."""
    reveal = getattr(value, "reveal", None)
    return reveal() if reveal is not None else list(value) if isinstance(value, tuple) else value
