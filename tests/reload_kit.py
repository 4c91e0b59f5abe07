"""Config files that follow one another in one supervisor, or each in one of its own: the pure core, with programs
that start and end when the test says so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

from banken.protocol.messages import Kind, ProcessIdentity
from banken_supervisor import config
from banken_supervisor.engine.checks import RUNNER
from banken_supervisor.engine.policy import Group, ProgramSpec
from banken_supervisor.processes.namespaces import SPACE
from banken_supervisor.programs.engine.effects import ProgramEffect, ProgramEvent, SendSignal, Spawn
from banken_supervisor.programs.engine.programs import Programs
from banken_supervisor.programs.program_watchdogs import ProgramWatchdogs
from banken_supervisor.programs.reports import ProgramReport
from banken_supervisor.runtime.runtime_config import ConfigTargets, RuntimeConfig
from engine_kit import Bench

TERM = -15


class Manager:
    """Stands in for the program manager: it starts nothing. ``due``: what is to be reported."""

    def __init__(self) -> None:
        self.programs = Programs()
        self.pids: dict[str, int] = {}
        self.last = 100
        self.slow: set[str] = set()
        """those that do not end when they are asked to"""
        self.due: list[tuple[str, int | None]] = []
        """by program: how it has ended; None: its process is made"""
        self.held: set[str] = set()
        self.output = Mock()
        self.hold = self.note_ready = self.check = Mock()
        self.next_due = self.programs.next_due

    def open(
        self, specs: tuple[ProgramSpec, ...], groups: tuple[Group, ...], now: float
    ) -> tuple[list[ProgramEvent], list[str]]:
        return self.apply(specs, groups, now), []

    def apply(self, specs: tuple[ProgramSpec, ...], groups: tuple[Group, ...], now: float) -> list[ProgramEvent]:
        known = {each.name for each in self.programs.all()}
        events = self.carry_out(self.programs.apply(specs, groups, now))
        new = [spec.name for spec in specs if spec.name not in known]
        return events + self.carry_out(self.programs.start(new, now))

    def carry_out(self, effects: list[ProgramEffect]) -> list[ProgramEvent]:
        for effect in effects:
            match effect:
                case Spawn(name):
                    self.due.append((name, None))
                case SendSignal(name, number) if number == -TERM and name not in self.slow:
                    self.due.append((name, TERM))
        return [effect for effect in effects if isinstance(effect, ProgramEvent)]

    def tick(self, now: float) -> list[ProgramEvent]:
        return self.carry_out(self.programs.due(now))

    def main(self, name: str) -> Any:
        pid = self.pids.get(name)
        return None if pid is None else SimpleNamespace(pid=pid, start=pid)


class Reloads(Bench):
    """A supervisor with this config file."""

    def __init__(self, directory: Path, text: str) -> None:
        super().__init__()
        self.directory, self.manager = directory, Manager()
        programs = self.programs = ProgramWatchdogs(str(directory), lambda message: None)
        programs.close()  # the manager that it has made
        programs.manager = cast(Any, self.manager)
        engine = self.engine
        engine.on_purpose.is_stopping = programs.stopping
        engine.processes.is_program = programs.__contains__
        engine.checks.runner = lambda: programs.process(RUNNER)
        engine.admission.speaks_for = lambda pid, process: True
        driver = cast(Any, self)  # it has the engine, the time and the effects
        self.targets = ConfigTargets(driver, programs, *(Mock() for _ in range(5)))
        self.current = self._read(text)
        self.current.prepare(self.targets)
        programs.open(engine, self.now, self.out)
        self.settle()

    def _read(self, text: str) -> RuntimeConfig:
        path = self.directory / "banken.toml"
        path.write_text(text)
        return RuntimeConfig(config.load(path))

    def reload(self, text: str) -> None:
        made = self._read(text)
        made.replace(self.current, self.targets)
        self.current = made
        self.settle()

    def settle(self) -> None:
        """What programs were asked to do has happened."""
        while self.manager.due:
            name, status = self.manager.due.pop(0)
            if status is None:
                self.manager.last += 1
                self.manager.pids[name] = pid = self.manager.last
                self._report(lambda now, name=name, pid=pid: self.manager.programs.started(name, pid, now))
            else:
                self.end(name, status)

    def end(self, name: str, status: int = TERM, *, heard_first: bool = True) -> None:
        """The program ends. ``heard_first``: its process's end is known before that of all that it had started."""
        who = self.process(name)
        ends = [
            lambda: self.engine.processes.exited(who, self.now, self.out, status),
            lambda: self._report(lambda now: self.manager.programs.exited(name, status, now, 0.0)),
        ]
        for end in ends if heard_first else reversed(ends):
            end()
        del self.manager.pids[name]

    def _report(self, effects: Any) -> None:
        self.programs.handle(ProgramReport(effects), self.engine, self.now, self.out)

    def process(self, name: str) -> ProcessIdentity:
        pid = self.manager.pids[name]
        return ProcessIdentity(SPACE, pid, pid, b"once")

    def feed_from(self, program: str, name: str) -> None:
        """The process of a program feeds this name."""
        who = self.process(program)
        assert self.say(Kind.FEED, name, who=who) is None
        self.engine.on_purpose.belongs(who, program)

    def live(self, seconds: int, checks: Mapping[str, bool] | None = None) -> None:
        """Time passes. ``checks``: how the runs of each check end."""
        for half in range(2 * seconds):
            if RUNNER in self.manager.pids:
                runner = self.process(RUNNER)
                assert self.say(Kind.FEED, RUNNER, who=runner) is None
                for name, passed in (checks or {}).items() if half % 2 else ():
                    refused = self.say(Kind.RESULT, name, passed, "seen", 0.01, 1.0, False, None, False, who=runner)
                    assert refused is None or refused.reason == "unknown"
            self.jump(0.5)
            self.programs.turn(self.engine, self.now, self.out, ready=False)
            self.settle()

    def verdicts(self) -> dict[str, tuple[str, str | None]]:
        """By watchdog: its state, and what its incident is about."""
        found: dict[str, tuple[str, str | None]] = {}
        for record in self.engine.table:
            incident = None if record.details is None else record.details.incident
            dormant = "" if record.awaited else ", not expected"
            cause = None if incident is None else incident.cause.value
            found[record.name] = f"{record.state.value}{dormant}", cause
        return found
