"""The one loop: wait, credit the clock, drain the feeds, hear requests, judge, hand out what follows.

Its thread never runs a callback, touches a disk, writes to a pipe or waits for a lock that such work holds.
Whatever comes back from elsewhere comes as a letter in the mailbox.
"""

from __future__ import annotations

import gc
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from random import random
from time import monotonic
from typing import Any

from banken.control import topic
from banken.model import Incident
from banken.wire import Kind, Message, encode, pack
from banken_supervisor import requests
from banken_supervisor.annals import Annals, Committed, Conditioned
from banken_supervisor.callbacks import Callbacks, Report
from banken_supervisor.core.effects import (
    Effect,
    EndIncident,
    Event,
    EventType,
    RunCallback,
    RungRan,
    RunRung,
    WatchProcess,
)
from banken_supervisor.core.kennel import Kennel
from banken_supervisor.core.policy import Window
from banken_supervisor.core.rules import Rules
from banken_supervisor.core.watch import Watch
from banken_supervisor.executor import How, Job, KeyedExecutor
from banken_supervisor.journal import Limits
from banken_supervisor.letters import Acted, Declare, Do, Feeds, Forget, Stop
from banken_supervisor.lives import Lives
from banken_supervisor.mailbox import Mailbox
from banken_supervisor.maintenance import Maintenance
from banken_supervisor.measures import late
from banken_supervisor.recovery.jobs import Report as ActionReport
from banken_supervisor.register import Register
from banken_supervisor.reloading import Reloading
from banken_supervisor.remedies import Remedies, incident_of
from banken_supervisor.scribe import Scribe
from banken_supervisor.stable import Stable
from banken_supervisor.tally import Tally
from banken_supervisor.transport import Sockets
from banken_supervisor.wording import LEVELS, log_line

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
"""Seconds of one turn that letters may take, and as many for effects; the rest follow in the next turns. Thousands
of verdicts, or of actions that end together, must not keep the loop from its feeds."""

MANY = 10_000
"""Watchdogs from which on the garbage collector is kept away from them."""


