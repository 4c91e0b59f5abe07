"""What operators say to one member: written in the store, and applied where it counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message
from banken_supervisor.coordination.records import (
    CLAIMS,
    FAILURES,
    LEADER,
    WORDS,
    Failure,
    Foreign,
    pack,
    pack_failure,
    unpack_failure,
)
from banken_supervisor.coordination.store import Away, Store
from banken_supervisor.runtime.operator_failures import AGAIN_S, OperatorFailures
from banken_supervisor.runtime.operator_words import EARLY_S, TAKEN_S, OperatorWords

from .memory_store import MemoryEngine


class Asked:
    """A store's thread that answers at once."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ask(self, question: Callable[[Store], Any], answered: Callable[[Any], None]) -> None:
        try:
            answer = question(self._store)
        except Away as away:
            answer = away
        answered(answer)


class Said:
    """A member that leads, unless ``term`` is None; ``watched``: the names that it knows."""

    def __init__(self, engine: MemoryEngine, name: str = "m1", *, leads: bool = False) -> None:
        self.engine = engine
        store: Any = Asked(engine.store(name))
        self.told: list[Message] = []
        self.watched: dict[str, bool] = {}
        self.waits: set[str] = set()
        self.leadership: tuple[int, int] | None = None
        self.now = 0.0
        if leads:
            engine.store(name).transact({}, {LEADER: pack()}, (), 1.0)
            self.leadership = (0, engine.items[LEADER].mod)
        self.failures = OperatorFailures(
            store, 1.0, self.told.append, lambda: self.leadership, self.waits.__contains__
        )
        self.words = OperatorWords(
            name, store, 1.0, self.told.append, lambda: None, self.watched.get, self.failures.read
        )

    def say(self, kind: Kind, name: str, *args: Any, declaration: Declaration | None = None) -> str | None:
        message = Message(kind, name, None, 0.0, declaration, args)
        assert self.words.takes(message)
        number = self.words.say(message)
        found = self.words.outcome(number)
        if kind is Kind.FAIL:
            assert not found["done"]
            self.now += 10 * TAKEN_S
            self.words.turn(self.now)
            self.words.turn(self.now + TAKEN_S)
            found = self.words.outcome(number)
        assert found["done"]
        why = found["why"]
        assert why is None or isinstance(why, str)
        return why


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine()


def test_a_failure_said_to_a_follower_is_the_leaders(engine: MemoryEngine) -> None:
    """Also of a name that nobody knows, with what was declared for it; the follower keeps nothing for itself."""
    leader, follower = Said(engine, leads=True), Said(engine, "m2")
    assert follower.say(Kind.FAIL, "new", "broken", declaration=Declaration(7.0)) is None
    assert follower.told == []
    leader.failures.read()
    assert leader.told == [Message(Kind.FAIL, "new", None, 0.0, Declaration(7.0), ("broken",))]


def test_a_failure_is_in_the_store_until_its_verdict_waits_no_longer(engine: MemoryEngine) -> None:
    """It is taken once by each leader; the next one takes what the last one has not dropped."""
    leader = Said(engine, leads=True)
    leader.waits.add("w")
    leader.say(Kind.FAIL, "w", "broken")
    leader.failures.turn(0.0)
    leader.failures.read()
    assert len(leader.told) == 1
    assert FAILURES + "w" in engine.items
    follower = Said(engine, "m2", leads=True)
    follower.failures.read()
    assert [each.args for each in follower.told] == [("broken",)]
    leader.waits.clear()
    leader.failures.turn(1.0)  # it leads no longer
    assert FAILURES + "w" in engine.items
    follower.failures.turn(1.0)
    assert FAILURES + "w" not in engine.items
    follower.say(Kind.FAIL, "w", "again")
    assert follower.told[-1].args == ("again",)


def test_a_failure_that_is_said_to_several_members_is_said_once(engine: MemoryEngine) -> None:
    members = [Said(engine, f"m{number}") for number in range(3)]
    for each in members:
        each.say(Kind.FAIL, "w", "broken")
    first = engine.items[FAILURES + "w"]
    assert first.mod == first.created
    members[2].say(Kind.FAIL, "w", "worse")
    assert engine.items[FAILURES + "w"].mod > first.mod


