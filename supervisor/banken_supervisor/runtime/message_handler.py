"""Handles messages of other threads, on the loop's thread and in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import Event
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.principal import Principal
from banken_supervisor.observability.guard import Guard, Place
from banken_supervisor.observability.loop_metrics import LoopMetrics
from banken_supervisor.outbox.outbox import Outbox
from banken_supervisor.programs.program_watchdogs import ProgramWatchdogs
from banken_supervisor.runtime.effect_runner import EffectRunner
from banken_supervisor.runtime.mailbox import ActionReported, Declare, Feeds, Forget, Mailbox
from banken_supervisor.runtime.maintenance_clock import MaintenanceClock

if TYPE_CHECKING:
    from banken_supervisor.runtime.cluster import Cluster

PORTION_S = 0.005
"""Seconds of one turn for messages; the rest follow in the next turns. Thousands of actions that end together must
not delay feeds."""


@dataclass(eq=False)
class MessageHandler:
    """Events of messages follow the engine's effects, so that they keep their order."""

    _mailbox: Mailbox
    _driver: Driver
    _guard: Guard
    _metrics: LoopMetrics
    _programs: ProgramWatchdogs
    _maintenance: MaintenanceClock
    _effects: EffectRunner
    _outbox: Outbox | None
    cluster: Cluster | None = None
    """None: this supervisor is alone"""
    _messages: deque[Any] = field(default_factory=deque)
    """taken from the mailbox, not handled yet"""

    @property
    def waiting(self) -> bool:
        """Whether messages were taken from the mailbox and are not handled yet."""
        return bool(self._messages)

    def finish(self) -> None:
        """After the last turn: record results of callbacks and actions that came since."""
        self._messages.extend(self._mailbox.take())
        for message in self._messages:
            if isinstance(message, Event | ActionReported):
                self._handle(message)
        self._effects.run(self._driver.out, monotonic(), whole=True)

    def take_reports(self) -> None:
        """After the last turn, and before a cluster is told: what became of actions, and nothing else that came."""
        self._messages.extend(self._mailbox.take())
        others = deque[Any]()
        while self._messages:
            message = self._messages.popleft()
            if isinstance(message, ActionReported):
                self._handle(message)
            else:
                others.append(message)
        self._messages = others

    def take_declarations(self) -> None:
        """Handle the operator's declarations, before the state of an earlier supervisor is restored."""
        messages = self._mailbox.take()
        self._messages.extend(message for message in messages if not isinstance(message, Declare))
        for message in messages:
            if isinstance(message, Declare):
                self._handle(message)

    def handle_some(self) -> None:
        """Handle messages of the mailbox, for at most ``PORTION_S``."""
        if not self._messages:  # messages left in the mailbox count towards its limit
            self._messages.extend(self._mailbox.take())
        until = monotonic() + PORTION_S
        while self._messages:
            self._handle(self._messages.popleft())
            if monotonic() >= until:
                return

    def _handle(self, message: Any) -> None:
        handle = HANDLERS.get(type(message))
        try:
            if handle is not None:
                handle(self, message)
            elif callable(message):
                message()
            else:
                self._programs.handle(message, self._driver.engine, self._driver.now, self._driver.out)
        except Exception as fault:  # noqa: BLE001  # it is dropped: the next one is independent of it
            self._guard.fault(Place.MESSAGE, fault, type(message).__name__)

    def _feeds(self, message: Feeds) -> None:
        driver = self._driver
        driver.engine.intake(iter(message.frames), driver.now, driver.out, Principal.SUPERVISOR)

    def _declare(self, message: Declare) -> None:
        engine, policy = self._driver.engine, message.policy
        engine.declare(message.name, policy, self._driver.now, self._driver.out)
        if isinstance(policy, Policy) and policy.maintenance:
            self._maintenance.set(engine.rules.windows())

    def _forget(self, message: Forget) -> None:
        self._driver.engine.forget(message.name, self._driver.now, self._driver.out)

    def _event(self, event: Event) -> None:
        """The end of a callback."""
        self._driver.out.append(event)

    def _action_reported(self, message: ActionReported) -> None:
        report, target = message.report, message.report.target
        if self.cluster is not None and self.cluster.for_leader.takes(report):
            return  # the leader tells of it
        if self._outbox is not None:
            self._outbox.report(report, message.evidence)
        if self.cluster is not None:
            self.cluster.steps.acted(report)
        self._metrics.action(report.action, report.type.value.removeprefix("action-"))
        data = {
            "incident": target.incident.id, "step": target.step, "run": target.run, "do": report.action,
            "seconds": report.seconds, "text": report.text, "level": target.level,
            "recovered": target.recovered or None,
        }  # fmt: skip
        known = {key: value for key, value in data.items() if value is not None and value != ""}
        self._driver.out.append(Event(report.type, target.incident.name, known))


HANDLERS: dict[type, Callable[[MessageHandler, Any], None]] = {
    Feeds: MessageHandler._feeds,
    Event: MessageHandler._event,
    Declare: MessageHandler._declare,
    ActionReported: MessageHandler._action_reported,
    Forget: MessageHandler._forget,
}
"""The handler of each type of message; functions are called, and the rest is for the programs."""
