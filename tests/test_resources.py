"""Descriptors and memory that get short: told once, room is made, and told when it is over."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import Event
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.policy import Policy, Quotas
from banken_supervisor.engine.principal import Principal
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.states import State
from banken_supervisor.observability.guard import Guard, Place
from banken_supervisor.processes.process_watcher import ProcessWatcher
from banken_supervisor.runtime.resources import (
    CALM_S,
    GIVE_BACK_EVERY_S,
    GIVE_BACK_FROM,
    MEMORY_MIN,
    SHED_FROM,
    SHORT_S,
    Resources,
)
from banken_supervisor.text import event_text
from process.kit import memory

HOUR = Declaration(3600.0, 3600.0, 3600.0)
WHO = ProcessIdentity(b"bootboot", 100, 1000, b"aaaa")


class Bench:
    """An engine, and what is told of its process's means, which are set by hand."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.told: list[dict[str, Any]] = []
        self.memory: tuple[int, int] | None = (0, 100 * MEMORY_MIN)
        self.descriptors = 10, 1_000_000
        where = "banken_supervisor.processes."
        patch.setattr(f"{where}memory_limit.room", lambda: self.memory)
        patch.setattr(f"{where}descriptor_limit.used", lambda: self.descriptors[0])
        patch.setattr(f"{where}descriptor_limit.limit", lambda: self.descriptors[1])
        self.driver = Driver(Engine(Rules(HOUR), "run"), 0.0)
        self.guard = Guard(lambda event: None, lambda level, text, data: None)
        self.watcher = ProcessWatcher()
        self.unsent, self.given_back = 0, 0
        patch.setattr(f"{where}memory_limit.give_back", self._give_back)
        self.resources = Resources(self.driver, self.watcher, self.guard, self._hear, lambda: self.unsent)
        self.real = 0.0

    def _give_back(self) -> None:
        self.given_back += 1

    def _hear(self, event: Event) -> None:
        assert event_text.level(event) >= logging.WARNING
        assert event.data["text"] in event_text.log_line(event)
        self.told.append(event.data)

    def say(self, kind: Kind, name: str, *args: Any, who: ProcessIdentity | None = WHO) -> str | None:
        """The reason for which it is refused."""
        message = Message(kind, name, who, 0.0, None, args)
        refusal = self.driver.engine.take(encode(message), self.driver.now, self.driver.out)
        return None if refusal is None else refusal.reason

    def turn(self, seconds: float = 1.0) -> list[tuple[str, str]]:
        """What is told in a turn after so long."""
        self.real += seconds
        self.told.clear()
        self.resources.turn(self.real)
        return [(each["what"], each["state"]) for each in self.told]

    def names(self) -> list[str]:
        return list(self.driver.engine.table.by_name)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    one = Bench(monkeypatch)
    yield one
    one.watcher.close()


def test_while_memory_is_short_new_names_and_texts_are_not_taken(bench: Bench) -> None:
    """What is known is fed, and is as judged as before; the operator's names are taken; told once, and the end."""
    assert bench.say(Kind.FEED, "known") is None
    assert bench.turn() == []
    bench.memory = 99 * MEMORY_MIN, 100 * MEMORY_MIN
    assert bench.turn() == [("memory", "short")]
    assert bench.say(Kind.NOTE, "new", None, "x") == bench.say(Kind.FEED, "new") == "memory"
    assert bench.say(Kind.NOTE, "known", "epoch 1", "a text") is None
    record = bench.driver.engine.get("known")
    assert record is not None
    assert record.details is not None
    assert (record.details.status, record.details.progress) == (None, None)
    bench.driver.engine.declare("operators", Policy(HOUR), bench.driver.now, bench.driver.out)
    assert bench.turn() == []
    bench.memory = 10, 100 * MEMORY_MIN
    assert bench.turn(0.2) == [], "not at once"
    assert bench.turn(SHORT_S) == [("memory", "ok")]
    assert bench.say(Kind.NOTE, "new", None, "x") is None
    assert bench.names() == ["known", "operators", "new"]
    assert bench.resources.state()["memory_short"] is False


def test_the_newest_names_go_where_python_has_no_memory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sixteenth at once, half at most, no operator's and none with an open incident; with no limit set, too."""
    bench.memory = None
    bench.driver.engine.declare("operators", Policy(HOUR), bench.driver.now, bench.driver.out)
    for number in range(1598):
        bench.say(Kind.FEED, f"n{number}")
    bench.say(Kind.FAIL, "last", "broken")
    before = bench.names()
    assert bench.turn() == []
    assert bench.guard.run(Place.FEED, bytearray, 2**62) is None
    assert bench.turn(0.0) == [], "one thing was too large; there is memory"
    assert bench.guard.run(Place.FEED, bytearray, 2**62) is None
    monkeypatch.setattr(bench.resources, "_has_reserve", lambda: False)
    assert bench.turn(0.0) == [("memory", "short"), ("memory", "shed")]
    assert bench.names() == [*before[:-101], "last"]
    assert bench.say(Kind.FEED, "n1597") == "memory"
    assert bench.turn(0.1) == [], "once a second"
    while bench.turn():
        assert bench.names()[:799] == before[:799]
    assert len(bench.names()) == 800
    monkeypatch.setattr(bench.resources, "_has_reserve", lambda: True)
    assert bench.turn(SHORT_S + 1) == [("memory", "ok")]


