"""The one loop: wait, credit the clock, drain the feeds, hear requests, judge, hand out what follows.

Its thread never runs a callback, touches a disk, writes to a pipe or waits for a lock that such work holds.
Whatever comes back from elsewhere comes as a message in the mailbox.
"""

from __future__ import annotations

import gc
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from random import random
from time import monotonic
from typing import Any

from banken.clock import wall
from banken.wire import Kind, Message, encode
from banken_supervisor.actions.callbacks import Callbacks
from banken_supervisor.actions.dispatcher import Dispatcher
from banken_supervisor.actions.keyed_executor import How, Job, KeyedExecutor
from banken_supervisor.actions.reports import CallbackReport
from banken_supervisor.control import control_api
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.policy import Window
from banken_supervisor.engine.rules import Rules
from banken_supervisor.journal import Limits
from banken_supervisor.outbox.checkpoints import Checkpoints
from banken_supervisor.outbox.outbox import Committed, Conditioned, Outbox
from banken_supervisor.outbox.publisher import Publisher
from banken_supervisor.processes.process_watcher import ProcessWatcher
from banken_supervisor.programs.program_watchdogs import ProgramWatchdogs
from banken_supervisor.runtime.config_reload import ConfigReload
from banken_supervisor.runtime.effect_runner import Performer
from banken_supervisor.runtime.guard import Guard, Place
from banken_supervisor.runtime.log_queue import LogQueue
from banken_supervisor.runtime.loop_messages import Acted, Declare, Do, Feeds, Forget, Stop
from banken_supervisor.runtime.loop_metrics import LoopMetrics
from banken_supervisor.runtime.mailbox import Mailbox
from banken_supervisor.runtime.maintenance_clock import MaintenanceClock
from banken_supervisor.sources.zmq_sockets import Ready, Sockets

FEEDS_PER_TURN = 10_000

FEEDS_AT_ONCE = 5_000
"""Feeds of the supervisor's own process that are taken between two looks at the clock."""

READ_S = 0.02
"""Seconds of one turn that reading may take: ten thousand feeds that are known take less, as many first ones twenty
times as long."""

NAP = 0.001
"""Seconds. While feeds keep coming, they are read once per nap and not one by one: at 50,000 a second,
waking up for each would cost a whole core. A feed is stamped when it is read, so a nap can only make a
verdict later."""

PORTION_S = 0.02
"""Seconds of one turn that messages may take, and as many for requests; the rest follow in the next turns. Thousands
of actions that end together must not keep the loop from its feeds."""

MANY = 10_000
"""Watchdogs from which on the garbage collector is kept away from them."""


