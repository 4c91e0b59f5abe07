"""Connects programs to their watchdogs: starts, exits and failures of a program go to the watchdog of its name.

The watchdog of a program is declared when its process starts, gets a start grace after each start, and is released
when the program is stopped by request. A failed start, or an exit that the restart policy counts as a failure,
opens an incident at once. A program without a timeout in the config is judged by its exit only.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from banken.process_identity import boot_id
from banken.protocol.limits import REASON_MAX
from banken.protocol.messages import Kind, Message, ProcessIdentity
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.policy import EXIT_ONLY, Group, Policy, ProgramSpec, Restart
from banken_supervisor.programs import ProgramManager
from banken_supervisor.programs.engine.effects import ProgramEvent, ProgramEventType
from banken_supervisor.programs.engine.states import ProgramState
from banken_supervisor.programs.program_manager import CLOSE_WAIT, WorkTold
from banken_supervisor.text.durations import format_s

STOPPED = "stopped"
"""How an incident ends when its program is stopped by request."""


class ProgramWatchdogs:
    """The programs of one supervisor; without any it does nothing. Owned by the loop's thread.

    ``directory``: of the address. ``post``: sends the loop a message, from any thread.
    """

    def __init__(self, directory: str, post: Callable[[Any], None]) -> None:
        self._directory = directory
        self._post = post
        self._manager: ProgramManager | None = None
        self.specs: tuple[ProgramSpec, ...] = ()
        self.groups: tuple[Group, ...] = ()
        self.policies: dict[str, Policy] = {}
        """by program: the policy of its watchdog, if it has one"""
        self.heard: Callable[[ProgramEvent], None] = lambda event: None
        """called with each event, on the loop's thread"""
        self._specs: dict[str, ProgramSpec] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._specs

    def names(self) -> list[str]:
        """The names of all configured programs."""
        return sorted(self._specs)

    def fileno(self) -> int | None:
        """Readable when a program has ended."""
        return self._get_manager().fileno()

    def patience(self, now: float) -> float | None:
        """Seconds until ``turn`` has something to do."""
        if self._manager is None:
            return None
        due, work = self._manager.next_due(), self._manager.patience(monotonic())
        waits = [wait for wait in (None if due is None else max(0.0, due - now), work) if wait is not None]
        return min(waits, default=None)

    def set(self, specs: Iterable[ProgramSpec], groups: Iterable[Group], policies: dict[str, Policy]) -> None:
        """Set the programs; call it before ``open``, or call ``apply`` afterwards."""
        self.specs, self.groups, self.policies = tuple(specs), tuple(groups), policies
        self._specs = {spec.name: spec for spec in self.specs}

    def open(self, engine: Engine, now: float, out: list[Effect]) -> None:
        """Adopt programs that an earlier supervisor left, and start those with autostart."""
        events, faults = self._get_manager().open(self.specs, self._program_groups(), now)
        out.extend(Event(EventType.PROGRAM, None, {"what": "record-damaged", "text": fault}) for fault in faults)
        self._handle_events(events, engine, now, out)
        self._forget_those_down(engine, now, out)

    def apply(self, engine: Engine, now: float, out: list[Effect]) -> None:
        """Apply a changed config. ValueError: it is not possible, and nothing has changed."""
        events = self._get_manager().apply(self.specs, self._program_groups(), now)
        self._handle_events(events, engine, now, out)

    def update_declarations(self, engine: Engine, now: float, out: list[Effect]) -> None:
        """The rules have changed: declare the watchdogs of programs again."""
        for name in self._specs:
            if engine.get(name) is not None:
                self._declare(name, engine, now, out)

    def turn(self, engine: Engine, now: float, out: list[Effect], *, ready: bool) -> None:
        """Handle exits and expired timers."""
        manager = self._get_manager()
        manager.check(monotonic())
        due = manager.next_due()
        if ready or (due is not None and due <= now):
            self._handle_events(manager.tick(now), engine, now, out)

    def handle(self, message: Any, engine: Engine, now: float, out: list[Effect]) -> None:
        """Handle a message of the program manager."""
        if isinstance(message, WorkTold):
            out.append(Event(EventType.PROGRAM, message.name, {"what": message.what, "text": message.text}))
            return
        self._handle_events(self._get_manager().handle(message, now), engine, now, out)

    def command(self, what: str, name: str, engine: Engine, now: float, out: list[Effect], why: str) -> None:
        """``what``: start, stop or restart. KeyError: there is no such program."""
        if name not in self._specs:
            raise KeyError(name)
        manager = self._get_manager()
        manager.hold(name, what == "stop")
        if what == "restart":
            events = manager.restart([name], now, why, with_group=True)
        else:
            events = manager.start([name], now) if what == "start" else manager.stop([name], now, why)
        self._handle_events(events, engine, now, out)
        program = manager.programs.get(name)
        if what == "stop" and program is not None and program.state is ProgramState.STOPPED:
            engine.forget(name, now, out, STOPPED)  # it had ended before: there will be no event

    def may_restart(self, name: str) -> bool:
        """Whether a ladder may restart it: not during its own restart backoff, and not when it was given up."""
        program = self._get_manager().programs.get(name)
        up = (ProgramState.STARTING, ProgramState.RUNNING, ProgramState.STOPPED)
        return program is not None and program.state in up

    def process(self, name: str) -> ProcessIdentity | None:
        """The process of a program, known without any feed; None: it has none."""
        child = None if self._manager is None else self._manager.child(name)
        return None if child is None else ProcessIdentity(boot_id(), child.pid, child.start, b"")

    def stopping(self, name: str) -> bool:
        """Whether this is a program that is being stopped."""
        program = None if self._manager is None else self._manager.programs.get(name)
        return program is not None and program.state is ProgramState.STOPPING

    def rows(self, now: float) -> list[dict[str, Any]]:
        """One row for each program."""
        return [] if self._manager is None else self._manager.rows(now)

    def states(self) -> Counter[ProgramState]:
        """How many programs are in each state."""
        programs = () if self._manager is None else (self._manager.programs.get(name) for name in self._specs)
        return Counter(program.state for program in programs if program is not None)

    def close(self, wait: float = CLOSE_WAIT) -> None:
        """Close, within ``wait`` seconds. Programs keep running, except those with ``dies_with_supervisor``."""
        if self._manager is not None:
            self._manager.close(min(wait, CLOSE_WAIT))

    # -- inside -------------------------------------------------------------------------------------

    def _get_manager(self) -> ProgramManager:
        if self._manager is None:
            self._manager = ProgramManager(self._directory, self._directory, self._post, timeout=self._timeout)
        return self._manager

    def _timeout(self, name: str) -> float | None:
        policy = self.policies.get(name)
        return None if policy is None else policy.declaration.timeout

    def _program_groups(self) -> list[Group]:
        return [group for group in self.groups if group.strategy is not None]

    def _handle_events(self, events: list[ProgramEvent], engine: Engine, now: float, out: list[Effect]) -> None:
        ended = {event.name for event in events if event.type is ProgramEventType.EXITED}
        for event in events:
            self.heard(event)
            out.append(Event(EventType.PROGRAM, event.name, {"what": event.type.value, **event.data}))
            match event.type:
                case ProgramEventType.STARTED | ProgramEventType.ADOPTED:
                    self._started(event, engine, now, out)
                case ProgramEventType.STOPPED if event.data.get("again"):
                    engine.processes.take_down(event.name, now, out)
                case ProgramEventType.STOPPED if event.name not in ended:
                    # Else it was not stopped by request: the EXITED or FAILED event was handled.
                    engine.forget(event.name, now, out, STOPPED)
                case ProgramEventType.FAILED if event.data.get("wanted", True):
                    ended.add(event.name)
                    self._failed(event, engine, now, out)
                case ProgramEventType.GAVE_UP:
                    ended.add(event.name)
                    self._gave_up(event, engine, now, out)
                case ProgramEventType.EXITED:
                    self._exited(event, engine, now, out)

    def _forget_those_down(self, engine: Engine, now: float, out: list[Effect]) -> None:
        """Forget restored watchdogs of programs that are down and stay down: they would get no feed."""
        for name in self._specs:
            program, record = self._get_manager().programs.get(name), engine.get(name)
            down = program is not None and program.state is ProgramState.STOPPED
            if down and record is not None and record.is_judged and not record.exited:
                engine.forget(name, now, out)

    def _started(self, event: ProgramEvent, engine: Engine, now: float, out: list[Effect]) -> None:
        if event.name not in self._specs:
            return
        if engine.get(event.name) is None or event.type is ProgramEventType.ADOPTED:
            self._declare(event.name, engine, now, out)  # a new one starts its grace now
        elif event.type is ProgramEventType.STARTED:
            engine.processes.restarted(event.name, now, out)

    def _declare(self, name: str, engine: Engine, now: float, out: list[Effect]) -> None:
        policy = self.policies.get(name)
        if policy is None:
            engine.rules.forget(name)
            policy = engine.rules.policy_of(name) or EXIT_ONLY  # a pattern may match it
        engine.declare(name, policy, now, out)

    def _failed(self, event: ProgramEvent, engine: Engine, now: float, out: list[Effect]) -> None:
        """The process could not be started: one incident for all attempts."""
        if event.name in self._specs:
            self._declare(event.name, engine, now, out)
            reason = f"it could not be started: {event.data.get('reason', 'reason unknown')}"[:REASON_MAX]
            engine.tell(Message(Kind.FAIL, event.name, None, 0.0, None, (reason,)), now, out)

    def _gave_up(self, event: ProgramEvent, engine: Engine, now: float, out: list[Effect]) -> None:
        """A restart budget is used up. This opens an incident even if the program had released its watchdog."""
        if event.name in self._specs:
            self._declare(event.name, engine, now, out)
            data = event.data
            times = "1 restart" if data["count"] == 1 else f"{data['count']} restarts"
            why = f"given up: {data['of']} has used up its budget of {times} in {format_s(data['period'])}"
            engine.processes.abandon(event.name, why, now, out)

    def _exited(self, event: ProgramEvent, engine: Engine, now: float, out: list[Effect]) -> None:
        """Exit status 0 is no incident, unless the restart policy is ``always``. Every other exit is one."""
        spec = self._specs.get(event.name)
        status = event.data.get("status")
        if spec is None or (status == 0 and spec.restart is not Restart.ALWAYS):
            engine.forget(event.name, now, out)
        else:
            engine.processes.program_ended(event.name, ended_how(status), now)


def ended_how(status: int | None) -> str:
    """An exit status as text; negative: the signal that ended it; None: unknown."""
    if status is None:
        return "it ended, exit status unknown"
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"ended by signal {-status}"
