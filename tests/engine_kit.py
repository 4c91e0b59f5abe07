"""What the tests of the pure core share: a engine with a clock that is set, and who feeds it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor.engine.effects import Effect, Event, RunStep
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.principal import Refusal
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.states import State

ALICE = ProcessIdentity(b"bootboot", 100, 1000, b"aaaa")
BOB = ProcessIdentity(b"bootboot", 200, 2000, b"bbbb")
ELSEWHERE = ProcessIdentity(b"otherone", 300, 1, b"cccc")

TEN = Declaration(10.0, 3.0, 20.0)


def events_of(effects: Iterable[Effect]) -> list[Event]:
    """What is told, in order, with the beginnings of actions."""
    found = (each.beginning if isinstance(each, RunStep) else each for each in effects)
    return [each for each in found if isinstance(each, Event)]


class Spoken(Protocol):
    """What tells of incidents: a bench, or a house."""

    out: list[Effect]


class Bench:
    """A engine with a clock that is set, and what it said since the last look."""

    def __init__(self, defaults: Declaration | None = TEN) -> None:
        self.engine = Engine(Rules(defaults), "run", b"token")
        self.now = 1000.0
        self.out: list[Effect] = []

    def say(
        self, kind: Kind, name: str = "w", *args: Any, who: ProcessIdentity | None = ALICE, **more: Any
    ) -> Refusal | None:
        message = Message(kind, name, who, more.get("resolution", 0.0), more.get("declaration"), args)
        return self.engine.take(encode(message), self.now, self.out)

    def feed(self, name: str = "w", **more: Any) -> None:
        """The way of a feed that may be known by its bytes."""
        message = Message(
            Kind.FEED, name, more.get("who", ALICE), more.get("resolution", 0.0), more.get("declaration")
        )
        self.engine.intake(iter([encode(message)]), self.now, self.out)

    def jump(self, seconds: float) -> None:
        """Let time pass in one leap, then judge."""
        self.now += seconds
        if self.engine.verdicts.sweep(self.now, self.out):
            self.engine.verdicts.judge(self.now, self.now, self.out)

    def said(self) -> list[str]:
        """Types of the events since the last look."""
        types = [event.type.value for event in events_of(self.out)]
        self.out.clear()
        return types

    def state(self, name: str = "w") -> State | None:
        record = self.engine.get(name)
        return None if record is None else record.state


@contextmanager
def counted_bench() -> Iterator[Bench]:
    """A bench whose counts by state must agree with its watchdogs at the end."""
    made = Bench()
    yield made
    counted = {state: count for state, count in made.engine.table.states.items() if count}
    found: dict[State, int] = {}
    for record in made.engine.table:
        found[record.state] = found.get(record.state, 0) + 1
    assert counted == found, "the counts by state agree with the watchdogs"


def ends(bench: Bench, who: ProcessIdentity, status: int | None) -> None:
    """A process ends, all that it sent has been read, and its end is judged."""
    bench.engine.processes.exited(who, bench.now, bench.out, status)
    bench.jump(0.0)


def opened(bench: Spoken) -> list[tuple[str | None, Any, Any]]:
    """Name, cause and pid of every incident so far."""
    return [
        (each.name, each.data["cause"], each.data.get("pid"))
        for each in bench.out
        if isinstance(each, Event) and each.type.value == "expired"
    ]


def told(bench: Bench, what: str) -> list[dict[str, Any]]:
    """The data of every such event so far."""
    return [each.data for each in events_of(bench.out) if each.type.value == what]


def feeds(bench: Bench, *who: ProcessIdentity, declaration: Any = None, times: int = 2, every: float = 1.0) -> None:
    """Each of these feeds, in turn."""
    for _ in range(times):
        bench.jump(every)
        for each in who:
            bench.feed(who=each, declaration=declaration)
