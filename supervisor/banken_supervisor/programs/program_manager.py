"""Joins the decisions about programs (engine/programs.py) with the processes.

For the loop: poll ``fileno()``, call ``tick`` when it is readable and by ``next_due()``, and give what
``programs`` decides on a request, and the effects of a report from ``post``, to ``carry_out``. All of them return
events. None of them blocks: what may take long is done by an executor's threads and comes back as a report.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
from collections.abc import Callable, Iterable
from functools import partial
from signal import SIGCONT, SIGKILL
from typing import Any

from banken.address import directory_of_user
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.actions.job import How, Job
from banken_supervisor.actions.keyed_executor import KeyedExecutor
from banken_supervisor.engine.policy import Group, ProgramSpec
from banken_supervisor.files.users import find_user, obstacle, user_id
from banken_supervisor.processes import control_groups
from banken_supervisor.processes.handle import ProcessHandle
from banken_supervisor.processes.shortage import is_shortage
from banken_supervisor.programs.adoption import Adoption, adopt, stranger
from banken_supervisor.programs.child_table import ChildTable, Role
from banken_supervisor.programs.engine.effects import KillGroup, ProgramEffect, ProgramEvent, SendSignal, Spawn
from banken_supervisor.programs.engine.programs import Programs
from banken_supervisor.programs.engine.states import ProgramState
from banken_supervisor.programs.logs import Logs, with_log
from banken_supervisor.programs.membership import program_of
from banken_supervisor.programs.orphan_killer_client import OrphanKiller
from banken_supervisor.programs.program_row import row
from banken_supervisor.programs.reports import ProgramReport, WorkTold
from banken_supervisor.programs.run_output import RunOutput
from banken_supervisor.programs.run_records import RunRecords
from banken_supervisor.programs.spawn import Child, SpawnRefused, spawn, variables
from banken_supervisor.programs.started_processes import WORK_LIMIT_S, StartedProcesses

CLOSE_WAIT = 2.0
"""Seconds that closing waits for spawns that are under way, at most."""

THREADS_MAX = 32
"""Jobs of programs that run at once; the rotation of their logs is one more."""

ENDS_MAX = 24
"""Those of them that may wait for the end of what a program has started."""

_log = logging.getLogger("banken.programs")


class ProgramManager:
    """Every program of one supervisor, with their processes. Owned by the loop's thread.

    ``directory``: the address's own, 0700, held by the supervisor's lock; the children get it as
    ``BANKEN_ADDRESS``, but for those of another user, who may not enter it. ``post``: called from other threads
    with each message. ``timeout``: what a program gets as ``BANKEN_TIMEOUT``, seconds; None: nothing. ``state``:
    the directory for the logs of programs that name none; None: ``directory``.
    """

    def __init__(
        self,
        directory: str,
        post: Callable[[ProgramReport | WorkTold], None],
        timeout: Callable[[str], float | None],
        state: str | None = None,
    ) -> None:
        self.programs = Programs()
        self._address = directory
        self._post = post
        self._timeout = timeout
        self.serve_user: Callable[[int], str | None] = lambda uid: None
        """lets another user feed, from any thread; what keeps it from that, in words"""
        self.is_failure: Callable[[str, int | None], bool] = lambda name, status: status != 0
        """whether this end of a program, which nobody had asked for, is one to start it again after"""
        self.notify_socket: Callable[[str, str, int], str | None] = lambda name, address, uid: None
        """where this program, whose user this is, says what it knows of itself (sd_notify), from any thread"""
        self.ready_pipe: Callable[[str], int] = lambda name: -1
        """makes the descriptor to which a program writes when it is ready, from any thread; the caller closes it"""
        self._users: dict[str, int] = {}
        """by program: the user id of its last process"""
        self._random = random.random  # for the backoff's jitter
        self._records = RunRecords(directory)
        self.held = set[str]()
        """programs that had been asked to stop, as found by ``open``"""
        self._children = ChildTable()
        self.reloading = set[str]()
        """programs that said so (sd_notify)"""
        self._runs = dict[str, str]()
        """program by run, as long as something of the run may be left"""
        self._jobs = KeyedExecutor(
            "banken-programs", self._worked, threads_max=THREADS_MAX + 1, outside_max=ENDS_MAX
        )
        self._started = StartedProcesses(
            self._jobs.submit, lambda name, what, text: post(WorkTold(name, what, text)), self._forget
        )
        self.orphans = self._started.orphans
        self.write_records_again, self.had_ended = self._records.write_again, self._records.had_ended
        self.fileno = self._children.fileno
        self.child = self._children.get
        self.set_main = self._children.set_main
        self.next_due = self.programs.next_due
        self.patience = self._jobs.patience
        self.check = self._jobs.check
        self._orphan_killer = OrphanKiller()
        self._logs = Logs(lambda work: self._jobs.submit(Job("\0logs", work)), self._log_moved)
        self.output = RunOutput()
        self._log_directory = os.path.join(os.path.abspath(state or directory), "logs")

    # -- what the operator asks for -----------------------------------------------------------------

    def open(
        self, specs: Iterable[ProgramSpec], groups: Iterable[Group], now: float
    ) -> tuple[list[ProgramEvent], list[str]]:
        """Take over what a former supervisor left, then start the programs with autostart.

        Returns events, and sentences about damaged records. Reads files and /proc: call it once, before the loop
        turns. ValueError: invalid specs. When the records cannot be read, none is started: it might run already.
        """
        specs = tuple(with_log(spec, self._log_directory) for spec in specs)
        wanted = {spec.name: spec for spec in specs}
        users, readable = {spec.name: user_id(spec.user) for spec in specs}, True
        try:
            adoption, held = adopt(self._records, self._address, users), self._records.held()
            self.held = held
            for name in held - wanted.keys():  # should it come back, it is a new one
                self.hold(name, False)
        except OSError as fault:
            text = f"which programs run already cannot be read, so none is started: {fault}"
            adoption, held, readable = Adoption([], [], [], [text]), set(), False
        strangers = [stranger(record) for record in adoption.records() if record.name not in wanted]
        events = self.carry_out(self.programs.apply((*specs, *strangers), groups, now))
        for record, child in adoption.running:
            program = self.programs.get(child.name)
            assert program is not None
            self.output.begin(program.spec, 0)
            self.notify_socket(child.name, self._address_of(program.spec), self._users[child.name])
            # Whether it writes to a descriptor of the former supervisor's is not known any more.
            is_ready = record.ready or (program.spec.ready is not None and program.spec.ready.fd is not None)
            events += self.carry_out(self._take(child, program.spec, now, ready=is_ready))
        # What the former supervisor was restarting, or was to take along, ends or has ended on purpose: it starts.
        begun = {record.name for record in adoption.records() if record.stopping}
        renewed = {name for name, spec in wanted.items() if spec.dies_with_supervisor or name in begun}
        for record in (*adoption.ended, *adoption.remains):
            spec = wanted.get(record.name, stranger(record))
            # What it started may live. Queued first, so that it has ended before the program is started again.
            self._started.end_remains(spec, record.run, record.start, partial(self._post_cleared, record.name))
        for record in adoption.ended:
            if record.name not in renewed and record.name not in held:
                # It was running, and is not: an end like any other, its status unknown.
                events += self.carry_out(self.programs.started(record.name, record.pid, now, adopted=True))
                exited = self.programs.exited(record.name, None, now, self._random(), leftovers=True)
                events += self.carry_out(exited)
        events += self.carry_out(self.programs.apply(specs, groups, now))  # the strangers are stopped
        stopping = [name for name in wanted if name in held and self._children.get(name) is not None]
        events += self.carry_out(self.programs.stop(stopping, now, "asked to stop"))
        alive = [name for name in wanted if name in renewed - held and self._children.get(name) is not None]
        events += self.carry_out(self.programs.restart(alive, now, "its former supervisor was to end it"))
        judged = ({record.name for record in adoption.ended} - renewed) | held
        starting = [
            each.name
            for each in self.programs.all()
            if readable and each.name not in judged and each.state is ProgramState.STOPPED
            if each.spec.autostart or each.name in begun
        ]
        events += self.carry_out(self.programs.start(starting, now))
        return events, adoption.faults

    def apply(self, specs: Iterable[ProgramSpec], groups: Iterable[Group], now: float) -> list[ProgramEvent]:
        """A changed configuration: start new programs, stop removed ones, restart those whose process would differ.

        ValueError: invalid specs; nothing has changed.
        """
        specs = tuple(with_log(spec, self._log_directory) for spec in specs)
        known = {each.name for each in self.programs.all()}
        events = self.carry_out(self.programs.apply(specs, groups, now))
        new = [spec.name for spec in specs if spec.autostart and spec.name not in known]
        for name in known.difference(spec.name for spec in specs).union(new):
            self.hold(name, False)  # else the next supervisor would end it
        events += self.carry_out(self.programs.start(new, now))
        for spec in specs:
            if self.child(spec.name) is not None:
                self._keep_log(spec)
        return events

    def hold(self, name: str, held: bool) -> None:
        """Record, off the loop, whether it was asked to stop: the next supervisor then does not start it."""
        self._do(name, partial(self._records.hold, name, held))

    # -- for the loop -------------------------------------------------------------------------------

    def tick(self, now: float) -> list[ProgramEvent]:
        """Handle the processes that have ended, and do what is due."""
        events = []
        for child, status, role in self._children.gone():
            self.orphans.own.discard(child.handle.pid)
            is_main = role is Role.MAIN
            if role is Role.LEFT or (is_main and not self._is_running(child.name)):
                continue  # what is being stopped has ended with what was started
            if is_main:
                self._children.leave(child.name)
            elif (main := self._children.take_main(child.name)) and self._goes_on(child, status, main):
                continue
            self.output.end(child.name)
            # Queued first, so that it is done before the next spawn of this program.
            self._do(child.name, partial(self.output.keep, child.name))
            program = self.programs.get(child.name)
            assert program is not None
            if program.state is ProgramState.STOPPING:  # it is down when all that it started is
                self._started.ended(program.spec, child, partial(self._post_exited, child.name, status))
            else:
                cleared = partial(self._post_cleared, child.name)
                self._started.ended(program.spec, child, cleared, by_itself=status == 0, is_first_left=is_main)
                failed = self.is_failure(child.name, status)
                exited = self.programs.exited(
                    child.name, status, now, self._random(), failed=failed, leftovers=True
                )
                events += self.carry_out(exited)
        self.orphans.collect()
        return events + self.carry_out(self.programs.due(now))

    def _goes_on(self, child: Child, status: int | None, main: ProcessHandle) -> bool:
        """What was started has ended, and had named another process: whether that is the program from now on."""
        if status != 0 or not self._is_running(child.name):
            main.close()
            return False
        heir = Child(child.name, child.run, main, False)
        self._children.add(heir)
        self._started.add(heir)
        self._do(child.name, partial(self._records.change, child.name, pid=main.pid, start=main.start))
        return True

    def _is_running(self, name: str) -> bool:
        program = self.programs.get(name)
        return program is not None and program.state is ProgramState.RUNNING

    def note_ready(self, name: str) -> None:
        """Record, off the loop, that it is ready: the next supervisor then does not wait for that."""
        self._do(name, partial(self._records.change, name, ready=True))

    def main(self, name: str) -> ProcessHandle | None:
        """The main process of a program; None: it has none."""
        child = self.child(name)
        return None if child is None else self._children.main(name) or child.handle

    def carry_out(self, effects: list[ProgramEffect]) -> list[ProgramEvent]:
        """Do what ``programs`` has decided; the events among it."""
        events = []
        ends = any(isinstance(effect, SendSignal | KillGroup) for effect in effects)
        for each in self.programs.all() if ends else ():  # also those that wait for their turn
            is_stopping = each.process and each.state is ProgramState.STOPPING
            if is_stopping and not self._records.is_stopping(each.name):
                self._do(each.name, partial(self._records.stopping, each.name))
        for effect in effects:
            match effect:
                case Spawn(name):
                    program = self.programs.get(name)
                    assert program is not None
                    self._do(name, partial(self._spawn, program.spec, self._timeout(name)), spawns=True)
                case SendSignal(name, number):
                    if number != SIGCONT:  # that goes before each signal
                        self._started.stop(name, number)
                case KillGroup(name):
                    self._children.signal(name, SIGKILL)
                    self._started.stop(name, SIGKILL)
                case ProgramEvent():
                    events.append(effect)
        return events

    def close(self, wait: float = CLOSE_WAIT) -> None:
        """Give everything back, within ``wait`` seconds.

        Programs run on, for the next supervisor to adopt; those that are to die with this one die now.
        """
        self._logs.close()
        self._jobs.close(wait, finish=True)
        self._children.close()
        self._orphan_killer.close()

    # -- what can be asked --------------------------------------------------------------------------

    def rows(self, now: float) -> list[dict[str, Any]]:
        """One row for each program, for people and for status."""
        every = self.programs.all()
        return [row(each, self.child(each.name), self.main(each.name), self.reloading, now) for each in every]

    def user_of(self, name: str) -> int | None:
        """The user id of a program, -1 before its first start; None: there is no such program."""
        return None if self.programs.get(name) is None else self._users.get(name, -1)

    def program_of(self, process: ProcessIdentity) -> str | None:
        """The program that has started this process; None: none, or it cannot be known. Reads /proc."""
        return program_of(process, self._runs, self._children.by_pid) if self._runs else None

    # -- inside -------------------------------------------------------------------------------------

    def _take(self, child: Child, spec: ProgramSpec, now: float, *, ready: bool = False) -> list[ProgramEffect]:
        """A process was made, or adopted."""
        self._children.add(child)
        self._runs[child.run] = child.name
        self._started.add(child)
        self._keep_log(spec)
        self.reloading.discard(child.name)
        return self.programs.started(child.name, child.handle.pid, now, adopted=not child.own, ready=ready)

    def _keep_log(self, spec: ProgramSpec) -> None:
        if spec.log is not None:
            self._logs.keep(spec)

    def _log_moved(self, names: list[str], text: str) -> None:
        for name in names:
            self._post(WorkTold(name, "log-moved", text))

    def _post_failed(self, name: str, reason: str, fault: BaseException | None = None) -> None:
        short, random = is_shortage(fault), self._random
        self._post(ProgramReport(lambda now: self.programs.failed(name, reason, now, random(), shortage=short)))

    def _post_exited(self, name: str, status: int | None) -> None:
        self._post(ProgramReport(lambda now: self.programs.exited(name, status, now, self._random())))

    def _post_cleared(self, name: str) -> None:
        self._post(ProgramReport(lambda now: self.programs.cleared(name, now)))

    def _do(self, name: str, work: Callable[[], object], *, spawns: bool = False) -> None:
        """Run it on a thread, after all earlier work for this program."""
        self._jobs.submit(Job(name, work, spawns, limit_s=WORK_LIMIT_S, holds_lane=True))

    def _worked(self, job: Job, how: How, value: Any, seconds: float) -> None:
        if how is How.RAISED:
            _log.error("work for the program %s failed", job.lane, exc_info=value)
        elif how is How.REFUSED and job.about:
            self._post_failed(job.lane, value)
        elif how is not How.DONE:
            name = job.lane if self.programs.get(job.lane) is not None else None
            self._post(WorkTold(name, f"work-{how.name.lower()}", value))

    # -- on threads ---------------------------------------------------------------------------------

    def _spawn(self, spec: ProgramSpec, timeout: float | None) -> None:
        """Intent, process, record: in this order (run_records.py says why)."""
        extra = variables(spec.name, timeout)
        run = os.urandom(16).hex()
        self._runs[run] = spec.name  # its first feed may be read before it is reported
        try:
            record = self._records.intend(spec.name, run, spec.stop_signal, spec.stop_timeout)
        except OSError as fault:
            self._runs.pop(run, None)
            self._post_failed(spec.name, f"it cannot be put on record: {fault.strerror}: {fault.filename}", fault)
            return
        try:
            if spec.dies_with_supervisor:
                self._orphan_killer.expect(run)
            if spec.log is not None and os.path.dirname(spec.log) == self._log_directory:
                os.makedirs(self._log_directory, mode=0o700, exist_ok=True)
            self.output.begin(spec)
            address = extra["BANKEN_ADDRESS"] = self._address_of(spec)
            if (notify := self.notify_socket(spec.name, address, self._users[spec.name])) is not None:
                extra["NOTIFY_SOCKET"] = notify
            ready = -1 if spec.ready is None or spec.ready.fd is None else self.ready_pipe(spec.name)
            child = spawn(spec, run, extra, ready)
            control_groups.enter(run, child.handle.pid)
            self.orphans.own.add(child.handle.pid)
        except BaseException as fault:  # noqa: BLE001  # without a message the program would wait for ever
            self._forget(spec.name, run)
            reason = str(fault) if isinstance(fault, SpawnRefused) else f"{type(fault).__name__}: {fault}"
            self._post_failed(spec.name, reason, fault)
            return
        with contextlib.suppress(OSError):  # the intent is on record: it can be found by its mark
            self._records.confirm(record, child.handle.pid, child.handle.start)
        if spec.dies_with_supervisor:
            self._orphan_killer.watch(run, child.handle)
        self._post(ProgramReport(lambda now: self._take(child, spec, now)))

    def _address_of(self, spec: ProgramSpec) -> str:
        """Where its processes reach this supervisor: those of another user in a directory of that user's."""
        ours = os.geteuid()
        try:
            user = None if spec.user is None or ours != 0 else find_user(spec.user)
        except LookupError:  # the start fails by that, and says so
            user = None
        self._users[spec.name] = ours if user is None else user.pw_uid
        if user is None or user.pw_uid == ours:
            return self._address
        address = directory_of_user(self._address, user.pw_uid)
        why = self.serve_user(user.pw_uid)
        if why is None and (closed := obstacle(user, os.path.dirname(address))) is not None:
            why = f"it may not enter {closed}; choose another `address`"
        if why is not None and self._timeout(spec.name) is not None:
            self._post(WorkTold(spec.name, "cannot-feed", f"user {user.pw_name} cannot feed: {why}"))
        return address

    def _forget(self, name: str, run: str) -> None:
        self._runs.pop(run, None)
        with contextlib.suppress(OSError):  # the next supervisor will find that it has ended
            self._records.forget(name, run)
        self._orphan_killer.release(run)
