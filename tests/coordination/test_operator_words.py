"""What operators say to one member: written in the store, and applied where it counts."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import pytest

from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message
from banken_supervisor.coordination.records import (
    CLAIMS,
    FAILURES,
    LEADER,
    SAID,
    WORDS,
    Failure,
    Foreign,
    pack,
    pack_failure,
    unpack_failure,
    unpack_word,
)
from banken_supervisor.coordination.store import Away, Store
from banken_supervisor.engine.registry import NO_WORDS, Words
from banken_supervisor.runtime import operator_words
from banken_supervisor.runtime.operator_failures import AGAIN_S, OperatorFailures
from banken_supervisor.runtime.operator_words import EARLY_S, TAKEN_S, OperatorWords, Process

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
        self.told_former: list[Message] = []
        self.age = (0.0, inf)
        """of what is in the store, at the least and at the most"""
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
            name, store, 1.0, self.told.append, self.told_former.append, self._age, lambda: None,
            self.watched.get, self.failures.read,
        )  # fmt: skip

    def _age(self, mod: int | None) -> tuple[float, float]:
        return (0.0, inf) if mod is None else self.age

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


def test_a_release_says_whose_the_watchdog_was(engine: MemoryEngine) -> None:
    """Another one's it is not; an older banken's word says nothing of that, nor does one of nobody's. Of a
    word whose age this member cannot tell by the store, the clock decides."""
    one, two, asked = Said(engine), Said(engine, "m2"), list[tuple[str, Process, float]]()
    for each in (one, two):
        each.watched.update(w=True, nobodys=True)
        each.words.read()
        each.words._process_of = {"w": (5, 70, b"abcd")}.get  # type: ignore[assignment]
    two.words._is_next = lambda *what: bool(asked.append(what)) or True  # type: ignore[func-returns-value]
    one.say(Kind.RELEASE, "w")
    two.age = 0.0, 7.0
    two.words.read()
    assert [each.kind for each in one.told] == [Kind.RELEASE]
    assert [each.kind for each in two.told] == [Kind.RESUME]
    assert asked == [("w", (5, 70, b"abcd"), 7.0)]
    two.age = 0.0, inf
    one.say(Kind.RELEASE, "w")
    two.words.read()
    assert 0.0 <= asked[-1][2] < 60.0
    older = pack(kind="release", seconds=None, member="m1", at=1e9)
    engine.store("m1").transact({}, {WORDS + "w": older}, (), 1.0)
    one.say(Kind.RELEASE, "nobodys")
    two.words.read()
    assert [each.kind for each in two.told[2:]] == [Kind.RELEASE, Kind.RELEASE]
    assert len(asked) == 2


def test_a_word_of_no_process_is_no_word_of_bankens() -> None:
    for process in ("text", [1, 2], [1, 2, "text"], 5):
        with pytest.raises(Foreign):
            unpack_word(pack(kind="release", seconds=None, member="m1", at=1e9, process=process))


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


def by_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The clock of the host that is looked at from now on."""
    monkeypatch.setattr(operator_words, "wall", lambda: 1e9 + seconds)


@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
@pytest.mark.parametrize("kind", [Kind.PAUSE, Kind.EXTEND])
def test_a_clock_that_differs_changes_no_pause_by_more_than_is_uncertain(
    engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch, kind: Kind, skew: float
) -> None:
    """It was written between 3 and 8 seconds ago."""
    one, two = Said(engine), Said(engine, "m2")
    one.watched["w"] = two.watched["w"] = True
    one.words.read()
    two.words.read()
    by_clock(monkeypatch, 0.0)
    one.say(kind, "w", 600.0)
    assert [each.args for each in one.told] == [(600.0,)]
    by_clock(monkeypatch, skew + 5.0)
    two.age = 3.0, 8.0
    two.words.read()
    assert [each.args for each in two.told] == [({-3600.0: 597.0, 0.0: 595.0, 3600.0: 592.0}[skew],)]


