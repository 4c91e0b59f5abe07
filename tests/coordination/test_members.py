"""The members of a cluster, as each finds them in the store."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from banken.protocol.incidents import Cause
from banken_supervisor.coordination.records import MEMBERS, pack, unpack_member
from banken_supervisor.coordination.store import Done
from banken_supervisor.coordination.store_thread import StoreThread
from banken_supervisor.engine.hearing import Heard, Timer
from banken_supervisor.runtime.member_answers import Released, heard_of
from banken_supervisor.runtime.member_links import ANSWER_S
from banken_supervisor.runtime.members import AGAIN_S, SAME_NAME_S, Members, member

from .memory_store import Fate, MemoryEngine

TTL = 1.0


class One:
    """A member whose loop is this test."""

    def __init__(self, engine: MemoryEngine, name: str, run: str, ttl: float = TTL) -> None:
        self.posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.told: list[tuple[str, str]] = []
        self.store = StoreThread(engine.store(run), self.posted.put)
        self.members = Members(
            member(name, run, f"tcp://{name}:7767", "x" * 40, ttl), None, self.store, self.posted.put,
            lambda keys: None, 1.0, lambda what, text: self.told.append((what, text)),
        )  # fmt: skip
        self.store.start()

    def look(self) -> None:
        """Write itself, where it has not, and read who there is."""
        self.members._look_at = 0.0
        writes = not self.members._is_written
        self.members.turn(time.monotonic())
        for _ in range(2 if writes else 1):
            self.posted.get(timeout=10)()


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine()


def written(engine: MemoryEngine, name: str) -> str:
    """The run of this name that is in the store."""
    return unpack_member(engine.items[MEMBERS + name].value).run


def test_one_that_another_of_its_name_has_overwritten_is_back_when_that_is_gone(engine: MemoryEngine) -> None:
    """At once; its own, too. While both live each waits longer each time, and both say so."""
    one, short = One(engine, "a", "a-1"), One(engine, "a", "a-2")
    for each in (one, short):
        each.look()
    assert written(engine, "a") == "a-2"
    one.look()
    assert one.members.same_name == "another supervisor at tcp://a:7767 says that it is a, too"
    one.look()
    assert written(engine, "a") == "a-1"
    short.look()
    short.look()
    assert written(engine, "a") == "a-2"
    for _ in range(5):
        one.look()
    assert written(engine, "a") == "a-2", "it waits"
    one.members._write_at = 0.0
    one.look()
    one.look()
    assert written(engine, "a") == "a-1"
    assert one.members._write_at - one.members._turned_at > TTL
    assert [what for what, _ in one.told + short.told] == ["same-name", "same-name"]
    one.members.turn(time.monotonic() + SAME_NAME_S + 1.0)
    assert one.members.same_name is None
    for each in (one, short):
        each.store.close(5.0)


def test_two_of_one_name_are_told_once(engine: MemoryEngine) -> None:
    """By the one that was there first; its own former run is not another one."""
    former, first, other = One(engine, "a", "a-0"), One(engine, "a", "a-1"), One(engine, "b", "b-1")
    for each in (former, first, other, first, other):
        each.look()
    assert first.told == other.told == []
    second = One(engine, "a", "a-2")
    for each in (second, first, first, other):
        each.look()
    assert first.told == [("same-name", "another supervisor at tcp://a:7767 says that it is a, too")]
    assert second.told == other.told == []
    for each in (former, first, second, other):
        each.store.close(5.0)


def test_another_ttl_is_told_once_by_each(engine: MemoryEngine) -> None:
    """The leader of a cluster goes by the longer one (leadership.py)."""
    one, other = One(engine, "a", "a-1"), One(engine, "b", "b-1", 5.0)
    for each in (one, other, one, other):
        each.look()
    assert one.told == [("other-ttl", "b has ttl 5 s, this member 1 s: the longer one holds")]
    assert other.told == [("other-ttl", "a has ttl 1 s, this member 5 s: the longer one holds")]
    for each in (one, other):
        each.store.close(5.0)


def test_what_is_no_member_is_passed_over(engine: MemoryEngine) -> None:
    """Garbage, a newer banken's, one without a part, and one under another's name."""
    odd = [
        b"",
        b"\xc1",
        pack(name="c"),
        pack(v=2, name="c"),
        pack(name="d", run="r", address="a", public="p", since=1),
    ]
    found = engine.store("x").transact({}, {f"{MEMBERS}{number}": each for number, each in enumerate(odd)}, (), 1.0)
    assert isinstance(found, Done)
    one = One(engine, "a", "a-1")
    one.look()
    one.look()
    assert one.told == []
    one.store.close(5.0)


def test_what_a_former_run_of_this_member_had_in_its_config_is_not_told(engine: MemoryEngine) -> None:
    """Only what another member has. The store did not take what this one wrote, and answers what it reads."""
    former, other = One(engine, "a", "a-0", ttl=3.0), One(engine, "b", "b-1", ttl=4.0)
    for each in (former, other):
        each.look()
    first = One(engine, "a", "a-1")
    engine.fate = lambda caller, call: Fate.LOST_BEFORE if call == "transact" else Fate.ANSWERED
    first.look()
    assert first.told == [("other-ttl", "b has ttl 4 s, this member 1 s: the longer one holds")]
    for each in (former, first, other):
        each.store.close(5.0)


def test_a_member_writes_itself_again_when_the_store_has_lost_its_data(engine: MemoryEngine) -> None:
    one, other = One(engine, "a", "a-1"), One(engine, "b", "b-1")
    for each in (one, other):
        each.look()
    engine.replace()
    for each in (one, other):
        each.members.write_again()
        each.look()
    assert sorted(engine.items) == [MEMBERS + "a", MEMBERS + "b"]
    for each in (one, other):
        each.store.close(5.0)


def test_what_another_member_answers_is_taken_as_far_as_it_is_understood() -> None:
    """A timer that has run out, or is no timer, speaks for nobody."""
    row = {"name": "w", "timers": {"feed": [1, 2.5], "progress": None}}
    assert heard_of({"rows": [row]}) == {"w": Heard(Timer(1.0, 2.5), None)}
    for timer in ([1.0, -0.1], [-1.0, 5.0], [float("nan"), 1.0], [1.0, float("nan")]):
        assert heard_of({"rows": [{"name": "w", "timers": {"feed": timer, "progress": None}}]}) == {"w": Heard()}
    odd: list[object] = [
        None,
        [],
        7,
        {"rows": 3},
        {"rows": [{}]},
        {"rows": [{"name": "w", "timers": {"feed": [1]}}]},
    ]
    assert [heard_of(each) for each in odd] == [{}] * len(odd)
    others = {"rows": [{"name": "x"}, row], "released": [["y", 1.5], ["z", None]]}
    assert heard_of(others) == {"w": Heard(Timer(1.0, 2.5), None), "y": Released(1.5)}


def test_who_leads_no_longer_hears_no_answer(engine: MemoryEngine) -> None:
    """Nor does it decide for want of one: it may lead again by then, and ask again."""
    one, decided = One(engine, "a", "a-1"), list[str]()
    one.members._look_at = float("inf")
    link: Any = SimpleNamespace(member=one.members.own, is_up=False, ask=lambda names, answered: True)
    one.members.links["b"] = link
    for name in ("asked", "waiting"):
        one.members.ask(name, Cause.TIMEOUT, lambda member, timer: decided.append(member))
        if name == "asked":
            one.members.turn(0.0)
    one.members.stop_asking()
    one.members.turn(10.0)
    assert decided == []
    one.members.ask("again", Cause.TIMEOUT, lambda member, timer: decided.append(member))
    one.members.turn(20.0)
    one.members.turn(20.0 + ANSWER_S)
    assert decided == []
    one.members.turn(20.0 + ANSWER_S + AGAIN_S)
    assert decided == [""], "nobody has answered"
    one.store.close(5.0)


def test_where_nobody_answers_though_one_was_up_it_is_asked_once_more(engine: MemoryEngine) -> None:
    """All may have been late, on a machine with too much to do. Who was down before is not waited for."""
    one, decided = One(engine, "a", "a-1"), list[tuple[str, str]]()
    one.members._look_at = float("inf")
    asked: list[Callable[[Any], None]] = []
    link: Any = SimpleNamespace(member=one.members.own._replace(name="b"), is_up=True)
    link.ask = lambda names, answered: link.is_up and (asked.append(answered) or True)
    one.members.links["b"] = link

    def ask(name: str) -> None:
        one.members.ask(name, Cause.TIMEOUT, lambda member, timer: decided.append((name, member)))

    ask("late")
    one.members.turn(0.0)
    asked.pop()(None)
    link.is_up = False
    one.members.turn(ANSWER_S)
    one.members.turn(2 * ANSWER_S)
    assert (asked, decided) == ([], [])
    assert one.members.patience(2 * ANSWER_S) < ANSWER_S
    link.is_up = True
    one.members.turn(2.5 * ANSWER_S)
    asked.pop()({"late": Heard(Timer(0.3, 10.0))})
    assert decided == [("late", "b")]
    ask("gone")
    one.members.turn(10.0)
    asked.pop()(None)
    for _ in range(2):
        one.members.turn(11.0)
    asked.pop()(None)
    one.members.turn(11.0)
    assert decided[1:] == [("gone", "")], "not a third time"
    link.is_up = False
    ask("alone")
    one.members.turn(20.0)
    assert decided[2:] == [("alone", "")]
    one.store.close(5.0)