class Loop:
    """Everything one supervisor's thread owns. ``resources`` gives back what is made here."""

    def __init__(
        self,
        sockets: Sockets,
        mailbox: Mailbox,
        callbacks: Callbacks,
        scribe: Scribe,
        rules: Rules,
        remedies: Remedies,
        stable: Stable,
        resources: ExitStack,
        journal: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.mailbox = mailbox
        self.callbacks = callbacks
        self.remedies = remedies
        self.stable = stable
        self.reloading: Reloading | None = None
        """reads the config file again; None: there is none"""
        self.lookout: Callable[[float], str | None] | None = None
        """why nobody new can reach this supervisor, or None; asked in each turn, with its time"""
        self.started_at = time.time()
        self.messages = 0
        """messages read from the feed socket, probes and refused ones included"""
        self.turns = 0
        self.slowest_turn = 0.0
        """seconds that the longest turn took, without its wait"""
        self.sequence = 0
        self.events: Counter[str] = Counter()
        self.tally = Tally()
        self._sockets = sockets
        self._scribe = scribe
        self._token = os.urandom(8)
        # Milliseconds since 1970 in base 36: two runs never share a prefix, and ids sort by age.
        run_id = f"{_base36(time.time_ns() // 1_000_000)}{os.urandom(2).hex()}"
        self.watch = Watch(Kennel(rules, run_id, self._token, random), monotonic())
        self.watch.kennel.taken_down = stable.stopping
        self.annals = None if journal is None else Annals(journal, run_id, mailbox.post, limits)
        if self.annals is not None:
            resources.callback(self.annals.close, 1.0)
        self.register = None if self.annals is None else Register(self.watch, self.annals)
        self.lives = Lives()
        resources.callback(self.lives.close)
        self.background = KeyedExecutor("banken-background", self._background_told, threads_max=4)
        """reads the config again and looks at the maintenance windows"""
        self.maintenance = Maintenance(
            self._windows_open, start=lambda work: self.background.submit(Job("the maintenance windows", work))
        )
        resources.callback(self.background.close, 0.0)
        resources.callback(self.maintenance.close)
        for descriptor in (self.lives.fileno(), stable.fileno()):
            if descriptor is not None:
                sockets.watch(descriptor)
        self._letters: deque[Any] = deque()
        """taken out of the mailbox, not opened yet"""
        self._effects: deque[Effect] = deque()
        """of former turns, not carried out yet; meanwhile no letter is opened, so that all is told in its order"""
        self._dense = False
        self._many = MANY
        self._woke = 0.0
        self._stopping = False

    def run(self) -> None:
        """Turn until a Stop letter comes. Programs run on, for the next supervisor to adopt."""
        self._restore()
        self.stable.open(self.watch.kennel, self.watch.now, self.watch.out)
        while not self._stopping:
            self.turn()
        self.publish(Event(EventType.STOPPING, None, {"pid": os.getpid()}))

    def finish(self) -> None:
        """After the last turn: put on record what became of callbacks and actions since."""
        self._letters.extend(self.mailbox.take())
        for letter in self._letters:
            if isinstance(letter, Report | Acted):
                self._open_letter(letter)

    def _restore(self) -> None:
        """Begin with what a former supervisor left; the operator's word that was given already comes before."""
        data = {"pid": os.getpid()}
        self._letters.extend(self.mailbox.take())
        words = [letter for letter in self._letters if isinstance(letter, Declare)]
        self._letters = deque(letter for letter in self._letters if not isinstance(letter, Declare))
        for letter in words:
            self._open_letter(letter)
        if self.register is not None:
            watchdogs, incidents = self.register.restore(
                self.lives, self.stable.__contains__, self.remedies.world.trust
            )
            if watchdogs:
                data |= {"watchdogs": watchdogs, "incidents": incidents}
        self.publish(Event(EventType.STARTED, None, data))

    def turn(self) -> None:
        """One pass, in the order that the promises rest on: all feeds are read before anyone is judged."""
        watch, sockets = self.watch, self._sockets
        asked = watch.patience()
        jobs = [each.patience(self._woke) for each in (self.callbacks, self.remedies, self.background)]
        others = (*jobs, self.stable.patience(watch.now))
        busy = 0.0 if self._letters or self._effects or self.remedies.waiting else None
        held = None if self.annals is None else self.annals.patience()
        kept = None if self.register is None else self.register.patience()
        for limit in (*others, busy, held, kept):
            if limit is not None and limit < asked:
                asked = limit
        napping = self._dense
        if napping:
            asked = min(asked, NAP)
        ready = sockets.wait(asked, feeds=not napping)
        real = monotonic()
        watch.wake(real, asked)
        count, complete = sockets.drain(watch.read, FEEDS_PER_TURN, READ_S)
        watch.drained(count, complete=complete, took=monotonic() - real)
        self.messages += count
        self._dense = count > 0 and complete and real - self._woke <= 2 * NAP and not watch.hold.waiting
        self._woke = real
        if ready.subscriptions:
            self._welcome(sockets.subscriptions())
        if ready.mailbox or self._letters:
            self._open_letters()
        if ready.others:
            for who in self.lives.gone():
                watch.kennel.exited(who, watch.now, watch.out, self.stable.stopping)
        self.stable.turn(watch.kennel, watch.now, watch.out, ready=ready.others)
        if ready.control:
            for asker, request in sockets.requests():
                sockets.reply(asker, requests.answer(self, request))
        probe = watch.decide()
        if probe is not None:
            sockets.probe(encode(Message(Kind.PROBE, "banken", None, 0.0, None, (self._token, probe))))
        self._carry_out(watch.out)
        self.remedies.turn()
        for each in (self.callbacks, self.remedies.executor, self.background):
            each.check(monotonic())
        if self.annals is not None:
            self.annals.turn(busy=bool(self._effects) or watch.patience() == 0.0)
        complaints = [self.mailbox.complaint(real), None if self.lookout is None else self.lookout(real)]
        for text in filter(None, complaints):
            self._scribe.line(logging.ERROR, text, {})
        if self.register is not None and not self._effects:  # after what is told of the same change
            self.register.turn()
        self.turns += 1
        took = monotonic() - real
        self.tally.turns.observe(took)
        self.slowest_turn = max(self.slowest_turn, took)

    def tell(self, message: Message | bytes) -> str | None:
        """Take a message that came another way than the feed socket; why it was refused, or None."""
        watch = self.watch
        taking: Callable[..., Any] = watch.kennel.take if isinstance(message, bytes) else watch.kennel.tell
        refusal = taking(message, watch.now, watch.out)
        return None if refusal is None else refusal.text

    def stop(self) -> None:
        """End after this turn."""
        self._stopping = True

    @property
    def log_lines_dropped(self) -> int:
        """Log lines that found no room."""
        return self._scribe.dropped

    def _open_letters(self) -> None:
        if not self._letters:  # what is not taken counts as waiting there, and is bounded there
            self._letters.extend(self.mailbox.take())
        until = monotonic() + PORTION_S
        while self._letters and not self._effects:
            self._open_letter(self._letters.popleft())
            if monotonic() >= until:
                return

    def _open_letter(self, letter: Any) -> None:
        kennel = self.watch.kennel
        match letter:
            case Feeds(frames):
                kennel.intake(iter(frames[:FEEDS_AT_ONCE]), self.watch.now, self.watch.out)
                if frames[FEEDS_AT_ONCE:]:
                    self._letters.appendleft(Feeds(frames[FEEDS_AT_ONCE:]))
            case Report():
                self._reported(letter)
            case Declare(name, word):
                kennel.declare(name, word, self.watch.now, self.watch.out)
            case Acted(report, evidence):
                self._acted(report, evidence)
            case Committed(ticket):
                assert self.annals is not None
                self.annals.committed(ticket)
            case Conditioned(condition):
                assert self.register is not None
                self.register.conditioned(condition, self.watch.out)
            case Do(what):
                what(self)
            case Forget(name):
                kennel.forget(name, self.watch.now, self.watch.out)
            case Stop():
                self._stopping = True
            case _:
                self.stable.handle(letter, kennel, self.watch.now, self.watch.out)

    def _windows_open(self, left: Mapping[Window, float]) -> None:
        """On the thread that looks at the clock: have the loop pause whom these windows concern."""

        def begin(loop: Loop) -> None:
            loop.watch.kennel.maintain(left, loop.watch.now)
            go_on(loop)

        def go_on(loop: Loop) -> None:
            if loop.watch.kennel.maintain_more(loop.watch.now, loop.watch.out):
                loop.mailbox.post(Do(go_on))

        self.mailbox.post(Do(begin))

    def _background_told(self, job: Job, how: How, value: Any, seconds: float) -> None:
        """From any thread."""
        if how is not How.DONE:
            self._scribe.line(logging.ERROR, f"{job.lane}: {value}", {})

    def _carry_out(self, effects: list[Effect]) -> None:
        # Callbacks first: their threads wake up while the events are written.
        for effect in effects:
            if isinstance(effect, RunCallback):
                self.callbacks.run(self._incident(effect), effect.callback)
            elif isinstance(effect, WatchProcess):
                self.lives.watch(effect.who)
            elif isinstance(effect, Event):
                self._count(effect)
        self._effects.extend(effects)
        effects.clear()
        until = monotonic() + PORTION_S
        while self._effects:
            match effect := self._effects.popleft():
                case Event():
                    self.publish(effect)
                case RunRung() if not effect.observe:
                    self._then(partial(self.remedies.run, effect, self._incident(effect.about)))
                case RungRan(ran):
                    self.remedies.remember(ran, self._incident(ran.about))
                case EndIncident():
                    self._then(partial(self.remedies.end, effect))
            if monotonic() >= until and not self._stopping:
                break
        if len(self.watch.kennel) > self._many:
            # The collector would look through all of them again and again for cycles that they are not part of:
            # a pause of a second at a million. They are still freed when they are released.
            self._many = len(self.watch.kennel) * 5 // 4
            gc.freeze()

    def _then(self, do: Callable[[], None]) -> None:
        """What follows from what was told, when that is on disk."""
        if self.annals is None:
            do()
        else:
            self.annals.then(do)

    def _count(self, event: Event) -> None:
        if event.type is EventType.EXPIRED:
            self.tally.incident(event.data["cause"], late(event.data, monotonic() - self._woke))
        elif event.type is EventType.WOULD_ACT:
            self.tally.action(event.data["do"], "observed")

    def _incident(self, effect: RunCallback) -> Incident:
        return incident_of(effect, self.watch.now)

    def _reported(self, report: Report) -> None:
        data = {key: value for key, value in asdict(report).items() if value != ""}
        del data["type"], data["name"]
        self.publish(Event(report.type, report.name, data))

    def _acted(self, report: ActionReport, evidence: bytes | None) -> None:
        if self.annals is not None:
            self.annals.report(report)
            if evidence is not None:
                self.annals.evidence(report.incident, evidence)
        self.tally.action(report.action, report.type.value.removeprefix("action-"))
        data = {
            "incident": report.incident, "rung": report.rung, "run": report.run, "do": report.action,
            "seconds": report.seconds, "text": report.text, "level": report.level,
            "recovered": report.recovered or None,
        }  # fmt: skip
        known = {key: value for key, value in data.items() if value is not None and value != ""}
        self.publish(Event(EventType(report.type.value), report.name, known))

    def publish(self, event: Event) -> None:
        """Tell whoever listens, and the log, and the journal."""
        self.sequence += 1
        self.events[event.type.value] += 1
        level = LEVELS.get(event.type, logging.INFO)
        if self.annals is None and not self._sockets.listened_to and not self._scribe.wants(level):
            return
        at = time.time()
        body = {"seq": self.sequence, "time": at, "type": event.type.value, **event.data}
        if event.name is not None:
            body["name"] = event.name

        def announce() -> None:
            self._sockets.publish(topic(event.name), pack(body))
            self._scribe.line(level, log_line(event), body)

        if self.annals is None:
            announce()
        else:
            self.annals.keep(event, self.sequence, at, announce)

    def _welcome(self, topics: list[bytes]) -> None:
        """Tell listeners that came late about the incident that is open."""
        for each in topics:
            event = self.watch.kennel.replay(each[:-1].decode("ascii", "replace"), self.watch.now)
            if event is not None:
                self.publish(event)


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return digits or "0"
