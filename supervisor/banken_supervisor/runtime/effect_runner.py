"""Carries out the engine's effects: passes callbacks and actions to their threads, and publishes events."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

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
    Propose,
    RunCallback,
    RunStep,
    StepRan,
    WatchProcess,
    Withdraw,
)
from banken_supervisor.engine.fair_queue import FairQueue
from banken_supervisor.observability.guard import Guard, Place
from banken_supervisor.observability.loop_metrics import LoopMetrics, late
from banken_supervisor.outbox.outbox import Outbox
from banken_supervisor.processes.process_watcher import ProcessWatcher

if TYPE_CHECKING:
    from banken_supervisor.runtime.cluster import Cluster

PORTION_S = 0.005
"""Seconds of one turn for effects; the rest follow in the next turns."""

WHOLE_S = 1.0
"""Seconds for all effects in the last turn."""

IN_ORDER_MAX = 20
"""So few effects of a turn are carried out in the order in which they came, without a queue."""

ANNOUNCED_MAX = 200
"""While more events wait for the disk, no effect follows them: what waits here goes on in turn, by whose it is."""

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
    left: FairQueue[Hashable, Effect] = field(default_factory=FairQueue)
    """effects of earlier turns, by whose they are (engine/turns.py): those of one name keep their order"""
    cluster: Cluster | None = None
    """what is asked before this supervisor acts; None: it is alone"""
    done: int = 0
    """effects of the last turn that had waited"""
    _owners: dict[str, tuple[Hashable, int]] = field(default_factory=dict)
    """by name: whose effects it has waiting, and how many; it stays there even if another process has it now"""

    def run(self, effects: list[Effect], woke: float, *, whole: bool) -> None:
        """Carry out effects, those of earlier turns first: as many as fit into ``PORTION_S``; if ``whole``, into
        ``WHOLE_S``, after which the rest is never announced: the next supervisor judges anew. The processes that
        they are about take turns.

        ``effects`` is empty afterwards. ``woke``: monotonic time at which this turn began.
        """
        # Callbacks first: their threads wake up while the events are written.
        for effect in effects:
            self._guarded(effect, partial(self._begin, woke))
        if any(isinstance(effect, RunCallback) for effect in effects):
            sleep(HAND_OVER_S)
        if self.left or len(effects) > IN_ORDER_MAX:
            for effect in effects:
                self._wait(effect)
        else:
            for effect in effects:
                self._guarded(effect, self._finish)
        effects.clear()
        self.done = 0
        until = monotonic() + (WHOLE_S if whole else PORTION_S)
        while self.left and (whole or not self._is_held_up) and monotonic() < until:
            self._guarded(self._next(), self._finish)
            self.done += 1

    @property
    def may_go_on(self) -> bool:
        """Whether ``run`` has something to do at once."""
        return bool(self.left) and not self._is_held_up

    def waits(self, name: str) -> bool:
        """Whether an effect of earlier turns is about this name."""
        return name in self._owners

    @property
    def _is_held_up(self) -> bool:
        return self._outbox is not None and len(self._outbox) >= ANNOUNCED_MAX

    def _wait(self, effect: Effect) -> None:
        if isinstance(effect, RunCallback | WatchProcess):
            return  # that is all in ``_begin``
        name = _name_of(effect)
        owner, count = self._owners.get(name) or (self._owner_of(name), 0)
        self._owners[name] = owner, count + 1
        self.left.put(owner, effect)

    def _next(self) -> Effect:
        effect = self.left.take()
        name = _name_of(effect)
        owner, count = self._owners.pop(name)
        if count > 1:
            self._owners[name] = owner, count - 1
        return effect

    def _owner_of(self, name: str) -> Hashable:
        """The process of a watchdog, or who speaks for it: all its other watchdogs have the same."""
        return self._driver.engine.table.turns.of(name)

    def _guarded(self, effect: Effect, do: Callable[[Effect], None]) -> None:
        try:
            do(effect)
        except Exception as fault:  # noqa: BLE001  # it is dropped: the next one may belong to another watchdog
            self._guard.fault(Place.EFFECT, fault, type(effect).__name__)

    def _begin(self, woke: float, effect: Effect) -> None:
        match effect:
            case RunCallback(name, callback) if not self._callbacks.has(name, callback):
                pass
            case RunCallback() if self.cluster is None or self.cluster.terms.may_call_back(effect.incident):
                incident = incident_of(effect, self._driver.now)
                run = partial(self._callbacks.run, incident, effect.callback, self._owner_of(effect.name))
                if self.cluster is None or not self.cluster.brake.delays(effect.incident, "callback", run):
                    run()
            case EndIncident():
                self._dispatcher.forestall(effect)  # its news waits for the disk, and nothing begins meanwhile
            case WatchProcess(process):
                engine = self._driver.engine
                if not self._process_watcher.watch(process):
                    if self._process_watcher.ended(process):
                        engine.processes.ended_unseen(process, self._driver.now, self._driver.out)
                elif (program := self._program_of(process)) is not None:
                    engine.on_purpose.belongs(process, program)
            case Event(EventType.EXPIRED, _, data) if "replay" not in data:
                self._metrics.incident(data["cause"], late(data, monotonic() - woke))
            case Event(EventType.WOULD_ACT, _, data):
                self._metrics.action(data["do"], "observed")

    def _finish(self, effect: Effect) -> None:
        match effect:
            case Event():
                self._publish(effect)
                if effect.type is EventType.GIVEN_UP and effect.name and self.cluster is not None:
                    self.cluster.steps.gave_up(effect.name)
                if effect.type is EventType.EXPIRED and effect.name and "replay" not in effect.data:
                    opened = partial(_opened, effect.name, effect.data)
                    owner = effect.data.get("check_of", effect.name)
                    self._dispatcher.take_output(owner, opened, self._keep_evidence)
            case RunStep() if not effect.observe:
                if self.cluster is None or not self.cluster.steps.take(effect):
                    self.run_step(effect)
            case StepRan(ran):
                self._dispatcher.remember(ran, incident_of(ran.about, self._driver.now))
                if self.cluster is not None:
                    self.cluster.steps.ran(ran)
            case EndIncident():
                self._after_commit(partial(self._dispatcher.end, effect))
                if self.cluster is not None:
                    self.cluster.steps.ended(effect)
            case Propose() if self.cluster is not None:
                self.cluster.suspicions.propose(effect)
            case Withdraw(name) if self.cluster is not None:
                self.cluster.suspicions.withdraw(name)
            case Fault(name, error):
                self._guard.fault(Place.VERDICT, error, name)

    def run_step(self, effect: RunStep) -> None:
        """Tell that the action of a step begins, and have it run when that is on disk."""
        if effect.beginning is not None:
            self._publish(effect.beginning)
        incident = incident_of(effect.about, self._driver.now)
        self._after_commit(partial(self._dispatcher.run, effect, incident))

    def stop(self) -> None:
        """The loop has ended: no step begins any more, neither one that waits for the disk nor one that waits for
        others, but for messages to people that have come so far. What is not begun is reported."""
        if self._outbox is not None:
            self._outbox.hand_over_work()
        self._dispatcher.stop()

    def _keep_evidence(self, incident: str, evidence: bytes) -> None:
        if self._outbox is not None:
            self._outbox.keep_evidence(incident, evidence)

    def _after_commit(self, do: Callable[[], None]) -> None:
        """Call ``do`` when all events published so far are on disk."""
        if self._outbox is None:
            do()
        else:
            self._outbox.after_commit(do)


def _name_of(effect: Effect) -> str:
    """The name that it is about; empty: the supervisor itself, or none."""
    match effect:
        case RunStep(about) | StepRan(RunStep(about)):
            return about.name
        case Event(_, name) | EndIncident(name) | Fault(name) | Propose(name) | Withdraw(name):
            return name or ""
    return ""


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