def test_a_failure_is_said_when_the_leader_has_taken_it(engine: MemoryEngine) -> None:
    """A feed that is said after it comes after it at the leader, too. Where nobody leads, it is in the store."""
    leader, follower = Said(engine, leads=True), Said(engine, "m2")
    leader.waits.add("w")
    number = follower.words.say(Message(Kind.FAIL, "w", None, 0.0, None, ("broken",)))
    leader.failures.read()
    leader.failures.turn(0.0)
    follower.words.turn(1.0)
    assert not follower.words.outcome(number)["done"]
    leader.waits.clear()
    leader.failures.turn(0.0)
    follower.words.turn(1.0 + EARLY_S / 2)
    assert not follower.words.outcome(number)["done"]
    follower.words.turn(1.0 + EARLY_S)
    assert follower.words.outcome(number) == {"done": True, "why": None}
    unled = follower.words.say(Message(Kind.FAIL, "w", None, 0.0, None, ("again",)))
    follower.words.turn(2.0)
    follower.words.turn(2.0 + TAKEN_S - 0.1)
    assert not follower.words.outcome(unled)["done"]
    engine.is_down = True
    follower.words.turn(2.0 + TAKEN_S)
    assert follower.words.outcome(unled) == {"done": True, "why": None}


def test_what_could_not_be_read_is_read_again(engine: MemoryEngine) -> None:
    leader = Said(engine, leads=True)
    Said(engine, "m2").say(Kind.FAIL, "w", "broken")
    engine.is_down = True
    leader.failures.read()
    engine.is_down = False
    leader.failures.turn(0.0)
    assert leader.told == []
    leader.failures.turn(AGAIN_S)
    assert len(leader.told) == 1


def test_what_is_no_failure_is_left_alone(engine: MemoryEngine) -> None:
    leader = Said(engine, leads=True)
    other = encode(Message(Kind.RELEASE, "w", None, 0.0, None, ()))
    leader.engine.store("x").transact(
        {}, {FAILURES + "w": pack_failure(Failure(other, "m9", 1.0)), FAILURES + "x": pack(v=1)}, (), 1.0
    )
    leader.failures.read()
    leader.failures.turn(0.0)
    assert leader.told == []
    with pytest.raises(Foreign):
        unpack_failure(pack(frame="text", member="m1", at=1.0))


@pytest.mark.parametrize(("kind", "args"), [(Kind.PAUSE, (0.0,)), (Kind.RELEASE, ())])
def test_a_name_that_this_member_does_not_know_may_have_an_incident(
    engine: MemoryEngine, kind: Kind, args: tuple[float, ...]
) -> None:
    """Then it is said to all; of what nobody knows it is refused, and nothing is written."""
    member = Said(engine)
    why = member.say(kind, "w", *args)
    assert why is not None
    assert "no watchdog is called 'w'" in why
    assert engine.items == {}
    engine.store("x").transact({}, {CLAIMS + "w2": b"x"}, (), 1.0)
    assert member.say(kind, "w", *args) is not None
    engine.store("x").transact({}, {CLAIMS + "w": b"x"}, (), 1.0)
    assert member.say(kind, "w", *args) is None
    assert WORDS + "w" in engine.items


def test_what_is_a_hosts_alone_is_no_matter_of_the_cluster(engine: MemoryEngine) -> None:
    member = Said(engine)
    member.watched["own"] = False
    for kind, args in ((Kind.FAIL, ("x",)), (Kind.PAUSE, (0.0,)), (Kind.RELEASE, ())):
        assert not member.words.takes(Message(kind, "own", None, 0.0, None, args))
    assert not member.words.takes(Message(Kind.EXTEND, "unknown", None, 0.0, None, (1.0,)))


@pytest.mark.parametrize(
    ("away", "kind", "told"),
    [
        (None, Kind.PAUSE, None),
        (
            "timeout",
            Kind.PAUSE,
            "without --here this must reach all members, and the cluster's store does not answer: timeout",
        ),
        (
            "it refuses: no right",
            Kind.FAIL,
            "this must reach the leader, and the cluster's store refuses: no right",
        ),
    ],
)
def test_what_cannot_be_said_now_is_refused_with_the_reason(
    engine: MemoryEngine, away: str | None, kind: Kind, told: str | None
) -> None:
    said = Said(engine)
    said.words._away = lambda: away
    assert said.words.refusal(Message(kind, "w", None, 0.0, None, ())) == told
