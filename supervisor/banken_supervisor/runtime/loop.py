"""The loop: wait, credit the clock, read feeds, answer requests, judge, carry out effects.

Its thread never runs a callback, accesses a disk, writes to a pipe or waits for a lock that such work holds.
Results of other threads come back as messages in the mailbox.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from itertools import count
from math import inf
from random import random
from time import monotonic
from typing import TYPE_CHECKING, Any

from banken.protocol.codec import encode
from banken.protocol.messages import Kind, Message
from banken_supervisor.actions.callbacks import Callbacks
from banken_supervisor.actions.dispatcher import Dispatcher
from banken_supervisor.actions.job import How, Job
from banken_supervisor.actions.keyed_executor import KeyedExecutor
from banken_supervisor.control import control_api
from banken_supervisor.control.view import ControlView, ReloadView, RemoteView
from banken_supervisor.engine.driver import WAIT_MAX, Driver
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.policy import Window
from banken_supervisor.engine.rules import Rules
from banken_supervisor.journal import JournalSettings
from banken_supervisor.observability.guard import Guard, Place
from banken_supervisor.observability.log_queue import LogQueue
from banken_supervisor.observability.loop_metrics import LoopMetrics
from banken_supervisor.outbox.checkpoints import Checkpoints
from banken_supervisor.outbox.outbox import Outbox
from banken_supervisor.outbox.publisher import Publisher
from banken_supervisor.processes.process_watcher import ProcessWatcher
from banken_supervisor.programs.program_watchdogs import ProgramWatchdogs
from banken_supervisor.runtime.effect_runner import EffectRunner
from banken_supervisor.runtime.mailbox import Mailbox
from banken_supervisor.runtime.maintenance_clock import MaintenanceClock, windows_ended
from banken_supervisor.runtime.message_handler import MessageHandler
from banken_supervisor.runtime.outer_watchdogs import OuterWatchdogs
from banken_supervisor.runtime.process_wiring import wire_processes
from banken_supervisor.runtime.program_wiring import join_programs
from banken_supervisor.runtime.resources import Resources
from banken_supervisor.runtime.run_id import new_run_id
from banken_supervisor.runtime.runtime_config import ConfigReload, ConfigTargets
from banken_supervisor.sources.sockets import EVERYTHING, FEEDS, NOTHING, Ready, Sockets

if TYPE_CHECKING:
    from banken_supervisor.runtime.cluster import Cluster

FEEDS_PER_TURN = 10_000

TURN_MAX = 5.0
"""Seconds. A turn that handles everything takes place at least this often."""

READ_S, WAITING_S = 0.01, 0.001
"""Seconds of one turn for reading feeds (10,000 known ones take less), and for messages that wait (waiting.py)."""

EFFECTS_MAX, EFFECTS_EACH = 500, 4
"""Effects left of earlier turns that are many, and those that one message causes, at most."""

NAP = 0.001
"""Seconds. While many feeds come, they are read once per nap and not one by one: at 50,000 per second, a wake-up
for each would use a whole core. A feed gets its time when it is read, so a nap can only make a verdict later."""

REQUESTS_S = 0.005
"""Seconds of one turn for requests; the rest follow in the next turns."""


class Loop:
    """The loop of one supervisor, and the parts that its thread owns. ``resources`` closes them."""

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
        journal: JournalSettings | None = None,
    ) -> None:
        self.mailbox = mailbox
        self.callbacks = callbacks
        self.dispatcher = dispatcher
        self.programs = programs
        self.config_reload: ReloadView | None = None
        """None: there is no config file, and no key"""
        self.metrics = LoopMetrics()
        self._sockets = sockets
        self._log_queue = log_queue
        self._token = os.urandom(8)
        run_id = self.run_id = new_run_id()
        self.driver = Driver(Engine(rules, run_id, self._token, random), monotonic())
        self.guard = Guard(self.driver.out.append, log_queue.line)
        self._bad_feed = bad = partial(self.guard.fault, Place.FEED)
        self.notify = join_programs(programs, self.driver, sockets, mailbox.post, dispatcher, callbacks, bad)
        self.outbox = None if journal is None else Outbox(journal, run_id, mailbox.post)
        if self.outbox is not None:
            resources.callback(self.outbox.close, 1.0)
        self.checkpoints = None if self.outbox is None else Checkpoints(self.driver, self.outbox)
        self.publish = Publisher(sockets.events, log_queue, self.outbox, self.guard, self.metrics).publish
        self.process_watcher = ProcessWatcher()
        resources.callback(self.process_watcher.close)
        watcher = self.process_watcher
        self.resources = Resources(self.driver, watcher, self.guard, self.publish, sockets.unsent)
        wire_processes(self.driver.engine.processes, self.driver.engine.table, watcher)
        self._effects = EffectRunner(
            self.driver, self.guard, self.publish, callbacks, dispatcher, self.process_watcher, self.outbox,
            self.metrics, programs.program_of,
        )  # fmt: skip
        if self.checkpoints is not None:
            self.checkpoints.waits, self.checkpoints.is_proved = self._effects.waits, dispatcher.context.is_proved
        self.background = KeyedExecutor("banken-background", self._background_ended, threads_max=4)
        """reloads the config and watches the maintenance windows"""
        resources.callback(self.background.close, 0.0)
        self.maintenance = MaintenanceClock(
            self._windows_open,
            self.fault_elsewhere(Place.MAINTENANCE),
            start=lambda work: self.background.submit(Job("the maintenance windows", work)),
        )
        resources.callback(self.maintenance.close)
        self.messages = MessageHandler(
            mailbox, self.driver, self.guard, self.metrics, programs, self.maintenance, self._effects, self.outbox,
        )  # fmt: skip
        log_queue.fault = self.fault_elsewhere(Place.LOG)
        self.view = ControlView(
            self.driver, programs, self.guard, self.metrics, self._parts, lambda: self.config_reload,
            watcher.unseen, self.stop, lambda: self.remote,
            lambda: self.cluster,
        )  # fmt: skip
        self.outer = OuterWatchdogs(
            self.view, (callbacks, dispatcher.executor), log_queue.line, self.outbox, self.publish, mailbox.post
        )
        resources.callback(self.outer.close)
        for descriptor in (self.process_watcher.fileno(), programs.fileno()):
            if descriptor is not None:
                sockets.watch(descriptor)
        self._executors = callbacks, dispatcher.executor, self.background
        self.driver.barrier.exact = True
        sockets.queue_in(self.driver.engine.waiting, self.driver.engine.admission.refused)
        sockets.connections.limit = lambda: self.driver.engine.waiting.quotas.connections
        self._dense, self._woke = False, 0.0
        self._stopping = self._ending = False
        self.remote = RemoteView()
        self.cluster: Cluster | None = None
        """None: this supervisor is alone"""
        self.upward: Callable[[], Any] = lambda: None
        self.ends_programs = False
        """whether programs are stopped before the loop ends; else they run on"""
        self.stop_limit: Callable[[], float] = lambda: 0.0
        """seconds that its supervisor may take to end after the loop"""

    # -- start and stop -------------------------------------------------------------------------

    def bind_config(self, config_reload: ConfigReload) -> None:
        """Apply a config, before the first turn."""
        parts = self.driver, self.programs, self.dispatcher, self.callbacks, self.maintenance, self.view.checks
        start = lambda read: self.background.submit(Job("reading the config", read))  # noqa: E731
        config_reload.bind(ConfigTargets(*parts, self.outer, self._follow_notify), self.publish, start)
        self.config_reload = config_reload

    def _follow_notify(self, outsiders: Mapping[str, str]) -> None:
        """To bind sockets takes the disk, which nobody waits for before the first turn."""
        work = self.notify.follow(outsiders)
        if self._woke:
            self.background.submit(Job("the sockets of sd_notify", work))
        else:
            self.guard.run(Place.START, work)

    def bind_cluster(self, make: Callable[[EffectRunner], Cluster]) -> None:
        """Be a member of a cluster, before the first turn."""
        self.cluster = self._effects.cluster = self.messages.cluster = make(self._effects)

    def run(self) -> None:
        """Run until ``stop`` is called."""
        guard, driver = self.guard, self.driver
        guard.run(Place.START, self.messages.take_declarations)
        restored = guard.run(Place.START, self._restore) or {}
        self.publish(Event(EventType.STARTED, None, {"pid": os.getpid(), **restored}))
        guard.run(Place.START, self.resources.start)
        guard.run(Place.START, self.programs.open, driver.engine, driver.now, driver.out)
        if self.cluster is not None:
            guard.run(Place.START, self.cluster.start)
        while not self._stopping:
            with suppress(MemoryError):  # of the guard itself
                guard.run(Place.TURN, self.turn)
                self._stopping |= self._ending and not self._is_awaited()
                guard.rest()
        guard.run(Place.OUTER_WATCHDOGS, self.outer.close)
        self.publish(Event(EventType.STOPPING, None, {"pid": os.getpid()}))
        guard.run(Place.ACTIONS, self._effects.stop)  # before a cluster is told: until then they are this member's

    def stop(self) -> dict[str, Any]:
        """Stop after this turn; with ``ends_programs`` when all programs have ended; in a cluster when its leader
        knows what is not begun for it, for a moment.

        Returns what the asker gets to know.
        """
        if not self._ending:
            self._ending = True
            if self.cluster is not None:
                self.guard.run(Place.CLUSTER, self.cluster.end.begin)
            if self.ends_programs:
                self.guard.run(Place.OUTER_WATCHDOGS, self.outer.stop)
                self.programs.stop_all("its supervisor ends", self.driver.engine, self.driver.now, self.driver.out)
        self._stopping |= not self._is_awaited()
        return {"within": self.stop_limit(), "programs": self.ends_programs}

    def _is_awaited(self) -> bool:
        if self.ends_programs and self.programs.ending():
            return True
        return self.cluster is not None and self.cluster.end.is_awaited()

    def give_way(self) -> None:
        """Stop after this turn, and leave all programs running: another supervisor acts here."""
        self._stopping = True

    def _restore(self) -> dict[str, int]:
        if self.checkpoints is None:
            return {}
        watchdogs, incidents = self.checkpoints.restore(
            self.process_watcher, self.dispatcher.context.trust, self._windows_ended
        )
        return {"watchdogs": watchdogs, "incidents": incidents} if watchdogs else {}

    # -- one turn -------------------------------------------------------------------------------------

    def turn(self) -> None:
        """One turn. The order matters: all feeds are read before any verdict."""
        driver, run = self.driver, self.guard.run
        ready = self._read()
        if self._sockets.events.has_subscriptions:
            for topic in run(Place.SUBSCRIPTION, self._sockets.events.subscriptions) or ():
                run(Place.SUBSCRIPTION, self.welcome, topic)
        if ready.mailbox or self.messages.waiting:
            self.messages.handle_some()
        if ready.others:
            for process, status in run(Place.EXIT, self.process_watcher.gone) or ():
                run(Place.EXIT, driver.engine.processes.exited, process, driver.now, driver.out, status)
        run(Place.PROGRAMS, self.programs.turn, driver.engine, driver.now, driver.out, ready=ready.others)
        if self._sockets.control.has_requests:
            run(Place.REQUEST, self._answer)
        probe = run(Place.JUDGE, driver.decide)
        if probe is not None:
            run(Place.PROBE, self._probe, probe)
        self._effects.run(driver.out, self._woke, whole=self._stopping)
        run(Place.NOTIFICATIONS, self.dispatcher.notices.turn, monotonic())
        run(Place.ACTIONS, self.dispatcher.turn)
        if self.cluster is not None:
            run(Place.CLUSTER, self.cluster.turn)
        for executor in self._executors:
            run(Place.TIME_LIMITS, executor.check, monotonic())
        if self.outbox is not None:
            run(Place.JOURNAL, self.outbox.turn)
        if self.checkpoints is not None:
            run(Place.REGISTRY, self.checkpoints.turn)
        self.resources.turn(self._woke)
        run(Place.OUTER_WATCHDOGS, self.outer.turn, self._woke)
        if (report := self.mailbox.refusal_report(self._woke)) is not None:
            self._log_queue.line(logging.ERROR, report, {})
        self.metrics.turn(monotonic() - self._woke)

    def _read(self) -> Ready:
        """Wait, and take the feeds that have come. While nothing else happens, wait again: a known feed creates no
        deadline, effect or message, so nothing else must be checked."""
        driver, engine, metrics = self.driver, self.driver.engine, self.metrics
        asked = self.guard.run(Place.WAIT, self._patience)
        if asked is None:
            asked = NAP
        until = monotonic() + asked
        while True:
            napping = self._dense
            asked = min(asked, NAP if napping else WAIT_MAX)
            decoded = engine.decoded_bytes, engine.waiting.taken
            ready, real, count, complete = self._wait_and_drain(asked, napping)
            metrics.messages += count
            self._dense = count > 0 and complete and real - self._woke <= 2 * NAP and not driver.barrier.waiting
            self._woke = real
            asked = until - real
            if (
                (ready is not FEEDS and ready is not NOTHING) or not complete or asked <= 0.0 or driver.out
                or (engine.decoded_bytes, engine.waiting.taken) != decoded or self._sockets.have_requests
            ):  # fmt: skip
                return ready
            metrics.turns += 1

    def _wait_and_drain(self, asked: float, napping: bool) -> tuple[Ready, float, int, bool]:
        """(what is readable, monotonic end of the wait, number of feeds read, whether the socket is empty)."""
        place = Place.WAIT
        ready, real, count, complete = EVERYTHING, monotonic(), 0, False
        try:
            ready = self._sockets.wait(asked, not napping)
            place = Place.CLOCK
            real = monotonic()
            self.driver.wake(real, asked)
            if self.cluster is not None:
                self.guard.run(Place.CLUSTER, self.cluster.look)
            place = Place.FEED
            if ready is NOTHING:  # to try and get an exception costs 8 µs
                count, complete = 0, True
            else:
                count, complete = self._sockets.drain(self.driver.read, FEEDS_PER_TURN, READ_S, self._bad_feed)
            self.driver.drained(count, complete, monotonic() - real, self._more_messages())
            while refusals := self._sockets.connections.refusals:
                self.driver.engine.admission.refuse(refusals.pop(), self.driver.now, self.driver.out)
        except Exception as fault:  # noqa: BLE001  # the rest of the turn goes on
            self.guard.fault(place, fault)
        return ready, real, count, complete

    def _more_messages(self) -> Callable[[], bool]:
        """Whether one more of the messages that wait is to be taken in this turn. Each causes effects: while many
        of those are left, no more are added than are carried out."""
        effects, until, taken = self._effects, monotonic() + WAITING_S, count()
        gives_way = self.outbox is not None and self.outbox.holds_up()
        self.driver.is_held_up = gives_way or len(effects.left) >= EFFECTS_MAX
        most = 0 if gives_way else effects.done // EFFECTS_EACH if self.driver.is_held_up else inf
        return lambda: next(taken) < most and monotonic() < until

    def _patience(self) -> float:
        # What a part that has its turn after the effects has decided is carried out in the next turn.
        if self.driver.out or self.messages.waiting or self._effects.may_go_on or self.dispatcher.waiting:
            return 0.0
        asked, woke = self.driver.patience(TURN_MAX), self._woke
        waits = [each.patience(woke) for each in (self.callbacks, self.dispatcher, self.background, self.outer)]
        waits += [each.patience() for each in (self.outbox, self.checkpoints, self.cluster) if each is not None]
        for limit in (*waits, self.resources.patience(), self.programs.patience(self.driver.now)):
            if limit is not None and limit < asked:
                asked = limit
        return asked

    def _probe(self, number: int) -> None:
        self._sockets.send_barrier(encode(Message(Kind.PROBE, "banken", None, 0.0, None, (self._token, number))))

    def _answer(self) -> None:
        until = monotonic() + REQUESTS_S
        for routing_id, request in self._sockets.control.requests():
            self._sockets.control.reply(routing_id, control_api.answer(self.view, request))
            if monotonic() >= until:
                return

    def _parts(self) -> dict[str, Any]:
        return {
            "callbacks": self.callbacks.counts(),
            "actions": self.dispatcher.executor.counts(),
            **self.resources.state(),
            "connections": len(self._sockets.connections),
            "connections_max": self._sockets.connections.most,
            "journal": None if self.outbox is None else self.outbox.state(),
            "cluster": self.cluster and {**self.cluster.state(), "same_name": self.cluster.members.same_name},
            "upward": self.upward(),
            "log_lines_dropped": self._log_queue.dropped,
            "mailbox_refused": self.mailbox.refused,
            **self.outer.state(),
        }

    def welcome(self, topic: bytes) -> None:
        """Tell a new subscriber the open incident of its topic, after what is decided and not told yet."""
        event = self.driver.engine.incidents.replay(topic[:-1].decode("ascii", "replace"), self.driver.now)
        if event is not None:
            self.driver.out.append(event)

    # -- called on other threads ----------------------------------------------------------------------

    def fault_elsewhere(self, place: Place) -> Callable[[Exception], None]:
        """A function with which another thread reports an exception."""
        return lambda fault: self.mailbox.post(partial(self.guard.fault, place, fault))

    def _windows_open(self, left: Mapping[Window, float]) -> None:
        """Called on the thread of the maintenance clock: makes the loop pause the watchdogs of these windows."""
        driver, maintenance = self.driver, self.driver.engine.maintenance

        def begin() -> None:
            maintenance.open_windows(left, driver.now)
            go_on()

        def go_on() -> None:
            if maintenance.go_on(driver.now, driver.out):
                self.mailbox.post(go_on)

        self.mailbox.post(begin)

    def _windows_ended(self, seconds: float) -> Mapping[Window, float]:
        windows = self.driver.engine.rules.windows()
        found = self.guard.run(Place.MAINTENANCE, windows_ended, windows, seconds) if windows else None
        return found or {}

    def _background_ended(self, job: Job, how: How, value: Any, seconds: float) -> None:
        if how is not How.DONE and how is not How.DROPPED:
            self._log_queue.line(logging.ERROR, f"{job.lane}: {value}", {})
