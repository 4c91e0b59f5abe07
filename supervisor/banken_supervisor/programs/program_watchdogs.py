"""Connects programs to their watchdogs: starts, exits and failures of a program go to the watchdog of its name.

The watchdog of a program is declared when its process starts, gets a start grace after each start, and is released
when the program is stopped by request. A failed start, or an exit that the restart policy counts as a failure,
opens an incident at once. A program without a timeout in the config is judged by its exit only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Any

from banken.protocol.limits import REASON_MAX
from banken.protocol.messages import Feeders, Kind, Message, ProcessIdentity
from banken_supervisor.engine.checks import RUNNER
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.exit_status import exit_text
from banken_supervisor.engine.on_purpose import STOPPED
from banken_supervisor.engine.policy import EXIT_ONLY, NEVER, Group, Policy, ProgramSpec, Readiness
from banken_supervisor.engine.record import Record
from banken_supervisor.engine.states import State
from banken_supervisor.processes.namespaces import SPACE
from banken_supervisor.programs.engine.effects import ProgramEvent, ProgramEventType
from banken_supervisor.programs.engine.states import ProgramState
from banken_supervisor.programs.program_manager import CLOSE_WAIT, ProgramManager
from banken_supervisor.programs.reports import WorkTold
from banken_supervisor.text.durations import format_s

ENDED_IN_PAUSE = "it ended while it was paused; how is not known"
"""Reason where the supervisor was restarted in the pause."""

STOP_TIMEOUT = 10.0
"""Seconds that what is no program has to end after it said STOPPING=1."""


class ProgramWatchdogs:
    """The programs of one supervisor; without any it does nothing. Owned by the loop's thread.

    ``directory``: of the address. ``post``: sends the loop a message, from any thread. ``state``: the directory for
    logs of programs; None: ``directory``.
    """

    def __init__(self, directory: str, post: Callable[[Any], None], state: str | None = None) -> None:
        self.directory = directory
        self.manager = ProgramManager(directory, post, self._timeout, state)
        self.fileno = self.manager.fileno
        self.rows = self.manager.rows
        self.program_of = self.manager.program_of
        self.specs: tuple[ProgramSpec, ...] = ()
        self.groups: tuple[Group, ...] = ()
        """those of programs"""
        self.policies: dict[str, Policy] = {}
        """by program: the policy of its watchdog, if it has one"""
        self.others: Mapping[str, Policy] = {}
        """by watchdog that the config names and that is no program's: its policy"""
        self.heard: Callable[[ProgramEvent], None] = lambda event: None
        """called with each event, on the loop's thread"""
        self.news: Callable[[], None] = lambda: None
        """called when something has become of a program"""
        self.notify_path: Callable[[str], str | None] = lambda name: None
        """where what this name says by sd_notify comes in"""
        self.catch_up: Callable[[], object] = lambda: None
        """takes what programs have said by now (sd_notify)"""
        self.last_words: dict[str, str] = {}
        """by program: why it is about to end, as it says (sd_notify)"""
        self._engine: Engine | None = None
        self._specs: dict[str, ProgramSpec] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._specs

    def names(self) -> list[str]:
        """The names of all configured programs."""
        return sorted(self._specs)

    def log_of(self, name: str) -> str | None:
        """The file to which this program writes; None: it is none, or has none."""
        program = self.manager.programs.get(name)
        return None if program is None else program.spec.log

    def patience(self, now: float) -> float | None:
        """Seconds until ``turn`` has something to do."""
        due, work = self.manager.next_due(), self.manager.patience(monotonic())
        waits = [wait for wait in (None if due is None else max(0.0, due - now), work) if wait is not None]
        return min(waits, default=None)

    def set(self, specs: Iterable[ProgramSpec], groups: Iterable[Group], policies: dict[str, Policy]) -> None:
        """Set the programs; call it before ``open``, or call ``apply`` afterwards."""
        self.specs, self.policies = tuple(specs), policies
        self.groups = tuple(group for group in groups if group.strategy is not None)
        self._specs = {spec.name: spec for spec in self.specs}

    def open(self, engine: Engine, now: float, out: list[Effect]) -> None:
        """Adopt programs that an earlier supervisor left, and start those with autostart."""
        self._engine = engine
        self.manager.is_failure = engine.processes.is_failure
        events, faults = self.manager.open(self.specs, self.groups, now)
        out.extend(Event(EventType.PROGRAM, None, {"what": "record-damaged", "text": fault}) for fault in faults)
        self._handle_events(events, engine, now, out)
        self._forget_those_down(engine, now, out)
        self.settle_checks(engine, now, out)

    def settle_checks(self, engine: Engine, now: float, out: list[Effect]) -> None:
        """There are other checks: those of programs that do not run are not judged."""
        engine.checks.settle(lambda name: self.process(name) is not None, now, out)

    def apply(self, engine: Engine, now: float, out: list[Effect]) -> None:
        """Apply a changed config. ValueError: it is not possible, and nothing has changed."""
        known = [program.name for program in self.manager.programs.all()]
        self._handle_events(self.manager.apply(self.specs, self.groups, now), engine, now, out)
        for name in known:
            if name not in self._specs:
                engine.rules.forget(name)
                if self.manager.programs.get(name) is None:  # it was down already: there is no event
                    self._down(name, engine, now, out)

    def update_declarations(self, engine: Engine, now: float, out: list[Effect]) -> None:
        """The rules have changed: declare the watchdogs of programs again."""
        for name in self._specs:
            if engine.get(name) is not None:
                self._declare(name, engine, now, out)

    def turn(self, engine: Engine, now: float, out: list[Effect], *, ready: bool) -> None:
        """Handle exits and expired timers."""
        self.manager.check(monotonic())
        if ready:
            self.catch_up()  # what a program said before it ended counts before its end
        due = self.manager.next_due()
        if ready or (due is not None and due <= now):
            self._handle_events(self.manager.tick(now), engine, now, out)

    def handle(self, message: Any, engine: Engine, now: float, out: list[Effect]) -> None:
        """Handle a message of the program manager."""
        if isinstance(message, WorkTold):
            out.append(Event(EventType.PROGRAM, message.name, {"what": message.what, "text": message.text}))
        else:
            self._handle_events(self.manager.carry_out(message.effects(now)), engine, now, out)

    def command(self, what: str, name: str, engine: Engine, now: float, out: list[Effect], why: str) -> None:
        """``what``: start, stop or restart. KeyError: there is no such program."""
        if name not in self._specs:
            raise KeyError(name)
        programs = self.manager.programs
        self.manager.hold(name, what == "stop")
        if what == "restart":
            effects = programs.restart(name, now, why, with_group=True)
        else:
            effects = programs.start(name, now) if what == "start" else programs.stop(name, now, why)
        self._handle_events(self.manager.carry_out(effects), engine, now, out)
        program = programs.get(name)
        if what == "stop" and program is not None and program.state is ProgramState.STOPPED:
            self._down(name, engine, now, out)  # it had ended before: there will be no event

    def stop_all(self, why: str, engine: Engine, now: float, out: list[Effect]) -> None:
        """Stop every program, in order. The next supervisor starts them again."""
        programs = self.manager.programs
        names = [program.name for program in programs.all()]
        self._handle_events(self.manager.carry_out(programs.stop(names, now, why)), engine, now, out)

    def ending(self) -> bool:
        """Whether one that is to stop has not ended, and may still do so."""
        return any(program.may_end for program in self.manager.programs.all())

    def may_restart(self, name: str) -> bool:
        """Whether a ladder may restart it: not during its own restart backoff, and not when it was given up."""
        program = self.manager.programs.get(name)
        up = (ProgramState.STARTING, ProgramState.RUNNING, ProgramState.STOPPED)
        return program is not None and program.state in up

    def process(self, name: str) -> ProcessIdentity | None:
        """The process of a program, known without any feed; None: it has none."""
        main = self.manager.main(name)
        return None if main is None else ProcessIdentity(SPACE, main.pid, main.start, b"")

    def is_spawning(self, name: str) -> bool:
        """Whether a process of it is being made, which may speak before it is known."""
        program = self.manager.programs.get(name)
        return program is not None and program.state is ProgramState.STARTING and not program.process

    def notify_access(self, name: str) -> str | None:
        """Which of its processes may speak by sd_notify; None: it is no program."""
        spec = self._specs.get(name)
        return None if spec is None else spec.notify_access

    def readiness(self, name: str) -> Readiness | None:
        """How it is known that it is ready; None: it always is, or it is no program."""
        spec = self._specs.get(name)
        return None if spec is None else spec.ready

    def is_ready(self, name: str) -> bool:
        """Whether this program is up, and ready."""
        program = self.manager.programs.get(name)
        return program is not None and program.ready

    def stop_timeout(self, name: str) -> float:
        """Seconds that it has to end."""
        spec = self._specs.get(name)
        return STOP_TIMEOUT if spec is None else spec.stop_timeout

    def last_output(self, name: str, *, has_ended: bool) -> list[str]:
        """The last lines that a program wrote; ``has_ended``: its process that ended last. Reads the disk."""
        return self.manager.output.last(name, has_ended=has_ended) if name in self._specs else []

    def stopping(self, name: str) -> bool:
        """Whether this is a program that is being stopped."""
        program = self.manager.programs.get(name)
        return program is not None and program.state is ProgramState.STOPPING

    def states(self) -> Counter[ProgramState]:
        """How many programs are in each state."""
        return Counter(program.state for program in self.manager.programs.all() if program.name in self._specs)

    def close(self, wait: float = CLOSE_WAIT) -> None:
        """Close, within ``wait`` seconds. Programs keep running, except those with ``dies_with_supervisor``."""
        self.manager.close(min(wait, CLOSE_WAIT))

    # -- inside -------------------------------------------------------------------------------------

    def _timeout(self, name: str) -> float | None:
        policy = self.policies.get(name)
        return None if policy is None or policy.worker_declares else policy.declaration.timeout

    def _handle_events(self, events: list[ProgramEvent], engine: Engine, now: float, out: list[Effect]) -> None:
        kinds, ended = ProgramEventType, set()
        if events:
            self.news()
        for event in events:
            self.heard(event)
            name, data, spec = event.name, event.data, self._specs.get(event.name)
            out.append(Event(EventType.PROGRAM, name, {"what": event.type.value, **data}))
            if spec is not None:  # else its checks, if there are any, are a watchdog's now
                _tell_checks(event, engine, now, out)
            failed = event.type is kinds.FAILED and data.get("wanted", True)
            if failed or event.type in (kinds.EXITED, kinds.GAVE_UP):
                ended.add(name)
            match event.type:
                case kinds.STOPPED if data.get("again"):
                    engine.on_purpose.program_down(name, now, out, again=True, removed=False)
                case kinds.STOPPED if name not in ended:
                    # Else it was not stopped by request: the EXITED or FAILED event was handled.
                    self._down(name, engine, now, out)
                case kinds.STOPPED if engine.get(name) is None:  # it ended well, and stays down
                    engine.rules.forget(name)
                case kinds.EXITED if spec is None:
                    self._down(name, engine, now, out)
                case kinds.EXITED if not engine.processes.ended_well(name, data["status"], now, out):
                    status = data["status"]
                    how = "it ended, exit status unknown" if status is None else exit_text(status)
                    if (why := self.last_words.get(name)) is not None:
                        how = f"{how} ({why})"[:REASON_MAX]
                    engine.processes.program_ended(name, how, now)
                case _ if spec is None:
                    pass  # it is no longer configured
                case kinds.STARTED | kinds.ADOPTED:
                    if event.type is kinds.STARTED and engine.get(name) is not None:
                        engine.processes.restarted(name, now, out)
                    else:
                        self._declare(name, engine, now, out)  # a new one starts its grace now
                    engine.on_purpose.program_up(name, now)
                    self.last_words.pop(name, None)
                    engine.notified.begun(name, self._ready_within(name, engine), now)
                case kinds.READY:
                    self.manager.note_ready(name)
                    engine.notified.met(name, now, out)
                case kinds.FAILED if failed:  # one incident for all attempts
                    self._declare(name, engine, now, out)
                    reason = f"it could not be started: {data.get('reason', 'reason unknown')}"[:REASON_MAX]
                    engine.tell(Message(Kind.FAIL, name, None, 0.0, None, (reason,)), now, out)
                    if (record := engine.get(name)) is not None and not record.is_judged:
                        engine.processes.program_ended(name, reason, now)  # else a pause would make it well
                case kinds.GAVE_UP:  # an incident even if the program had released its watchdog
                    self._declare(name, engine, now, out)
                    times = "1 restart" if data["count"] == 1 else f"{data['count']} restarts"
                    why = f"given up: {data['of']} has used up its budget of {times} in {format_s(data['period'])}"
                    engine.processes.abandon(name, why, now, out)

    def check_passed(self, name: str, began: float, now: float, out: list[Effect]) -> None:
        """The check of its readiness has passed, by a run that began then."""
        program = self.manager.programs.get(name)
        readiness = self.readiness(name)
        if program is not None and readiness is not None and readiness.check and began >= program.started_at:
            assert self._engine is not None
            self.became_ready(name, self._engine, now, out)

    def became_ready(self, name: str, engine: Engine, now: float, out: list[Effect]) -> None:
        """It is ready, by what its spec says; once is enough."""
        effects = self.manager.programs.ready(name, now)
        if effects:
            self._handle_events(self.manager.carry_out(effects), engine, now, out)

    def _ready_within(self, name: str, engine: Engine) -> float | None:
        """Seconds within which a process that has just started is to be ready; None: it is."""
        program, record = self.manager.programs.get(name), engine.get(name)
        if program is None or program.ready or record is None:
            return None
        grace = record.declaration.grace
        if grace >= NEVER and record.policy is not None and "grace" in record.policy.written:
            grace = record.policy.declaration.grace
        return grace if grace < NEVER else engine.rules.times.grace

    def _down(self, name: str, engine: Engine, now: float, out: list[Effect]) -> None:
        """It is stopped, and not started again by itself. Where the config has removed it, its name may be a
        group's or a watchdog's now."""
        removed, record = name not in self._specs, engine.get(name)
        if not (removed and record is not None and (record.is_group or self._is_of_another(record, engine))):
            engine.forget(name, now, out, STOPPED)
        engine.on_purpose.program_down(name, now, out, again=False, removed=removed)
        if removed and (policy := self.others.get(name)) is not None:
            engine.watch(name, now, out, awaited=policy.expect)

    def _is_of_another(self, record: Record, engine: Engine) -> bool:
        """Whether a process that is none of the program's feeds the watchdog that has its name now."""
        owner = record.owner
        return record.name in self.others and owner is not None and engine.table.program_of(owner) != record.name

    def _forget_those_down(self, engine: Engine, now: float, out: list[Effect]) -> None:
        """Forget restored watchdogs of programs that are down and stay down: they would get no feed. One that is
        paused is there because its program ended in the pause, and not well, or it would have been released."""
        for name in self._specs:
            program, record = self.manager.programs.get(name), engine.get(name)
            down = program is not None and program.state is ProgramState.STOPPED
            if down and name in self.manager.held:
                self._down(name, engine, now, out)
            elif not down or record is None or record.exited:
                continue
            elif record.is_judged:
                engine.forget(name, now, out)
            elif record.state is State.PAUSED and self.manager.had_ended(name) and not _is_fed(record, engine):
                engine.processes.program_ended(name, ENDED_IN_PAUSE, now)

    def _declare(self, name: str, engine: Engine, now: float, out: list[Effect]) -> None:
        policy = self.policies.get(name)
        if policy is None:
            engine.rules.forget(name)
            policy = engine.rules.policy_of(name) or EXIT_ONLY  # a pattern may match it
            if policy.declaration.feeders is Feeders.LATEST:  # that is for one process
                policy = policy._replace(declaration=policy.declaration._replace(feeders=Feeders.EACH))
        engine.declare(name, policy, now, out)


def _is_fed(record: Record, engine: Engine) -> bool:
    """Whether a process has its name that may live."""
    return record.owner is not None and not engine.processes.has_ended(record.owner)


def _tell_checks(event: ProgramEvent, engine: Engine, now: float, out: list[Effect]) -> None:
    """The checks of a program are judged while it runs; and the program that runs them is one itself."""
    kinds, name = ProgramEventType, event.name
    match event.type:
        case kinds.STARTED | kinds.ADOPTED:
            engine.checks.owner_started(name, now, out, anew=event.type is kinds.STARTED)
            if name == RUNNER:
                engine.checks.runner_started()
        case kinds.STOPPED:
            engine.checks.owner_ended(name, now, out, stays_down=not event.data.get("again"))
        case kinds.EXITED | kinds.FAILED | kinds.GAVE_UP:
            engine.checks.owner_ended(name, now, out, stays_down=event.type is kinds.GAVE_UP)
