"""Carries out the engine's effects: passes callbacks and actions to their threads, and publishes events."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from time import monotonic, sleep
from typing import Any

from banken.clock import wall
from banken.protocol.incidents import Cause, Incident
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.actions.callbacks import Callbacks
from banken_supervisor.actions.dispatcher import Dispatcher, incident_of
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import (
    Effect,
    EndIncident,
    Event,
    EventType,
    Fault,
    RunCallback,
    RunStep,
    StepRan,
    WatchProcess,
)
from banken_supervisor.observability.guard import Guard, Place
from banken_supervisor.observability.loop_metrics import LoopMetrics, late
from banken_supervisor.outbox.outbox import Outbox
from banken_supervisor.processes.process_watcher import ProcessWatcher

PORTION_S = 0.02
"""Seconds of one turn for effects; the rest follow in the next turns."""

HAND_OVER_S = 0.00002
"""Seconds that the loop sleeps after it has passed on callbacks: their threads need the interpreter lock, which the
loop would otherwise hold to the end of the turn. A callback begins 0.12 ms earlier (1.9 ms after the deadline)."""


@dataclass(eq=False)
class EffectRunner:
    """Belongs to the loop's thread. An effect that raises is dropped; the following ones are carried out."""

    _driver: Driver
    _guard: Guard
    _publish: Callable[[Event], None]
    _callbacks: Callbacks
    _dispatcher: Dispatcher
    _process_watcher: ProcessWatcher
    _outbox: Outbox | None
    _metrics: LoopMetrics
    _program_of: Callable[[ProcessIdentity], str | None]
    """the program that has started a process"""
    left: deque[Effect] = field(default_factory=deque)
    """effects of earlier turns; until they are done no message is handled, so that events keep their order"""

    def run(self, effects: list[Effect], woke: float, *, whole: bool) -> None:
        """Carry out effects, those of earlier turns first: all if ``whole``, else as many as fit into
        ``PORTION_S``.

        ``effects`` is empty afterwards. ``woke``: monotonic time at which this turn began.
        """
        # Callbacks first: their threads wake up while the events are written.
        for effect in effects:
            self._guarded(effect, partial(self._begin, woke))
        if any(isinstance(effect, RunCallback) for effect in effects):
            sleep(HAND_OVER_S)
        self.left.extend(effects)
        effects.clear()
        until = monotonic() + PORTION_S
        while self.left:
            self._guarded(self.left.popleft(), self._finish)
            if monotonic() >= until and not whole:
                return

    def _guarded(self, effect: Effect, do: Callable[[Effect], None]) -> None:
        try:
            do(effect)
        except Exception as fault:  # noqa: BLE001  # it is dropped: the next one may belong to another watchdog
            self._guard.fault(Place.EFFECT, fault, type(effect).__name__)

    def _begin(self, woke: float, effect: Effect) -> None:
        match effect:
            case RunCallback():
                self._callbacks.run(incident_of(effect, self._driver.now), effect.callback)
            case WatchProcess(process):
                engine = self._driver.engine
                if not self._process_watcher.watch(process):
                    if self._process_watcher.ended(process):
                        engine.processes.ended_unseen(process, self._driver.now, self._driver.out)
                elif (program := self._program_of(process)) is not None:
                    engine.on_purpose.belongs(process, program)
            case Event(EventType.EXPIRED, _, data):
                self._metrics.incident(data["cause"], late(data, monotonic() - woke))
            case Event(EventType.WOULD_ACT, _, data):
                self._metrics.action(data["do"], "observed")

    def _finish(self, effect: Effect) -> None:
        match effect:
            case Event():
                self._publish(effect)
                if effect.type is EventType.EXPIRED and effect.name and "replay" not in effect.data:
                    opened = partial(_opened, effect.name, effect.data)
                    self._dispatcher.take_output(effect.name, opened, self._keep_evidence)
            case RunStep() if not effect.observe:
                incident = incident_of(effect.about, self._driver.now)
                self._after_commit(partial(self._dispatcher.run, effect, incident))
            case StepRan(ran):
                self._dispatcher.remember(ran, incident_of(ran.about, self._driver.now))
            case EndIncident():
                self._after_commit(partial(self._dispatcher.end, effect))
            case Fault(name, error):
                self._guard.fault(Place.VERDICT, error, name)

    def _keep_evidence(self, incident: str, evidence: bytes) -> None:
        if self._outbox is not None:
            self._outbox.keep_evidence(incident, evidence)

    def _after_commit(self, do: Callable[[], None]) -> None:
        """Call ``do`` when all events published so far are on disk."""
        if self._outbox is None:
            do()
        else:
            self._outbox.after_commit(do)


def _opened(name: str, data: dict[str, Any]) -> Incident:
    """The incident that an event with this data has opened."""
    return Incident(
        data["incident"],
        name,
        Cause(data["cause"]),
        wall() - data["age"],
        data["silence"],
        data["timeout"],
        reason=data.get("reason"),
    )