def test_who_has_just_begun_trusts_the_clocks(engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows of no revision that was before. What is over is not said; what has no end is."""
    one = Said(engine)
    one.watched.update(long=True, short=True, endless=True)
    by_clock(monkeypatch, 0.0)
    for name, seconds in (("long", 600.0), ("short", 60.0), ("endless", 0.0)):
        one.say(Kind.PAUSE, name, seconds)
    by_clock(monkeypatch, 60.0)
    new = Said(engine, "m2")
    new.watched.update(one.watched)
    new.words.read()
    assert {each.name: each.args for each in new.told_former} == {"long": (540.0,), "endless": (0.0,)}
    assert new.told == []


def test_an_early_pause_grows_older_while_it_waits(engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = Said(engine), Said(engine, "m2")
    one.watched["w"] = True
    two.words.read()
    by_clock(monkeypatch, 0.0)
    one.say(Kind.PAUSE, "w", 600.0)
    two.words.read()
    assert two.told == []
    by_clock(monkeypatch, 100.0)
    two.watched["w"] = True
    two.words.turn(1.0)
    assert [each.args for each in two.told] == [(500.0,)]


# -- the store's data were replaced ---------------------------------------------------------------------


def pair(engine: MemoryEngine) -> tuple[Said, Said]:
    """Two that have read the same words."""
    made = Said(engine), Said(engine, "m2")
    for each in made:
        each.watched.update(old=True, w=True, v=True)
        each.words.read()
    for _ in range(5):
        made[0].say(Kind.EXTEND, "old", 100.0)
        made[0].say(Kind.PAUSE, "v", 0.0)
    made[1].words.read()
    for each in made:
        each.told.clear()
    return made


def test_what_was_said_since_the_stores_data_were_replaced_is_said_here_too(engine: MemoryEngine) -> None:
    """This member sees only later that they were. Its own word, too, that it has said before it saw that."""
    one, two = pair(engine)
    engine.replace()
    one.words.forget()
    assert one.say(Kind.PAUSE, "w", 0.0) is None
    assert two.say(Kind.RESUME, "v") is None
    two.words.forget()
    one.words.read()
    for each in (one, two):
        assert sorted((said.kind, said.name) for said in each.told) == [(Kind.PAUSE, "w"), (Kind.RESUME, "v")]
    two.words.read()
    assert len(two.told) == 2


def test_what_was_in_an_old_copy_of_the_store_is_not_said_again(engine: MemoryEngine) -> None:
    one, two = pair(engine)
    copy, revision = dict(engine.items), engine.revision
    one.say(Kind.RESUME, "v")
    two.words.read()
    for each in (one, two):
        each.told.clear()
    engine.replace()
    for each in (one, two):
        each.words.forget()
    engine.replace(copy, revision)
    for each in (one, two):
        each.words.forget()
        assert each.told == []
    one.say(Kind.PAUSE, "v", 0.0)
    two.words.read()
    assert [[said.kind for said in each.told] for each in (one, two)] == [[Kind.PAUSE], [Kind.PAUSE]]


def test_who_had_read_no_words_before_begins_with_the_new_data(engine: MemoryEngine) -> None:
    one, _ = pair(engine)
    engine.is_down = True
    new = Said(engine, "m3")
    new.watched.update(one.watched)
    new.words.read()
    engine.is_down = False
    one.say(Kind.EXTEND, "w", 100.0)
    new.words.forget()
    assert new.words.has_read
    assert (new.told, [each.name for each in new.told_former]) == ([], ["v"])


def test_revisions_of_replaced_data_say_nothing_of_an_age(
    engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A low one is old by what this member knows, and a high one young. It trusts the clocks then: with a word that
    it says before it has seen that they were replaced, and with a pause that waits for its watchdog."""
    by_clock(monkeypatch, 0.0)
    one, two = pair(engine)
    one.watched["early"] = True
    one.say(Kind.PAUSE, "early", 600.0)
    two.words.read()
    engine.replace()
    one.words.forget()
    two.age = 1e6, inf
    two.watched["u"] = True
    for name in ("w", "old", "u"):
        assert two.say(Kind.PAUSE, name, 600.0) is None
    assert [(each.name, each.args) for each in two.told] == [("w", (600.0,)), ("u", (600.0,))]
    by_clock(monkeypatch, 100.0)
    two.age = 0.0, 5.0
    two.words.forget()
    two.watched["early"] = True
    two.words.turn(1.0)
    assert (two.told[-1].name, two.told[-1].args) == ("early", (500.0,))
    by_clock(monkeypatch, 0.0)
    one.say(Kind.PAUSE, "w", 600.0)
    by_clock(monkeypatch, 100.0)
    two.words.read()
    assert (two.told[-1].name, two.told[-1].args) == ("w", (595.0,)), "of the new data they do"


# -- which words a member has applied --------------------------------------------------------------------


def applied(said: Said) -> Words:
    """By what it has read of the store just now."""
    return said.words.applied(said.engine.items[SAID].mod, said.engine.revision)


def test_a_member_says_up_to_which_revision_it_has_applied_all_words(engine: MemoryEngine) -> None:
    """Whatever else was written since; not what it knows of and has not read yet."""
    one, two = Said(engine), Said(engine, "m2")
    one.watched["w"] = two.watched["w"] = True
    assert two.words.applied(0, 5) == NO_WORDS, "it has read none"
    one.words.read()
    one.say(Kind.PAUSE, "w", 0.0)
    two.words.read()
    began = engine.revision
    assert applied(two) == Words("memory-1", began, began)
    engine.store("x").transact({}, {LEADER: b""}, (), 1.0)
    assert applied(two) == Words("memory-1", began, began + 1)
    one.say(Kind.RESUME, "w")
    assert applied(two) == Words("memory-1", began, began)
    assert one.words.is_unknown("w", applied(two))
    assert not one.words.is_unknown("v", applied(two))
    two.words.read()
    assert applied(two) == Words("memory-1", began, began + 2)
    assert not one.words.is_unknown("w", applied(two))


def test_a_pause_that_waits_for_its_watchdog_is_applied_before_that_is_said(engine: MemoryEngine) -> None:
    one, two = Said(engine), Said(engine, "m2")
    one.watched["w"] = True
    two.words.read()
    one.say(Kind.PAUSE, "w", 0.0)
    two.words.read()
    two.watched["w"] = True
    assert applied(two).revision == engine.revision
    assert [each.kind for each in two.told] == [Kind.PAUSE]


def test_who_was_told_of_a_pause_while_it_ran(engine: MemoryEngine) -> None:
    """Another word after it changes nothing. Not who began since, and not who has read it late."""
    one, two = Said(engine), Said(engine, "m2")
    one.watched.update(w=True, v=True)
    two.watched.update(one.watched)
    for each in (one, two):
        each.words.read()
    assert not one.words.was_told("w", applied(two) if SAID in engine.items else NO_WORDS)
    one.say(Kind.PAUSE, "w", 0.0)
    one.say(Kind.EXTEND, "w", 10.0)
    assert not one.words.was_told("w", applied(two))
    two.words.read()
    assert one.words.was_told("w", applied(two))
    assert not one.words.was_told("v", applied(two)), "it was never paused"
    new = Said(engine, "m3")
    new.words.read()
    one.say(Kind.EXTEND, "w", 10.0)
    new.words.read()
    assert not one.words.was_told("w", applied(new))
    one.say(Kind.PAUSE, "v", 60.0)
    two.words.read()
    two.words.was_late("v")
    assert not one.words.was_told("w", applied(two))
    assert not one.words.was_told("v", applied(two))


def test_revisions_of_other_data_say_nothing_of_words(engine: MemoryEngine) -> None:
    """They were replaced, and one of both has not seen that."""
    one, two = pair(engine)
    engine.replace()
    engine.identity = "memory-2"
    one.words.forget()
    assert one.say(Kind.PAUSE, "w", 0.0) is None
    old = two.words.applied(0, 1)
    assert old.revision > engine.revision
    engine.cut_off.add("m2")
    two.words.forget()
    assert two.words.applied(0, 1) == NO_WORDS, "it has not read the new ones yet"
    engine.cut_off.clear()
    assert one.words.is_unknown("w", old)
    assert not one.words.was_told("w", old)
    assert not one.words.is_unknown("old", old), "nothing was said of it in the new data"
    two.words.forget()
    assert not one.words.is_unknown("w", applied(two))
    assert not one.words.was_told("w", applied(two)), "it may have come late"
