"""What the tests of the programs' core share: short specs, and a core with a clock that is set."""

from __future__ import annotations

import signal
from typing import Any

from banken_supervisor.engine.ladder import Backoff, Budget
from banken_supervisor.engine.policy import Group, ProgramSpec, Restart
from banken_supervisor.programs.engine.effects import KillGroup, ProgramEffect, ProgramEvent, SendSignal, Spawn
from banken_supervisor.programs.engine.programs import Programs


def spec(name: str, **fields: Any) -> ProgramSpec:
    """A program that is restarted always, up to three times a minute, after one to eight seconds."""
    plain: dict[str, Any] = {
        "restart": Restart.ALWAYS,
        "budget": Budget(3, 60.0),
        "backoff": Backoff(1.0, 8.0),
        "stop_timeout": 2.0,
    }
    return ProgramSpec(name, ("x",), **{**plain, **fields})


class Bench:
    """A core, and short words for what it does: "spawn a", "15 a", "kill a", and events by their type."""

    def __init__(self, *specs: ProgramSpec, groups: tuple[Group, ...] = (), start: bool = True) -> None:
        self.core = Programs()
        self.now = 100.0
        self.events: list[ProgramEvent] = []
        self.core.apply(specs, groups, self.now)
        self.groups = groups
        if start:
            for each in sorted(specs, key=lambda one: one.order):
                self.core.start(each.name, self.now)
                self.started(each.name)

    def words(self, effects: list[ProgramEffect]) -> list[str]:
        """What is done, without what is told."""
        said = []
        for effect in effects:
            match effect:
                case Spawn(name):
                    said.append(f"spawn {name}")
                case SendSignal(name, number) if number != signal.SIGCONT:
                    said.append(f"{int(number)} {name}")
                case KillGroup(name):
                    said.append(f"kill {name}")
                case ProgramEvent():
                    self.events.append(effect)
        return said

    def ask(self, what: str, names: str | list[str], **more: Any) -> list[str]:
        return self.words(getattr(self.core, what)(names, self.now, **more))

    def started(self, *names: str) -> list[str]:
        return [word for name in names for word in self.words(self.core.started(name, 1, self.now))]

    def exited(self, name: str, status: int | None = 1, random: float = 0.0) -> list[str]:
        return self.words(self.core.exited(name, status, self.now, random))

    def failed(self, name: str, random: float = 0.0, *, shortage: bool = False) -> list[str]:
        return self.words(self.core.failed(name, "no such file", self.now, random, shortage=shortage))

    def wait(self, seconds: float) -> list[str]:
        self.now += seconds
        return self.words(self.core.due(self.now))

    def until_due(self) -> tuple[float, list[str]]:
        """Seconds until something is due, and what it is."""
        due = self.core.next_due()
        assert due is not None
        waited = due - self.now
        return round(waited, 6), self.wait(waited)

    def state(self, name: str) -> str:
        program = self.core.get(name)
        return "unknown" if program is None else program.state.value

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.type.value == kind]
