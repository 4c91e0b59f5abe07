"""Joins the decisions about programs (engine/programs.py) with the processes.

For the loop: poll ``fileno()``, call ``tick`` when it is readable and by ``next_due()``, and give every message
from ``post`` to ``handle``. All of them return events. None of them blocks: what may take long is done by an
executor's threads and comes back as a message.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from banken_supervisor.actions.keyed_executor import How, Job, KeyedExecutor
from banken_supervisor.engine.policy import Group, ProgramSpec, Restart
from banken_supervisor.programs.adoption import Adoption, adopt
from banken_supervisor.programs.child_table import ChildTable, sweep
from banken_supervisor.programs.engine.effects import (
    KillGroup,
    ProgramEffect,
    ProgramEvent,
    SendSignal,
    Spawn,
)
from banken_supervisor.programs.engine.programs import Programs
from banken_supervisor.programs.engine.states import ProgramState
from banken_supervisor.programs.logs import Logs
from banken_supervisor.programs.orphan_killer_client import OrphanKiller
from banken_supervisor.programs.run_records import RunRecord, RunRecords
from banken_supervisor.programs.spawn import Child, SpawnRefused, spawn

CLOSE_WAIT = 2.0
"""Seconds that closing waits for spawns that are under way, at most."""

THREADS_MAX = 8
"""Jobs of programs that run at once; the rotation of their logs is one more."""

WORK_LIMIT_S = 60.0
"""Seconds until a job counts as stuck. Further jobs of its program wait all the same: a second spawn beside a
hanging one could make two processes."""

_log = logging.getLogger("banken.programs")


@dataclass(frozen=True, slots=True)
class Spawned:
    """Message: a process was made."""

    child: Child


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """Message: a process could not be made."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Swept:
    """Message: an adopted process has ended, and what was left of its group was killed."""

    name: str


@dataclass(frozen=True, slots=True)
class WorkTold:
    """Message: work for a program hangs, was refused, or waits for a thread."""

    name: str | None
    what: str
    text: str


Message = Spawned | SpawnFailed | Swept