def test_a_process_with_few_names_keeps_them_and_a_crowd_that_failed_goes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest names are those of honest processes; all of the crowd's have open incidents."""
    for number in range(1_500):
        bench.say(Kind.FAIL, f"crowd-{number}", "broken")
    for number in range(50):
        bench.say(Kind.FEED, f"honest-{number}", who=WHO._replace(pid=200 + number // 10, nonce=b"hone"))
    assert bench.driver.engine.table.states[State.EXPIRED] == 1_500
    monkeypatch.setattr(bench.resources, "_has_reserve", lambda: False)
    bench.guard.run(Place.FEED, bytearray, 2**62)
    assert bench.turn() == [("memory", "short"), ("memory", "shed")]
    names = bench.names()
    assert names[-51:] == ["crowd-1403", *(f"honest-{number}" for number in range(50))]
    while bench.turn():
        pass
    assert len(bench.names()) == 775, "half of them are left alone, whatever there is"
    assert sum(name.startswith("honest") for name in bench.names()) == 50


def test_a_few_names_are_left_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not they that need the memory."""
    for number in range(SHED_FROM):
        bench.say(Kind.FEED, f"n{number}")
    bench.guard.run(Place.FEED, bytearray, 2**62)
    monkeypatch.setattr(bench.resources, "_has_reserve", lambda: False)
    assert bench.turn() == [("memory", "short")]
    assert len(bench.names()) == SHED_FROM


def test_from_four_fifths_of_the_descriptors_on_it_is_told(bench: Bench) -> None:
    """Once; its end below seven tenths."""
    bench.descriptors = 79, 100
    assert bench.turn() == []
    bench.descriptors = 80, 100
    assert bench.turn() == [("descriptors", "short")]
    assert (bench.told[0]["used"], bench.told[0]["limit"]) == (80, 100)
    bench.descriptors = 100, 100
    assert bench.turn() == []
    bench.descriptors = 75, 100
    assert bench.turn() == []
    assert bench.resources.state()["descriptors_short"] is True
    bench.descriptors = 69, 100
    assert bench.turn() == [("descriptors", "ok")]


def test_a_low_limit_is_told_at_the_start(bench: Bench) -> None:
    """With about how many workers it is enough for."""
    bench.resources.start()
    assert not bench.told
    bench.descriptors = 30, 256
    bench.resources.start()
    assert "about 108 workers" in bench.told[0]["text"]


def test_a_guard_without_memory_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where to count the fault is one step too much."""
    guard = Guard(lambda event: None, lambda level, text, data: None)

    def nothing_left(*args: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(guard, "_count", nothing_left)
    assert guard.run(Place.FEED, nothing_left) is None
    assert guard.memory_errors == 1


def test_after_a_flood_memory_is_given_back_once(bench: Bench) -> None:
    """When hardly anything has waited for two seconds. What waits now and then, and is little, costs nothing."""
    bench.turn()
    bench.given_back = 0
    for waits in (GIVE_BACK_FROM - 1, 0, 0, 0, GIVE_BACK_FROM, GIVE_BACK_FROM, GIVE_BACK_FROM // 4, 0):
        bench.unsent = waits
        bench.turn()
        assert not bench.given_back
    bench.turn(CALM_S)
    assert bench.given_back == 1
    for _ in range(10):
        bench.turn()
    assert bench.given_back == 1
    bench.driver.engine.set_quotas(Quotas(names_per_process=20_000))
    for number in range(40_000):
        bench.driver.engine.waiting.at_once = 0
        frame = encode(Message(Kind.FAIL, "w", WHO, 0.0, None, ("x" * 400 + str(number),)))
        bench.driver.engine.waiting.put(frame, Principal.LOCAL)
    bench.turn()
    while bench.driver.engine.waiting.take() is not None:
        pass
    bench.turn()
    bench.turn(CALM_S)
    assert bench.given_back == 2


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library gives nothing back")
def test_what_was_freed_is_given_back_whatever_it_was() -> None:
    """It is no queue that held it, and it lies between things in use: the C library keeps it by itself."""
    watcher = ProcessWatcher()
    guard = Guard(lambda event: None, lambda level, text, data: None)
    resources = Resources(Driver(Engine(Rules(HOUR), "run"), 0.0), watcher, guard, lambda event: None)
    resources.turn(0.0)
    held = [bytearray(10_000) for _ in range(4_000)]
    high = memory(os.getpid())
    del held[1:-1]
    resources.turn(GIVE_BACK_EVERY_S - 1.0)
    assert memory(os.getpid()) > high - 10 * 2**20
    resources.turn(GIVE_BACK_EVERY_S)
    watcher.close()
    assert memory(os.getpid()) < high - 30 * 2**20
    assert len(held) == 2