class Loop:
    """Everything one supervisor's thread owns. ``resources`` gives back what is made here."""

    def __init__(
        self,
        sockets: Sockets,
        mailbox: Mailbox,
        callbacks: Callbacks,
        log_queue: LogQueue,
        rules: Rules,
        dispatcher: Dispatcher,
        programs: ProgramWatchdogs,
        resources: ExitStack,
        journal: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.mailbox = mailbox
        self.callbacks = callbacks
        self.dispatcher = dispatcher
        self.programs = programs
        self.config_reload: ConfigReload | None = None
        """reads the config file again; None: there is none"""
        self.started_at = wall()
        self.messages = 0
        """messages read from the feed socket, probes and refused ones included"""
        self.turns = 0
        self.slowest_turn = 0.0
        """seconds that the longest turn took, without its wait"""
        self.metrics = LoopMetrics()
        self._sockets = sockets
        self._log_queue = log_queue
        self._token = os.urandom(8)
        # Milliseconds since 1970 in base 36: two runs never share a prefix, and ids sort by age.
        run_id = f"{_base36(int(wall() * 1000))}{os.urandom(2).hex()}"
        self.driver = Driver(Engine(rules, run_id, self._token, random), monotonic())
        self.driver.engine.processes.is_stopping = programs.stopping
        self.guard = Guard(self.driver.out.append, log_queue.line)
        self.outbox = None if journal is None else Outbox(journal, run_id, mailbox.post, limits)
        if self.outbox is not None:
            resources.callback(self.outbox.close, 1.0)
        self.checkpoints = None if self.outbox is None else Checkpoints(self.driver, self.outbox)
        self._publisher = Publisher(sockets, log_queue, self.outbox, self.guard)
        self.publish = self._publisher.publish
        self.process_watcher = ProcessWatcher()
        resources.callback(self.process_watcher.close)
        self._performer = Performer(
            self.driver,
            self.guard,
            self._publisher,
            callbacks,
            dispatcher,
            self.process_watcher,
            self.outbox,
            self.metrics,
        )
        self.background = KeyedExecutor("banken-background", self._background_told, threads_max=4)
        """reads the config again and looks at the maintenance windows"""
        self.maintenance = MaintenanceClock(
            self._windows_open,
            self.fault_elsewhere(Place.MAINTENANCE),
            start=lambda work: self.background.submit(Job("the maintenance windows", work)),
        )
        resources.callback(self.background.close, 0.0)
        resources.callback(self.maintenance.close)
        log_queue.fault = self.fault_elsewhere(Place.LOG)
        for descriptor in (self.process_watcher.fileno(), programs.fileno()):
            if descriptor is not None:
                sockets.watch(descriptor)
        self._messages: deque[Any] = deque()
        """taken out of the mailbox, not opened yet"""
        self._dense = False
        self._many = MANY
        self._woke = 0.0
        self._stopping = False

    def run(self) -> None:
        """Turn until a Stop message comes. Programs run on, for the next supervisor to adopt."""
        guard, driver = self.guard, self.driver
        guard.run(Place.START, self._take_words)
        restored = guard.run(Place.START, self._restore) or {}
        self.publish(Event(EventType.STARTED, None, {"pid": os.getpid(), **restored}))
        guard.run(Place.START, self.programs.open, driver.engine, driver.now, driver.out)
        while not self._stopping:
            guard.run(Place.TURN, self.turn)
            guard.rest()
        self.publish(Event(EventType.STOPPING, None, {"pid": os.getpid()}))

    def finish(self) -> None:
        """After the last turn: put on record what became of callbacks and actions since."""
        self._messages.extend(self.mailbox.take())
        for message in self._messages:
            if isinstance(message, CallbackReport | Acted):
                self._open_message(message)

    def _take_words(self) -> None:
        """The operator's word that was given already comes before what a former supervisor left."""
        messages = self.mailbox.take()
        self._messages.extend(message for message in messages if not isinstance(message, Declare))
        for message in messages:
            if isinstance(message, Declare):
                self._open_message(message)

    def _restore(self) -> dict[str, int]:
        """Begin with what a former supervisor left."""
        if self.checkpoints is None:
            return {}
        watchdogs, incidents = self.checkpoints.restore(
            self.process_watcher, self.programs.__contains__, self.dispatcher.world.trust
        )
        return {"watchdogs": watchdogs, "incidents": incidents} if watchdogs else {}

    def turn(self) -> None:
        """One pass, in the order that the promises rest on: all feeds are read before anyone is judged."""
        driver, sockets, run = self.driver, self._sockets, self.guard.run
        napping = self._dense
        asked = run(Place.WAIT, self._patience)
        if asked is None or napping:
            asked = NAP if asked is None else min(asked, NAP)
        ready = run(Place.WAIT, sockets.wait, asked, feeds=not napping) or _ALL
        real = monotonic()
        run(Place.CLOCK, driver.wake, real, asked)
        drained = run(Place.FEED, sockets.drain, driver.read, FEEDS_PER_TURN, READ_S, self._bad_feed)
        count, complete = drained or (0, False)
        run(Place.CLOCK, driver.drained, count, complete=complete, took=monotonic() - real)
        self.messages += count
        self._dense = count > 0 and complete and real - self._woke <= 2 * NAP and not driver.barrier.waiting
        self._woke = real
        if ready.subscriptions:
            for topic in run(Place.SUBSCRIPTION, sockets.subscriptions) or ():
                run(Place.SUBSCRIPTION, self._welcome, topic)
        if ready.mailbox or self._messages:
            self._open_messages()
        if ready.others:
            for who in run(Place.EXIT, self.process_watcher.gone) or ():
                run(Place.EXIT, driver.engine.processes.exited, who, driver.now, driver.out)
        run(Place.PROGRAMS, self.programs.turn, driver.engine, driver.now, driver.out, ready=ready.others)
        if ready.control:
            run(Place.REQUEST, self._answer)
        probe = run(Place.JUDGE, driver.decide)
        if probe is not None:
            run(Place.PROBE, self._probe, probe)
        self._performer.perform(driver.out, real, whole=self._stopping)
        self._spare_collector()
        run(Place.NOTIFICATIONS, self.dispatcher.notify)
        run(Place.ACTIONS, self.dispatcher.turn)
        for executor in (self.callbacks, self.dispatcher.executor, self.background):
            run(Place.TIME_LIMITS, executor.check, monotonic())
        if self.outbox is not None:
            busy = bool(self._performer.left) or driver.patience() == 0.0
            run(Place.JOURNAL, self.outbox.turn, busy=busy)
        if self.checkpoints is not None and not self._performer.left:  # after what is told of the same change
            run(Place.REGISTRY, self.checkpoints.turn)
        if (complaint := self.mailbox.complaint(real)) is not None:
            self._log_queue.line(logging.ERROR, complaint, {})
        self.turns += 1
        took = monotonic() - real
        self.metrics.turns.observe(took)
        self.slowest_turn = max(self.slowest_turn, took)

    def _patience(self) -> float:
        """Seconds until something is to be done, whatever arrives."""
        asked = self.driver.patience()
        jobs = [each.patience(self._woke) for each in (self.callbacks, self.dispatcher, self.background)]
        busy = 0.0 if self._messages or self._performer.left or self.dispatcher.waiting else None
        held = None if self.outbox is None else self.outbox.patience()
        kept = None if self.checkpoints is None else self.checkpoints.patience()
        for limit in (*jobs, self.programs.patience(self.driver.now), busy, held, kept):
            if limit is not None and limit < asked:
                asked = limit
        return asked

    def _bad_feed(self, fault: Exception) -> None:
        self.guard.fault(Place.FEED, fault)

    def _probe(self, number: int) -> None:
        self._sockets.probe(encode(Message(Kind.PROBE, "banken", None, 0.0, None, (self._token, number))))

    def _answer(self) -> None:
        """Answer what was asked: as many as can be in a part of a turn."""
        until = monotonic() + PORTION_S
        for asker, request in self._sockets.requests():
            self._sockets.reply(asker, control_api.answer(self, request))
            if monotonic() >= until:
                return

    def tell(self, message: Message | bytes) -> str | None:
        """Take a message that came another way than the feed socket; why it was refused, or None."""
        driver = self.driver
        taking: Callable[..., Any] = driver.engine.take if isinstance(message, bytes) else driver.engine.tell
        refusal = taking(message, driver.now, driver.out)
        return None if refusal is None else refusal.text

    def stop(self) -> None:
        """End after this turn."""
        self._stopping = True

    @property
    def events(self) -> Counter[str]:
        """Events told, by type."""
        return self._publisher.counts

    @property
    def log_lines_dropped(self) -> int:
        """Log lines that found no room."""
        return self._log_queue.dropped

    def _open_messages(self) -> None:
        if not self._messages:  # what is not taken counts as waiting there, and is bounded there
            self._messages.extend(self.mailbox.take())
        until = monotonic() + PORTION_S
        while self._messages and not self._performer.left:
            self._open_message(self._messages.popleft())
            if monotonic() >= until:
                return

    def _open_message(self, message: Any) -> None:
        handle = HANDLERS.get(type(message), Loop._programs_message)
        try:
            handle(self, message)
        except Exception as fault:  # noqa: BLE001  # it is dropped: the next one is another's
            self.guard.fault(Place.MESSAGE, fault, type(message).__name__)

    def _feeds(self, message: Feeds) -> None:
        frames = message.frames
        if frames[FEEDS_AT_ONCE:]:
            self._messages.appendleft(Feeds(frames[FEEDS_AT_ONCE:]))
        self.driver.engine.intake(iter(frames[:FEEDS_AT_ONCE]), self.driver.now, self.driver.out)

    def _declare(self, message: Declare) -> None:
        self.driver.engine.declare(message.name, message.word, self.driver.now, self.driver.out)

    def _committed(self, message: Committed) -> None:
        assert self.outbox is not None
        self.outbox.committed(message.ticket)

    def _conditioned(self, message: Conditioned) -> None:
        assert self.checkpoints is not None
        self.checkpoints.conditioned(message.condition, self.driver.out)

    def _do(self, message: Do) -> None:
        message.what(self)

    def _forget(self, message: Forget) -> None:
        self.driver.engine.forget(message.name, self.driver.now, self.driver.out)

    def _stop(self, message: Stop) -> None:
        self.stop()

    def _programs_message(self, message: Any) -> None:
        self.programs.handle(message, self.driver.engine, self.driver.now, self.driver.out)

    def fault_elsewhere(self, place: Place) -> Callable[[Exception], None]:
        """What another thread calls with an exception that it caught there."""
        return lambda fault: self.mailbox.post(Do(lambda loop: loop.guard.fault(place, fault)))

    def _windows_open(self, left: Mapping[Window, float]) -> None:
        """On the thread that looks at the clock: have the loop pause whom these windows concern."""

        def begin(loop: Loop) -> None:
            loop.driver.engine.maintenance.open_windows(left, loop.driver.now)
            go_on(loop)

        def go_on(loop: Loop) -> None:
            if loop.driver.engine.maintenance.go_on(loop.driver.now, loop.driver.out):
                loop.mailbox.post(Do(go_on))

        self.mailbox.post(Do(begin))

    def _background_told(self, job: Job, how: How, value: Any, seconds: float) -> None:
        """From any thread."""
        if how is not How.DONE:
            self._log_queue.line(logging.ERROR, f"{job.lane}: {value}", {})

    def _spare_collector(self) -> None:
        if len(self.driver.engine) > self._many:
            # The collector would look through all of them again and again for cycles that they are not part of:
            # a pause of a second at a million. They are still freed when they are released.
            self._many = len(self.driver.engine) * 5 // 4
            gc.freeze()

    def _reported(self, report: CallbackReport) -> None:
        data = {key: value for key, value in asdict(report).items() if value != ""}
        del data["type"], data["name"]
        self.publish(Event(report.type, report.name, data))

    def _acted(self, message: Acted) -> None:
        report, evidence = message.report, message.evidence
        if self.outbox is not None:
            self.outbox.report(report)
            if evidence is not None:
                self.outbox.evidence(report.incident, evidence)
        self.metrics.action(report.action, report.type.value.removeprefix("action-"))
        data = {
            "incident": report.incident, "step": report.step, "run": report.run, "do": report.action,
            "seconds": report.seconds, "text": report.text, "level": report.level,
            "recovered": report.recovered or None,
        }  # fmt: skip
        known = {key: value for key, value in data.items() if value is not None and value != ""}
        self.publish(Event(EventType(report.type.value), report.name, known))

    def _welcome(self, topic: bytes) -> None:
        """Tell a listener that came late about the incident that is open."""
        event = self.driver.engine.replay(topic[:-1].decode("ascii", "replace"), self.driver.now)
        if event is not None:
            self.publish(event)


HANDLERS: dict[type, Callable[[Loop, Any], None]] = {
    Feeds: Loop._feeds,
    CallbackReport: Loop._reported,
    Declare: Loop._declare,
    Acted: Loop._acted,
    Committed: Loop._committed,
    Conditioned: Loop._conditioned,
    Do: Loop._do,
    Forget: Loop._forget,
    Stop: Loop._stop,
}
"""What is done with each kind of message; those of the programs are not among them."""

_ALL = Ready(True, True, True, True, True)
"""Taken for true where waiting failed: everything is tried, and nothing waits for it."""


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return digits or "0"
