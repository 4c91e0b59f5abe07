"""The programs' place beside the engine: what becomes of a program is told to the watchdog that has its name.

A program's watchdog is declared when its process starts, has the grace of a start after each one, and is released
when the program is stopped on purpose. What ends by itself with a fault, or cannot be started, is an incident at
once. A program that the config does not have watched is judged by its end alone.
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
from banken_supervisor.engine.states import State
from banken_supervisor.programs import ProgramManager
from banken_supervisor.programs.engine.effects import ProgramEvent, ProgramEventType
from banken_supervisor.programs.engine.states import ProgramState
from banken_supervisor.programs.program_manager import CLOSE_WAIT, WorkTold
from banken_supervisor.text.durations import format_s

STOPPED = "stopped"
"""How an incident is over whose program was stopped on purpose."""


class ProgramWatchdogs:
    """The programs of one supervisor; without any it does nothing. Owned by the loop's thread.

    ``directory``: the address's own. ``post``: leaves the loop a message, from any thread.
    """

    def __init__(self, directory: str, post: Callable[[Any], None]) -> None:
        self._directory = directory
        self._post = post
        self._keeper: ProgramManager | None = None
        self.specs: tuple[ProgramSpec, ...] = ()
        self.groups: tuple[Group, ...] = ()
        self.policies: dict[str, Policy] = {}
        """by program: what holds for its watchdog, where something was said about it"""
        self.heard: Callable[[ProgramEvent], None] = lambda event: None
        """told of each event, on the loop's thread"""
        self._specs: dict[str, ProgramSpec] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._specs

    def names(self) -> list[str]:
        """All programs there are to be."""
        return sorted(self._specs)

    def fileno(self) -> int | None:
        """Readable while there is an end to tell."""
        return self._made().fileno()

    def patience(self, now: float) -> float | None:
        """Seconds until ``turn`` has something to do."""
        if self._keeper is None:
            return None
        due, work = self._keeper.next_due(), self._keeper.patience(monotonic())
        waits = [wait for wait in (None if due is None else max(0.0, due - now), work) if wait is not None]
        return min(waits, default=None)

    def set(self, specs: Iterable[ProgramSpec], groups: Iterable[Group], policies: dict[str, Policy]) -> None:
        """What there is to be; before ``open``, or followed by ``apply``."""
        self.specs, self.groups, self.policies = tuple(specs), tuple(groups), policies
        self._specs = {spec.name: spec for spec in self.specs}

    def open(self, engine: Engine, now: float, out: list[Effect]) -> None:
        """Adopt what a former supervisor left, and start what is to start by itself."""
        events, faults = self._made().open(self.specs, self._program_groups(), now)
        out.extend(Event(EventType.PROGRAM, None, {"what": "record-damaged", "text": fault}) for fault in faults)
        self._tell(events, engine, now, out)
        self._forget_those_down(engine, now, out)

    def apply(self, engine: Engine, now: float, out: list[Effect]) -> None:
        """A changed config: ValueError, and nothing has changed, where it cannot be."""
        events = self._made().apply(self.specs, self._program_groups(), now)
        self._tell(events, engine, now, out)

    def obey(self, engine: Engine, now: float, out: list[Effect]) -> None:
        """The rules have changed: the watchdogs of programs that run on follow the new word."""
        for name in self._specs:
            if engine.get(name) is not None:
                self._declare(name, engine, now, out)

    def turn(self, engine: Engine, now: float, out: list[Effect], *, ready: bool) -> None:
        """Take note of ends, do what is due."""
        keeper = self._made()
        keeper.check(monotonic())
        due = keeper.next_due()
        if ready or (due is not None and due <= now):
            self._tell(keeper.tick(now), engine, now, out)

    def handle(self, message: Any, engine: Engine, now: float, out: list[Effect]) -> None:
        """A message of the programs' own."""
        if isinstance(message, WorkTold):
            out.append(Event(EventType.PROGRAM, message.name, {"what": message.what, "text": message.text}))
            return
        self._tell(self._made().handle(message, now), engine, now, out)

    def command(self, what: str, name: str, engine: Engine, now: float, out: list[Effect], why: str) -> None:
        """start, stop or restart; KeyError for a program that there is not."""
        if name not in self._specs:
            raise KeyError(name)
        keeper = self._made()
        keeper.hold(name, what == "stop")
        if what == "restart":
            events = keeper.restart([name], now, why, with_group=True)
        else:
            events = keeper.start([name], now) if what == "start" else keeper.stop([name], now, why)
        self._tell(events, engine, now, out)
        program = keeper.programs.get(name)
        if what == "stop" and program is not None and program.state is ProgramState.STOPPED:
            engine.forget(name, now, out, STOPPED)  # it had ended before: nothing is left to be told of

    def may_restart(self, name: str) -> bool:
        """Whether a ladder has a say: not while the program's own restart policy is at work, or has given it up."""
        program = self._made().programs.get(name)
        up = (ProgramState.STARTING, ProgramState.RUNNING, ProgramState.STOPPED)
        return program is not None and program.state in up

    def process(self, name: str) -> ProcessIdentity | None:
        """The process of a program, as far as it is known without its having fed; None: it has none."""
        child = None if self._keeper is None else self._keeper.child(name)
        return None if child is None else ProcessIdentity(boot_id(), child.pid, child.start, b"")

    def stopping(self, name: str) -> bool:
        """Whether this is a program that is being taken down."""
        program = None if self._keeper is None else self._keeper.programs.get(name)
        return program is not None and program.state is ProgramState.STOPPING

    def rows(self, now: float) -> list[dict[str, Any]]:
        """One row for each program."""
        return [] if self._keeper is None else self._keeper.rows(now)

    def states(self) -> Counter[ProgramState]:
        """How many programs are in each state."""
        programs = () if self._keeper is None else (self._keeper.programs.get(name) for name in self._specs)
        return Counter(program.state for program in programs if program is not None)

    def close(self, wait: float = CLOSE_WAIT) -> None:
        """Give everything back, within ``wait`` seconds; programs run on, but for those that are to die with the
        supervisor."""
        if self._keeper is not None:
            self._keeper.close(min(wait, CLOSE_WAIT))

    # -- inside -------------------------------------------------------------------------------------

    def _made(self) -> ProgramManager:
        if self._keeper is None:
            self._keeper = ProgramManager(self._directory, self._directory, self._post, timeout=self._timeout)
        return self._keeper

    def _timeout(self, name: str) -> float | None:
        policy = self.policies.get(name)
        return None if policy is None else policy.declaration.timeout

    def _program_groups(self) -> list[Group]:
        return [group for group in self.groups if group.strategy is not None]

    def _tell(self, events: list[ProgramEvent], engine: Engine, now: float, out: list[Effect]) -> None:
        fallen = {event.name for event in events if event.type is ProgramEventType.EXITED}
        for event in events:
            self.heard(event)
            out.append(Event(EventType.PROGRAM, event.name, {"what": event.type.value, **event.data}))
            match event.type:
                case ProgramEventType.STARTED | ProgramEventType.ADOPTED:
                    self._started(event, engine, now, out)
                case ProgramEventType.STOPPED if event.data.get("again"):
                    engine.take_down(event.name, now, out)
                case ProgramEventType.STOPPED if event.name not in fallen:
                    # Else its end was no wish: what it was is told by EXITED.
                    engine.forget(event.name, now, out, STOPPED)
                case ProgramEventType.FAILED if event.data.get("wanted", True):
                    fallen.add(event.name)
                    self._failed(event, engine, now, out)
                case ProgramEventType.GAVE_UP:
                    fallen.add(event.name)
                    self._gave_up(event, engine, now, out)
                case ProgramEventType.EXITED:
                    self._exited(event, engine, now, out)

    def _forget_those_down(self, engine: Engine, now: float, out: list[Effect]) -> None:
        """A watchdog that came back for a program that is down, and stays so: nobody would feed it."""
        for name in self._specs:
            program, record = self._made().programs.get(name), engine.get(name)
            if program is not None and record is not None and program.state is ProgramState.STOPPED:
                exited = record.details is not None and record.details.exited_at is not None
                if record.state in (State.ALIVE, State.WAITING) and not exited:
                    engine.forget(name, now, out)

    def _started(self, event: ProgramEvent, engine: Engine, now: float, out: list[Effect]) -> None:
        if event.name not in self._specs:
            return
        if engine.get(event.name) is None or event.type is ProgramEventType.ADOPTED:
            self._declare(event.name, engine, now, out)  # its grace begins now, if it is new
        elif event.type is ProgramEventType.STARTED:
            engine.reborn(event.name, now, out)

    def _declare(self, name: str, engine: Engine, now: float, out: list[Effect]) -> None:
        policy = self.policies.get(name)
        if policy is None:
            engine.rules.forget(name)
            policy = engine.rules.policy_of(name) or EXIT_ONLY  # a pattern may speak for it
        engine.declare(name, policy, now, out)

    def _failed(self, event: ProgramEvent, engine: Engine, now: float, out: list[Effect]) -> None:
        """No process could be made: an incident of its own, one for all attempts."""
        if event.name in self._specs:
            self._declare(event.name, engine, now, out)
            reason = f"it could not be started: {event.data.get('reason', 'nobody knows why')}"[:REASON_MAX]
            engine.tell(Message(Kind.FAIL, event.name, None, 0.0, None, (reason,)), now, out)

    def _gave_up(self, event: ProgramEvent, engine: Engine, now: float, out: list[Effect]) -> None:
        """A restart budget is spent. Even a program that had released its watchdog leaves an incident then."""
        if event.name in self._specs:
            self._declare(event.name, engine, now, out)
            data = event.data
            why = f"given up: {data['of']} may restart {data['count']} times in {format_s(data['period'])}"
            engine.abandon(event.name, why, now, out)

    def _exited(self, event: ProgramEvent, engine: Engine, now: float, out: list[Effect]) -> None:
        """A good end of what is not to run again is no incident; every other end that nobody asked for is."""
        spec = self._specs.get(event.name)
        status = event.data.get("status")
        if spec is None or (status == 0 and spec.restart is not Restart.ALWAYS):
            engine.forget(event.name, now, out)
        else:
            engine.program_ended(event.name, ended_how(status), now)


def ended_how(status: int | None) -> str:
    """An exit status in words; negative: the signal that ended it."""
    if status is None:
        return "it ended, nobody knows how"
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"ended by signal {-status}"
