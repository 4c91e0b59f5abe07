"""One host for a year: its clocks, and the supervisors that follow one another on it.

What is real: the engine, the config, the checkpoints, the journal with its clock spans and its retention, the
schedules of the windows. What is simulated: time, messages, processes, and the loop round them, which here jumps to
the next moment at which anything is due.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from math import inf
from types import SimpleNamespace
from typing import Any
from unittest import mock

from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message
from banken_supervisor.config import Config
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.policy import EXIT_ONLY, Window
from banken_supervisor.engine.rules import Rules
from banken_supervisor.journal import Entry, Limits, Reading, restore, schema
from banken_supervisor.journal.retention import Retention
from banken_supervisor.journal.store import CLOCK_S, Store
from banken_supervisor.outbox import checkpoints, outbox
from banken_supervisor.outbox.checkpoints import Checkpoints
from banken_supervisor.runtime import maintenance_clock

from .year_calendar import next_change
from .year_oracle import CLOCK_SEEN, YearOracle

DAY = 86_400.0
CLOCK_ERROR = 2 * 3600.0 + 600.0
"""Seconds that the clock may be wrong over a reboot: how long the host was off is taken from it."""
CHECK_MAX = 6 * 3600.0
"""Seconds between two looks at the schedules while no clock is set: what they show changes at known moments."""


class YearHost:
    """``begin``: seconds since 1970. ``journal``: a path. ``seed`` decides everything that happens."""

    def __init__(self, seed: int, begin: float, journal: str, config: Config, oracle: YearOracle) -> None:
        self.random = random.Random(seed)
        self.begin = begin
        self.config = config
        self.oracle = oracle
        self.at = 0.0
        """real seconds since the begin"""
        self.ticks = 100.0
        """the monotonic clock"""
        self.wrong = 0.0
        """seconds by which the clock on the wall is ahead"""
        self.boots = 1
        self.lives = 0
        self.up = False
        self.running: dict[str, bool] = {}
        """by program"""
        self.limits = Limits(events_age=DAY, incidents_age=1.5 * DAY)
        self.closed: dict[str, float] = {}
        """by id: when each incident ended that the journal has"""
        self._journal = journal
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._tie = 0
        self._entries: list[Entry] = []
        self._seq = 0
        self._stale = self._written = 0.0
        self.out: list[Effect] = []
        self._windows = sorted(
            {window for _, policy in config.policies for window in policy.maintenance}, key=lambda one: one.cron
        )
        self._spells = tuple({spell for one in oracle.all.values() for spell in one.windows})
        self._programs = {spec.name for spec in config.programs}
        self._policies = dict(config.policies)

    # -- clocks -----------------------------------------------------------------------------------------

    @property
    def wall(self) -> float:
        """What the clock on the wall shows, seconds since 1970."""
        return self.begin + self.at + self.wrong

    @property
    def now(self) -> float:
        """Deadline time, which begins anew with each supervisor."""
        return 1e6 + self.ticks - self._started

    @property
    def boot(self) -> bytes:
        return self.boots.to_bytes(8)

    @contextmanager
    def clocks(self) -> Iterator[None]:
        """Inside, the supervisor's modules have this host's clocks."""
        with ExitStack() as stack:
            clocks = {"wall": lambda: self.wall, "monotonic": lambda: self.ticks, "boot_id": lambda: self.boot}
            stack.enter_context(mock.patch.multiple(checkpoints, **clocks))
            reading = lambda: Reading(  # noqa: E731
                self.boot.hex(), self.ticks - self._stale, self.wall - self._stale
            )
            stack.enter_context(mock.patch.object(Reading, "now", reading))
            yield

    def set_clock(self, wrong: float) -> None:
        """The clock on the wall is set. The journal's last look at it was up to a minute ago."""
        self._write()
        self.wrong = wrong
        self.oracle.look(self.at, self.wall, CLOCK_SEEN)
        self._spell_change = next_change(self._spells, self.wall) - self.wrong - self.begin
        self._next_look = self.at + self.random.uniform(0.0, 30.0)
        self._write()

    # -- what happens -----------------------------------------------------------------------------------

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """``what`` happens so many seconds from now; without a host, or a supervisor, soon after it is there."""
        self._tie += 1
        heapq.heappush(self._queue, (self.at + seconds, self._tie, what))

    def say(self, kind: Kind, name: str, *args: Any, said: Declaration | None = None) -> None:
        """A message arrives."""
        frame = encode(Message(kind, name, None, 0.0, said, args))
        self.engine.intake(iter([frame]), self.now, self.out)
        self.keep()

    def feed(self, frame: bytes) -> None:
        """A feed arrives."""
        self.engine.intake(iter([frame]), self.now, self.out)
        self.keep()

    def start_program(self, name: str) -> None:
        """Its process starts: as ProgramWatchdogs does it."""
        self.running[name] = True
        if self.engine.get(name) is not None:
            self.engine.processes.restarted(name, self.now, self.out)
        else:
            self._declare(name)
        self.keep()

    def end_program(self, name: str) -> None:
        """Its process is killed."""
        self.running[name] = False
        if self.up:
            self.engine.processes.program_ended(name, "SIGKILL", self.now)

    def stop_program(self, name: str) -> None:
        """By request."""
        self.running.pop(name)
        self.engine.forget(name, self.now, self.out, "stopped")
        self.keep()

    def _declare(self, name: str) -> None:
        policy = self._policies.get(name, EXIT_ONLY)
        self.engine.declare(name, policy, self.now, self.out)

    # -- a supervisor -----------------------------------------------------------------------------------

    def start(self) -> None:
        """A supervisor starts."""
        self.lives += 1
        self._started = self.ticks
        left = restore(self._journal)
        if self.lives == 1:
            schema.begin(self._journal)
        if left.problems:
            self.oracle.findings.append(f"broken: {left.problems}")
        self._store = Store(self._journal, f"run{self.lives}")
        self._write()
        settings = self.config.settings
        rules = Rules(settings.for_undeclared)
        engine = self.engine = Engine(rules, f"run{self.lives}", b"token")
        engine.processes.is_program = self._programs.__contains__
        journal = SimpleNamespace(record=self._entries.append, queued=0)
        self._outbox: Any = SimpleNamespace(journal=journal, left=left)
        self.checkpoints = Checkpoints(self, self._outbox)  # type: ignore[arg-type]
        rules.replace_patterns(self.config.policies)
        rules.times = settings.declaration
        for name, policy in self.config.policies:
            if name not in self._programs and "*" not in name:
                engine.watch(name, self.now, self.out, awaited=policy.expect)
        self.checkpoints.restore(
            SimpleNamespace(ended=lambda process: False),  # type: ignore[arg-type]
            lambda process: None,
            lambda away: maintenance_clock.windows_ended(self._windows, away, self._calendar()),
        )
        for name, runs in self.running.items():
            self._declare(name)
            if not runs:
                engine.processes.program_ended(name, "it ended, exit status unknown", self.now)
        self.up = True
        self.oracle.came(self.at)
        self._spell_change = next_change(self._spells, self.wall) - self.wrong - self.begin
        self._reported: dict[Window, float] | None = None
        self._look_at_windows()
        self.keep()

    def kill(self) -> None:
        """kill -9 of the supervisor. What it recorded is on disk."""
        self.oracle.went(self.at)
        # The journal's last look at the clocks was a while ago.
        self._stale = min(self.random.uniform(0.0, CLOCK_S), self.at - self._written)
        self._write()
        self._stale = 0.0
        self._store.close()
        self.up = False

    def away(self, seconds: float, off: float = 0.0) -> None:
        """No supervisor; ``off``: and then for so long no host."""
        self._down(seconds)
        if off:
            self.boots += 1
            self._down(off, off=True)
            self.ticks = 0.0
            self._down(20.0)
        soon, rng = self.at, self.random
        late = [
            (soon + (rng.uniform(0.0, 7200.0) if rng.random() < 0.1 else rng.uniform(0.0, 1.5)), tie, what)
            for at, tie, what in self._queue
            if at < soon
        ]
        self._queue = [each for each in self._queue if each[0] >= self.at] + late
        heapq.heapify(self._queue)

    def _down(self, seconds: float, *, off: bool = False) -> None:
        until = self.at + seconds
        while self.at < until:
            change = next_change(self._spells, self.wall + 1e-6) - self.wrong - self.begin
            passed = max(1e-5, min(until, change, self._pause_end()) - self.at)
            self._pass(passed)
            if off:
                self.oracle.was_off(passed)
            self.oracle.look(self.at, self.wall + 1e-6)

    def _pause_end(self) -> float:
        end = self.oracle.next_end()
        return end if end > self.at else inf

    def _pass(self, seconds: float) -> None:
        self.at += seconds
        self.ticks += seconds

    def run(self, until: float) -> None:
        """The supervisor runs until then."""
        engine = self.engine
        while self.at < until:
            due = engine.table.deadlines.next_due()
            wait = self.checkpoints.patience()
            next_ = min(
                until,
                inf if due is None else max(self.at, self.at + due - self.now) + 0.001,
                # After 97 days a float of seconds has steps of 2 ns: a shorter wait would let no time pass.
                inf if wait is None else self.at + max(wait, 1e-6 if wait else 0.0),
                self._queue[0][0] if self._queue else inf,
                self._spell_change,
                self._next_look,
                self._pause_end(),
            )
            self._pass(max(0.0, next_ - self.at))
            if engine.verdicts.sweep(self.now, self.out):
                engine.verdicts.judge(self.now, self.now, self.out)
            self.keep()
            if self.at >= self._spell_change or self.at >= self.oracle.next_end():
                self.oracle.look(self.at, self.wall + 1e-6)
                self._spell_change = next_change(self._spells, self.wall + 1e-6) - self.wrong - self.begin
            if self.at >= self._next_look:
                self._look_at_windows()
            while self._queue and self._queue[0][0] <= self.at and self.at < until:
                heapq.heappop(self._queue)[2]()

    def _calendar(self) -> datetime:
        return datetime.fromtimestamp(self.wall, UTC)

    def _look_at_windows(self) -> None:
        """As the maintenance clock does."""
        now = self._calendar()
        ends, wait = maintenance_clock.open_windows(self._windows, now, CHECK_MAX)
        left = {window: (end - now).total_seconds() for window, end in ends.items()}
        until = {window: self.now + seconds for window, seconds in left.items()}
        if self._reported is None or maintenance_clock.changed(self._reported, until):
            self.engine.maintenance.open_windows(left, self.now)
            while self.engine.maintenance.go_on(self.now, self.out):
                pass
            self._reported = until
            self.keep()
        self._next_look = self.at + wait

    # -- the journal ------------------------------------------------------------------------------------

    def keep(self) -> None:
        """What the engine said goes to the oracle and to the journal."""
        for effect in self.out:
            if not isinstance(effect, Event):
                continue
            if effect.type is EventType.EXPIRED and effect.name is not None:
                self.oracle.verdict(effect.name, str(effect.data["cause"]), self.at)
            if effect.type in (EventType.RECOVERED, EventType.CLOSED):
                self.closed[effect.data["incident"]] = self.at
            self._seq += 1
            entries = outbox._entries(effect, self._seq, self.wall)
            if entries and effect.name is not None and (changed := self._outbox.checkpoint_of(effect.name)):
                entries.append(changed)
            self._entries.extend(entries)
        self.out.clear()
        self.checkpoints.turn()

    def _write(self) -> None:
        for refused in self._store.write(self._entries):
            self.oracle.findings.append(f"broken: {refused}")
        self._entries.clear()
        self._written = self.at - self._stale

    def clean_up(self) -> None:
        """The journal deletes what is old; nothing younger is to be gone."""
        self._write()
        retention = Retention(self.limits)
        retention.step(self._store, self.ticks)
        while retention.at <= self.ticks:
            retention.step(self._store, self.ticks)
        rows = self._store.connection.execute("SELECT id FROM incidents WHERE closed IS NOT NULL")
        there = {id_ for (id_,) in rows}
        age = self.limits.incidents_age
        for id_, closed in list(self.closed.items()):
            if id_ not in there:
                del self.closed[id_]
                if self.at - closed < age - CLOCK_ERROR:
                    self.oracle.findings.append(f"lost: {id_}, {(self.at - closed) / DAY:.2f} days old")
