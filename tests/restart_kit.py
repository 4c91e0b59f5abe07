"""Supervisors that follow one another: the pure core, a clock that is set, and a journal without a disk."""

from __future__ import annotations

from typing import Any

from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor.engine.effects import Effect
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.policy import Group, Policy
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.states import State
from engine_kit import events_of
from snapshot_kit import Shelf

ALICE = ProcessIdentity(b"bootboot", 100, 1000, b"aaaa")
BOB = ProcessIdentity(b"bootboot", 200, 2000, b"bbbb")
TEN = Declaration(10.0, 1000.0, 20.0)
AWAY = 100.0
"""Seconds without a supervisor."""


class House:
    """Supervisors that follow one another. ``operators``: what the config says, to be changed between them."""

    def __init__(self, **operators: Policy | Declaration) -> None:
        self.operators = operators
        self.groups: list[Group] = []
        self.not_awaited: set[str] = set()
        self.programs: dict[str, Policy] = {}
        """those that outlive each supervisor, and are adopted by the next one"""
        self.shelf = Shelf()
        self.now = 1000.0
        self.out: list[Effect] = []
        self.kept = 0
        """effects that are on the shelf"""
        self.lives = 0
        self.start()

    def start(self) -> tuple[int, int]:
        self.lives += 1
        rules = Rules(TEN)
        self.engine = Engine(rules, f"run{self.lives}", b"token")
        self.engine.table.tracks_changes = True
        self.engine.processes.is_program = self.programs.__contains__
        rules.replace_patterns([(name, word) for name, word in self.operators.items() if "*" in name])
        for name, word in self.operators.items():
            if "*" not in name:
                rules.declare(name, word)
                self.engine.watch(name, self.now, self.out, awaited=name not in self.not_awaited)
        self.engine.quorums.set(self.groups, TEN, self.now, self.out)
        self.forget()
        counts = self.engine.restore(self.shelf.left(self.now), self.now, self.out)
        for name, policy in self.programs.items():
            self.engine.declare(name, policy, self.now, self.out)
        self.keep()
        return counts

    def crash(self, away: float = AWAY) -> tuple[int, int]:
        self.now += away
        self.forget()
        return self.start()

    def forget(self) -> None:
        self.out.clear()
        self.kept = 0

    def keep(self) -> None:
        self.shelf.put(self.engine, self.out[self.kept :], self.now, self.now)
        self.kept = len(self.out)

    def say(
        self,
        kind: Kind,
        name: str,
        *args: Any,
        who: ProcessIdentity | None = ALICE,
        declared: Declaration | None = None,
    ) -> None:
        frame = encode(Message(kind, name, who, 0.0, declared, args))
        self.engine.intake(iter([frame]), self.now, self.out)
        self.keep()

    def feed(
        self, name: str = "w", who: ProcessIdentity | None = ALICE, declared: Declaration | None = TEN
    ) -> None:
        self.say(Kind.FEED, name, who=who, declared=declared)

    def run(self, seconds: float, *, feeding: tuple[str, ...] = ()) -> list[Effect]:
        """What comes in so many seconds."""
        before = len(self.out)
        until = self.now + seconds
        while self.now < until:
            self.now += 0.25
            for name in feeding:
                self.feed(name)
            if self.engine.verdicts.sweep(self.now, self.out):
                self.engine.verdicts.judge(self.now, self.now, self.out)
            self.keep()
        return self.out[before:]

    def state(self, name: str = "w") -> State | None:
        record = self.engine.get(name)
        return None if record is None else record.state

    def restart_now(self) -> set[str]:
        """The names that the next supervisor knows."""
        self.crash()
        return {record.name for record in self.engine.table}


def said(effects: list[Effect]) -> list[tuple[str, str | None]]:
    """The events, by type and name."""
    return [(e.type.value, e.name) for e in events_of(effects)]
