"""Whose turn it is: one process, or one key, has one, however many others it invents, and whatever is released."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.principal import AnyPrincipal, KeyHolder, Principal
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.turns import Turns
from banken_supervisor.observability.guard import Guard
from banken_supervisor.runtime.effect_runner import EffectRunner
from engine_kit import TEN

ALICE = ProcessIdentity(b"bootboot", 300, 3000, b"aaaa")
HOG = ProcessIdentity(b"bootboot", 7, 70, b"hhhh")
MANY = 500
KEY = KeyHolder("k", b"k" * 40, lambda what: what[:4])
KEY.allow(lambda name: True)


class Desk:
    """An engine, and what carries out its effects; ``told``: the events, in order."""

    def __init__(self) -> None:
        self.driver = Driver(Engine(Rules(TEN), "run"), 0.0)
        self.engine, self.now = self.driver.engine, 0.0
        self.told: list[Event] = []
        guard = Guard(self.driver.out.append, lambda level, text, data: logging.error(text))
        nothing = cast(Any, None)
        self.effects = EffectRunner(
            self.driver, guard, self.told.append, nothing, nothing, nothing, None, nothing, lambda process: None
        )

    def say(
        self, name: str, who: ProcessIdentity | None, pid: int, kind: Kind = Kind.FEED, *args: Any,
        by: AnyPrincipal = Principal.LOCAL, declared: Declaration | None = None,
    ) -> None:  # fmt: skip
        self.engine.take(encode(Message(kind, name, who, 0.0, declared, args)), self.now, self.driver.out, by, pid)

    def run(self) -> None:
        out = [each for each in self.driver.out if isinstance(each, Event)]
        self.driver.out.clear()
        self.effects.run(cast(Any, out), 0.0, whole=True)

    def expired(self) -> list[str | None]:
        return [each.name for each in self.driver.out if isinstance(each, Event) and each.type is EventType.EXPIRED]


def crowd(desk: Desk, kind: str) -> None:
    """Many watchdogs of one process, whose processes are not its own."""
    for number in range(MANY):
        match kind:
            case "of none":
                desk.say(f"hog-{number}", None, HOG.pid)
            case "of other hosts":
                desk.say(f"hog-{number}", ProcessIdentity(b"otherone", 1 + number, 5, b"zzzz"), HOG.pid)
            case "of a key":
                who = ProcessIdentity(b"otherone", 1 + number, 5, b"zzzz")
                desk.say(f"hog-{number}", KEY.checked(who), 0, by=KEY)


@pytest.mark.parametrize("kind", ["of none", "of other hosts", "of a key"])
def test_a_verdict_waits_for_one_of_whoever_invents_processes(kind: str) -> None:
    """They have one turn, not one each."""
    desk = Desk()
    crowd(desk, kind)
    desk.say("honest", ALICE, ALICE.pid)
    desk.driver.out.clear()
    now = desk.now + 11.0
    assert desk.engine.verdicts.sweep(now, desk.driver.out) == MANY + 1
    desk.engine.verdicts.judge(now, now, desk.driver.out, 2)
    assert "honest" in desk.expired()


@pytest.mark.parametrize("kind", ["of none", "of other hosts", "of a key", "of its own"])
def test_what_was_released_has_the_turn_that_it_had(kind: str) -> None:
    """A process ends in order, or releases its names one by one: another one's event waits for one of them."""
    desk = Desk()
    crowd(desk, kind)
    for number in range(MANY if kind == "of its own" else 0):
        desk.say(f"hog-{number}", HOG, HOG.pid)
    desk.say("honest", ALICE, ALICE.pid)
    desk.driver.wake(0.0, 0.0)
    desk.run()
    desk.told.clear()
    for number in range(MANY):
        desk.engine.forget(f"hog-{number}", desk.now, desk.driver.out)
    desk.say("honest", ALICE, ALICE.pid, Kind.PAUSE, 0)
    desk.run()
    assert len(desk.told) == MANY + 1
    assert [each.type for each in desk.told if each.name == "honest"] == [EventType.PAUSED]
    assert [each.name for each in desk.told].index("honest") <= 2
    assert not desk.effects.left
    desk.driver.wake(0.1, 0.0)
    assert desk.engine.table.turns.of("hog-1") == "hog-1", "nothing is remembered of what is gone"


def test_a_name_has_its_own_process_turn_whoever_else_speaks_of_it() -> None:
    """Nobody moves another one's watchdog into its own turn; who feeds it itself again has it back."""
    desk = Desk()
    turns: Turns = desk.engine.table.turns
    desk.say("honest", ALICE, ALICE.pid)
    desk.say("cron", None, 0)
    assert (turns.of("honest"), turns.of("cron")) == (ALICE.pid, "cron")
    desk.say("honest", None, HOG.pid)
    desk.say("honest", None, HOG.pid, Kind.EXTEND, 5.0)
    desk.say("cron", None, HOG.pid)
    assert (turns.of("honest"), turns.of("cron")) == (ALICE.pid, "cron")
    desk.say("relayed", ALICE, 44)
    assert turns.of("relayed") == 44
    desk.say("relayed", ALICE, ALICE.pid, Kind.EXTEND, 5.0)
    assert turns.of("relayed") == ALICE.pid
    assert turns.of("nobody knows it") == "nobody knows it"