class ProgramManager:
    """Every program of one supervisor, with their processes. Owned by the loop's thread.

    ``directory``: the address's own, 0700, held by the supervisor's lock. ``address``: what the children get as
    ``BANKEN_ADDRESS``. ``post``: called from other threads with each message. ``timeout``: what a program gets as
    ``BANKEN_TIMEOUT``, seconds; None: nothing. ``random`` gives numbers in [0, 1), for the backoff's jitter.
    """

    def __init__(
        self,
        directory: str,
        address: str,
        post: Callable[[Message | WorkTold], None],
        *,
        timeout: Callable[[str], float | None] = lambda name: None,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.programs = Programs()
        self._address = address
        self._post = post
        self._timeout = timeout
        self._random = random
        self._records = RunRecords(directory)
        self._children = ChildTable()
        self._jobs = KeyedExecutor("banken-programs", self._worked, threads_max=THREADS_MAX + 1)
        self.patience = self._jobs.patience
        self.check = self._jobs.check
        self._orphan_killer = OrphanKiller()
        self._logs = Logs(lambda work: self._jobs.submit(Job("\0logs", work)))

    # -- what the operator asks for -----------------------------------------------------------------

    def open(
        self, specs: Iterable[ProgramSpec], groups: Iterable[Group], now: float
    ) -> tuple[list[ProgramEvent], list[str]]:
        """Take over what a former supervisor left, then start the programs with autostart.

        Returns events, and sentences about damaged records. Reads files and /proc: call it once, before the loop
        turns. ValueError: invalid specs. When the records cannot be read, none is started: it might run already.
        """
        specs = tuple(specs)
        wanted = {spec.name: spec for spec in specs}
        readable = True
        try:
            adoption, held = adopt(self._records, self._address), self._records.held()
        except OSError as fault:
            text = f"which programs run already cannot be read, so none is started: {fault}"
            adoption, held, readable = Adoption([], [], [text]), set(), False
        strangers = [
            _stranger(record)
            for record in (*(record for record, _ in adoption.running), *adoption.ended)
            if record.name not in wanted
        ]
        events = self._carry_out(self.programs.apply((*specs, *strangers), groups, now))
        for _, child in adoption.running:
            events += self._take_over(child, now)
        # Those that were to die with the former supervisor did, or do now, and start anew: that is no failure.
        mortal = {name for name, spec in wanted.items() if spec.dies_with_supervisor}
        for record in adoption.ended:
            self._records.forget(record.name, record.run)
            if record.name not in mortal and record.name not in held:
                # It was running, and is not: an end like any other, its status unknown.
                events += self._carry_out(self.programs.adopted(record.name, record.pid, now))
                events += self._carry_out(self.programs.exited(record.name, None, now, self._random()))
        events += self._carry_out(self.programs.apply(specs, groups, now))  # the strangers are stopped
        stopping = [name for name in wanted if name in held and self._children.get(name) is not None]
        events += self._carry_out(self.programs.stop(stopping, now, "asked to stop"))
        alive = [name for name in wanted if name in mortal - held and self._children.get(name) is not None]
        events += self._carry_out(self.programs.restart(alive, now, "it was to die with its former supervisor"))
        judged = ({record.name for record in adoption.ended} - mortal) | held
        starting = [
            name
            for name, spec in wanted.items()
            if readable and spec.autostart and name not in judged and self._is_down(name)
        ]
        events += self._carry_out(self.programs.start(starting, now))
        return events, adoption.faults

    def apply(self, specs: Iterable[ProgramSpec], groups: Iterable[Group], now: float) -> list[ProgramEvent]:
        """A changed configuration: start new programs, stop removed ones, restart those whose process would differ.

        ValueError: invalid specs; nothing has changed.
        """
        specs = tuple(specs)
        known = {each.name for each in self.programs.all()}
        events = self._carry_out(self.programs.apply(specs, groups, now))
        new = [spec.name for spec in specs if spec.autostart and spec.name not in known]
        events += self._carry_out(self.programs.start(new, now))
        for spec in specs:
            if spec.log is not None and self._children.get(spec.name) is not None:
                self._logs.keep(spec.log, spec.log_bytes_max, spec.log_files_max)
        return events

    def start(self, names: str | Iterable[str], now: float) -> list[ProgramEvent]:
        """As ``Programs.start``."""
        return self._carry_out(self.programs.start(names, now))

    def stop(self, names: str | Iterable[str], now: float, why: str = "asked to stop") -> list[ProgramEvent]:
        """As ``Programs.stop``."""
        return self._carry_out(self.programs.stop(names, now, why))

    def restart(
        self, names: str | Iterable[str], now: float, why: str = "asked to restart", *, with_group: bool = False
    ) -> list[ProgramEvent]:
        """As ``Programs.restart``."""
        return self._carry_out(self.programs.restart(names, now, why, with_group=with_group))

    def hold(self, name: str, held: bool) -> None:
        """Record, off the loop, whether it was asked to stop: the next supervisor then does not start it."""

        def write() -> None:
            with contextlib.suppress(OSError):  # the next supervisor starts it, which is the lesser evil
                self._records.hold(name, held)

        self._do(name, write)

    # -- for the loop -------------------------------------------------------------------------------

    def fileno(self) -> int | None:
        """Readable when a process has ended; None where the system has no epoll, and so no programs."""
        return self._children.fileno()

    def next_due(self) -> float | None:
        """Deadline time at which ``tick`` has something to do; None: not before something happens."""
        return self.programs.next_due()

    def tick(self, now: float) -> list[ProgramEvent]:
        """Handle the processes that have ended, and do what is due."""
        events = []
        for child, status in self._children.gone():
            if child.own:
                # Queued first, so that it is done before the next spawn of this program.
                self._do(child.name, partial(self._forget, child.name, child.run))
                events += self._carry_out(self.programs.exited(child.name, status, now, self._random()))
            else:
                self._do(child.name, partial(self._sweep, child))
        return events + self._carry_out(self.programs.due(now))

    def handle(self, message: Message, now: float) -> list[ProgramEvent]:
        """The result of a job."""
        match message:
            case Spawned(child):
                self._children.add(child)
                return self._carry_out(self.programs.started(child.name, child.pid, now))
            case SpawnFailed(name, reason):
                return self._carry_out(self.programs.failed(name, reason, now, self._random()))
            case Swept(name):
                return self._carry_out(self.programs.exited(name, None, now, self._random()))

    def close(self, wait: float = CLOSE_WAIT) -> None:
        """Give everything back, within ``wait`` seconds.

        Programs run on, for the next supervisor to adopt; those that are to die with this one die now.
        """
        self._logs.close()
        self._jobs.close(wait, finish=True)
        self._children.close()
        self._orphan_killer.close()

    # -- what can be asked --------------------------------------------------------------------------

    @property
    def running(self) -> int:
        """How many programs have a process, or are about to."""
        down = (ProgramState.STOPPED, ProgramState.GIVEN_UP, ProgramState.BACKOFF, ProgramState.QUEUED)
        return sum(1 for each in self.programs.all() if each.state not in down)

    def child(self, name: str) -> Child | None:
        """The process of a program, if it has one."""
        return self._children.get(name)

    def rows(self, now: float) -> list[dict[str, Any]]:
        """One row for each program, for people and for status."""
        rows = []
        for each in self.programs.all():
            child = self._children.get(each.name)
            rows.append(
                {
                    "name": each.name,
                    "state": each.state.value,
                    "since": now - each.since,
                    "pid": None if child is None else child.pid,
                    "adopted": child is not None and not child.own,
                    "failures": each.failures,
                    "log": each.spec.log,
                    "due": None if each.due is None else each.due - now,
                }
            )
        return rows

    # -- inside -------------------------------------------------------------------------------------

    def _carry_out(self, effects: list[ProgramEffect]) -> list[ProgramEvent]:
        events = []
        for effect in effects:
            match effect:
                case Spawn(name):
                    self._begin_spawn(name)
                case SendSignal(name, number):
                    program = self.programs.get(name)
                    self._children.signal(name, number, group=program is not None and program.spec.terminal)
                case KillGroup(name):
                    self._kill_group(name)
                case ProgramEvent():
                    events.append(effect)
        return events

    def _begin_spawn(self, name: str) -> None:
        program = self.programs.get(name)
        assert program is not None
        spec, timeout = program.spec, self._timeout(name)
        extra = {"BANKEN_ADDRESS": self._address, "BANKEN_NAME": name}
        if timeout is not None:
            extra["BANKEN_TIMEOUT"] = f"{timeout:g}"
        self._do(name, lambda: self._spawn(spec, extra), spawns=True)

    def _take_over(self, child: Child, now: float) -> list[ProgramEvent]:
        self._children.add(child)
        program = self.programs.get(child.name)
        if program is not None and program.spec.log is not None:
            self._logs.keep(program.spec.log, program.spec.log_bytes_max, program.spec.log_files_max)
        return self._carry_out(self.programs.adopted(child.name, child.pid, now))

    def _kill_group(self, name: str) -> None:
        child = self._children.get(name)
        self._children.kill_group(name)
        if child is not None and not child.own:
            self._do(name, partial(sweep, child.run, child.pid))

    def _is_down(self, name: str) -> bool:
        program = self.programs.get(name)
        return program is not None and program.state is ProgramState.STOPPED

    def _do(self, name: str, work: Callable[[], object], *, spawns: bool = False) -> None:
        """Run it on a thread, after all earlier work for this program."""
        self._jobs.submit(Job(name, work, spawns, limit_s=WORK_LIMIT_S, holds_lane=True))

    def _worked(self, job: Job, how: How, value: Any, seconds: float) -> None:
        if how is How.RAISED:
            _log.error("work for the program %s failed", job.lane, exc_info=value)
        elif how is How.REFUSED and job.about:
            self._post(SpawnFailed(job.lane, value))
        elif how is not How.DONE:
            name = job.lane if self.programs.get(job.lane) is not None else None
            self._post(WorkTold(name, f"work-{how.name.lower()}", value))

    # -- on threads ---------------------------------------------------------------------------------

    def _spawn(self, spec: ProgramSpec, extra: dict[str, str]) -> None:
        """Intent, process, record: in this order (run_records.py says why)."""
        run = os.urandom(16).hex()
        try:
            record = self._records.intend(spec.name, run, spec.stop_signal, spec.stop_timeout)
        except OSError as fault:
            self._post(SpawnFailed(spec.name, f"it cannot be put on record: {fault.strerror}: {fault.filename}"))
            return
        try:
            if spec.dies_with_supervisor:
                self._orphan_killer.expect(run)
            child = spawn(spec, run, extra)
        except BaseException as fault:  # noqa: BLE001  # without a message the program would wait for ever
            self._forget(spec.name, run)
            reason = str(fault) if isinstance(fault, SpawnRefused) else f"{type(fault).__name__}: {fault}"
            self._post(SpawnFailed(spec.name, reason))
            return
        with contextlib.suppress(OSError):  # the intent is on record: it can be found by its mark
            self._records.confirm(record, child.pid, child.start)
        if spec.dies_with_supervisor:
            self._orphan_killer.watch(run, child.pid, child.start)
        if spec.log is not None:
            self._logs.keep(spec.log, spec.log_bytes_max, spec.log_files_max)
        self._post(Spawned(child))

    def _forget(self, name: str, run: str) -> None:
        with contextlib.suppress(OSError):  # the next supervisor will find that it has ended
            self._records.forget(name, run)
        self._orphan_killer.release(run)

    def _sweep(self, child: Child) -> None:
        sweep(child.run, child.pid)
        self._forget(child.name, child.run)
        self._post(Swept(child.name))


def _stranger(record: RunRecord) -> ProgramSpec:
    """Enough to stop a program that the configuration no longer names."""
    return ProgramSpec(
        record.name,
        ("true",),
        autostart=False,
        restart=Restart.NEVER,
        stop_signal=record.stop_signal,
        stop_timeout=record.stop_timeout,
    )
