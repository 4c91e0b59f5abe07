"""Simulated hours of programs that crash, hang, end, cannot be started, ignore signals, and are told what to do.

One seed decides everything. The core is called as the keeper calls it; processes and time are this host's.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from banken_supervisor.engine.ladder import Backoff, Budget
from banken_supervisor.engine.policy import Group, ProgramSpec, Restart, Strategy
from banken_supervisor.programs.engine.effects import (
    KillGroup,
    ProgramEffect,
    ProgramEvent,
    ProgramEventType,
    SendSignal,
    Spawn,
)
from banken_supervisor.programs.engine.programs import Programs

from .programs_oracle import Finding, Oracle

PROGRAMS = 50
HOURS = 1.0
LOOK_EVERY = 5.0
TIMER_LATE = 0.05

_E = ProgramEventType


class Night:
    """One simulated stretch of time with its programs."""

    def __init__(self, seed: int, core: type[Programs] = Programs, hours: float = HOURS) -> None:
        self.random = random.Random(seed)
        self.now = 1000.0
        self.counts: Counter[str] = Counter()
        self.trace: deque[str] = deque(maxlen=400)
        self._end = self.now + hours * 3600
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._tie = 0
        self._lives: dict[str, int] = {}
        """by name: which process is meant, so that what was planned for an old one does not meet a new one"""
        self._alive: set[str] = set()
        self._numbers = 0
        self._timer: float | None = None
        self._specs, self._groups = self._people()
        self.oracle = Oracle(self._specs, self._groups)
        self.core = core()
        self._do("apply", lambda: self.core.apply(self._specs, self._groups, self.now))

    def run(self, *, stop_at_finding: bool = False) -> list[Finding]:
        """All of it."""
        self._ask("start", [each.name for each in self._specs], in_order=True)
        self._later(self.random.expovariate(1 / 60), self._operator)
        self._later(LOOK_EVERY, self._look)
        while self._heap and not (stop_at_finding and self.oracle.findings):
            at, _, what, args = heapq.heappop(self._heap)
            if at > self._end:
                break
            self.now = max(self.now, at)
            what(*args)
        return self.oracle.findings

    # -- who there is -------------------------------------------------------------------------------

    def _people(self) -> tuple[list[ProgramSpec], list[Group]]:
        chance = self.random
        specs = []
        for number in range(PROGRAMS):
            least = chance.choice([0.1, 0.5, 1.0])
            specs.append(
                ProgramSpec(
                    f"p{number}",
                    ("x",),
                    order=chance.choice([0, 0, 0, 1, 2]),
                    stop_timeout=chance.choice([0.5, 2.0, 10.0]),
                    stop_signal=chance.choice(["SIGTERM", "SIGINT"]),
                    restart=chance.choice([Restart.ALWAYS, Restart.ON_FAILURE, Restart.ON_FAILURE, Restart.NEVER]),
                    budget=Budget(chance.randrange(0, 6), chance.choice([10.0, 60.0, 600.0])),
                    backoff=Backoff(least, least * chance.choice([1, 8, 60])),
                )
            )
        groups = []
        members = [each.name for each in specs[: PROGRAMS // 2]]
        chance.shuffle(members)
        while members:
            some = [members.pop() for _ in range(min(len(members), chance.randrange(2, 7)))]
            budget = Budget(chance.randrange(1, 9), chance.choice([60.0, 600.0])) if chance.random() < 0.5 else None
            strategy = chance.choice([Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
            groups.append(Group(f"g{len(groups)}", tuple(some), strategy=strategy, budget=budget))
        return specs, groups

    def _life(self) -> float:
        """How long one process lives by itself, seconds."""
        kind = self.random.random()
        if kind < 0.2:
            return self.random.uniform(0.0, 0.5)
        if kind < 0.5:
            return self.random.expovariate(1 / 30)
        return self.random.expovariate(1 / 600)

    # -- what happens -------------------------------------------------------------------------------

    def _later(self, seconds: float, what: Callable[..., None], *args: Any) -> None:
        self._tie += 1
        heapq.heappush(self._heap, (self.now + seconds, self._tie, what, args))

    def _operator(self) -> None:
        """Somebody asks for something."""
        chance = self.random
        names = [each.name for each in self._specs]
        kind = chance.random()
        if kind < 0.04:
            self._ask("stop", names)
        elif kind < 0.10:
            self._ask("start", names, in_order=True)
        else:
            what = chance.choice(["start", "start", "stop", "restart", "with-group"])
            self._ask(what, [chance.choice(names)])
        self._later(
            chance.choice([0.0, 0.01, 0.3, 20.0]) * chance.random() + chance.expovariate(1 / 12), self._operator
        )

    def _ask(self, what: str, names: list[str], *, in_order: bool = False) -> None:
        self.counts[what] += 1
        self._note(f"{what} {names if len(names) < 5 else 'all'}")
        self.oracle.asked(what, names, self.now)
        if in_order:
            self.oracle.started_in_order(names)
        if what == "with-group":
            self._do(what, lambda: self.core.restart(names, self.now, with_group=True))
        else:
            self._do(what, lambda: getattr(self.core, what)(names, self.now))

    def _look(self) -> None:
        self.oracle.look(self.now)
        self._later(LOOK_EVERY, self._look)

    def _spawned(self, name: str, life: int) -> None:
        if self.random.random() < 0.1:
            self.counts["failed"] += 1
            self._end_of(name, life, None, failed=True)
            return
        self.counts["spawned"] += 1
        self._alive.add(name)
        self._note(f"made {name}")
        self.oracle.started(name, self.now)
        self._do("started", lambda: self.core.started(name, life, self.now))
        self._later(self._life(), self._end_of, name, life, self.random.choice([0, 1, -9, None]))

    def _end_of(self, name: str, life: int, status: int | None, failed: bool = False) -> None:
        """A process ends, or could not be made."""
        if self._lives.get(name) != life or (name not in self._alive and not failed):
            return
        self._alive.discard(name)
        del self._lives[name]
        self._note(f"ended {name} {status} {'failed' if failed else ''}")
        own = self.oracle.ended(name, status, self.now, failed)
        number = self.random.random()
        if failed:
            effects = self._call(lambda: self.core.failed(name, "planned", self.now, number))
        else:
            effects = self._call(lambda: self.core.exited(name, status, self.now, number))
        gave_up = [
            (each.name, each.data["of"])
            for each in effects
            if isinstance(each, ProgramEvent) and each.type is _E.GAVE_UP
        ]
        if own:
            self.oracle.decided(name, gave_up, self.now)
        elif gave_up:
            self.oracle.wrong("give-up", self.now, name, "it had been asked to stop")
        self._carry_out(effects)

    def _timer_goes(self, when: float) -> None:
        if self._timer == when:
            self._timer = None
            self._do("due", lambda: self.core.due(self.now))

    # -- what is done -------------------------------------------------------------------------------

    def _do(self, what: str, call: Callable[[], list[ProgramEffect]]) -> None:
        self._carry_out(self._call(call))

    def _call(self, call: Callable[[], list[ProgramEffect]]) -> list[ProgramEffect]:
        try:
            return call()
        except Exception as fault:
            self.oracle.wrong("broken", self.now, "", repr(fault))
            return []

    def _carry_out(self, effects: list[ProgramEffect]) -> None:
        for effect in effects:
            self._note(f"  {effect}")
            match effect:
                case Spawn(name):
                    self.oracle.spawn(name, self.now)
                    self._numbers += 1
                    self._lives[name] = self._numbers
                    slow = self.random.random() < 0.002
                    takes = self.random.uniform(9.0, 25.0) if slow else self.random.uniform(0.001, 0.02)
                    self._later(takes, self._spawned, name, self._numbers)
                case SendSignal(name, number):
                    self.oracle.sent(name, number, self.now)
                    if number != 18 and name in self._alive and self.random.random() < 0.8:
                        takes = self.random.choice([0.001, 0.1, 3.0]) * self.random.random()
                        self._later(takes, self._end_of, name, self._lives[name], self.random.choice([0, -number]))
                case KillGroup(name):
                    self.counts["killed"] += 1
                    self.oracle.kill(name, self.now)
                    takes = self.random.uniform(4.0, 30.0) if self.random.random() < 0.1 else 0.002
                    if name in self._alive:
                        self._later(takes, self._end_of, name, self._lives[name], -9)
                case ProgramEvent(_E.UNKILLABLE, name):
                    self.counts["unkillable"] += 1
                    self.oracle.told_unkillable(name, self.now)
                case ProgramEvent(_E.SLOW, name):
                    self.counts["slow"] += 1
                    self.oracle.told_slow(name, self.now)
        due = self.core.next_due()
        if due is not None and due != self._timer:
            self._timer = due
            late = self.random.uniform(0.0, TIMER_LATE) if self.random.random() < 0.2 else 0.0
            self._later(max(0.0, due - self.now) + late, self._timer_goes, due)

    def _note(self, line: str) -> None:
        self.trace.append(f"{self.now:.3f} {line}")
