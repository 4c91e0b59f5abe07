"""Claims: written once, under one id, by who leads; and what is there already is adopted or left alone."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from banken_supervisor.coordination import claims as claims_module
from banken_supervisor.coordination.claims import (
    BATCH_MAX,
    RETRY_MAX_S,
    RETRY_MIN_S,
    TRANSACTIONS_MAX,
    Adopted,
    Blocked,
    Claims,
    Deposed,
    Outcome,
    Transaction,
    Written,
)
from banken_supervisor.coordination.records import (
    CLAIMS,
    LEADER,
    SPENT,
    Begun,
    Claim,
    Foreign,
    pack,
    pack_claim,
    unpack_claim,
)
from banken_supervisor.coordination.store import Away, Done, Refused

from .memory_store import Fate, MemoryEngine


def claim(id_: str = "r-1", **more: object) -> Claim:
    return Claim(id_, "timeout", 1000.0, 5.5, 5.0, "m1")._replace(**more)


@dataclass
class Bench:
    """A store with a leader, and its claims."""

    engine: MemoryEngine = field(default_factory=MemoryEngine)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.store = self.engine.store("m1")
        self.claims = Claims(self.lead())

    def lead(self) -> int:
        done = self.store.transact({}, {LEADER: b"m1"}, (), 1.0)
        assert isinstance(done, Done)
        return done.revision

    def attempt(self) -> list[Outcome]:
        """The next transaction, which must be there."""
        sent = self.claims.transaction(self.now)
        assert sent is not None
        return self.make(sent)

    def make(self, sent: Transaction) -> list[Outcome]:
        try:
            answer = self.store.transact(sent.expect, sent.put, sent.drop, 1.0)
        except Away:
            self.claims.was_away(sent, self.now)
            return []
        return self.claims.was_answered(sent, answer)

    def there(self) -> dict[str, Claim]:
        items = self.store.read(CLAIMS, 1.0).items
        return {key.removeprefix(CLAIMS): unpack_claim(item.value) for key, item in items.items()}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_claim_is_written_changed_and_dropped(bench: Bench) -> None:
    claims = bench.claims
    assert claims.transaction(0.0) is None
    assert claims.patience(0.0) is None
    assert claims.want("a", claim()) == 1
    assert claims.patience(0.0) == 0.0
    assert bench.attempt() == [Written("a", 1)]
    assert bench.there() == {"a": claim()}
    acted = claim(begun=(Begun(0, 1, "exec", 1001.0),))
    assert claims.want("a", acted) == 2
    assert bench.attempt() == [Written("a", 2)]
    assert bench.there() == {"a": acted}
    assert claims.get("a") == acted
    assert claims.want("a", None) == 3
    assert bench.attempt() == [Written("a", 3)]
    assert bench.there() == {}
    assert len(claims) == 0
    assert claims.get("a") is None
    assert not claims._entries
    assert claims.transaction(0.0) is None


def spent(bench: Bench) -> dict[str, bytes]:
    return {key.removeprefix(SPENT): item.value for key, item in bench.store.read(SPENT, 1.0).items.items()}


def test_ends_that_take_two_keys_each_and_an_odd_one_are_all_written(bench: Bench) -> None:
    """The odd one is a step that waits: the last end of its transaction takes a key more than there is room for."""
    claims, names = bench.claims, [f"w-{number}" for number in range(BATCH_MAX + 1)]
    for name in names:
        claims.want(name, claim(name))
    while claims.patience(bench.now) is not None:
        bench.attempt()
    acted = claim(names[0], begun=(Begun(0, 1, "exec", 1001.0),))
    for name in names:  # a step of each is due, and then all but the first recover
        claims.want(name, acted._replace(id=name))
    for name in names[1:]:
        claims.want(name, None, is_awaited=False, spent=b"one")
    while claims.patience(bench.now) is not None:
        bench.attempt()
    assert bench.there() == {names[0]: acted}
    assert set(spent(bench)) == set(names[1:])


def test_what_is_spent_is_written_with_the_end_of_its_claim(bench: Bench) -> None:
    """In one transaction; again if that was refused, and also where a new incident has been opened meanwhile."""
    claims = bench.claims
    claims.want("a", claim())
    bench.attempt()
    claims.want("a", None, spent=b"one")
    sent = claims.transaction(bench.now)
    assert sent is not None
    assert (sent.drop, sent.put) == ([CLAIMS + "a"], {SPENT + "a": b"one"})
    bench.make(sent)
    assert spent(bench) == {"a": b"one"}
    claims.want("a", claim("r-2"))
    bench.attempt()
    claims.want("a", None, spent=b"two")
    claims.want("b", claim())
    bench.store.transact({}, {CLAIMS + "b": pack_claim(claim("other-1"))}, (), 1.0)
    bench.attempt()
    assert spent(bench) == {"a": b"one"}
    claims.want("a", claim("r-3"))
    bench.attempt()
    assert spent(bench) == {"a": b"two"}
    assert bench.there()["a"].id == "r-3"
    assert claims.transaction(bench.now) is None


def test_a_transaction_has_room_for_what_is_spent(bench: Bench) -> None:
    claims = bench.claims
    for number in range(BATCH_MAX):
        claims.want(f"a-{number}", claim())
    bench.attempt()
    for number in range(BATCH_MAX):
        claims.want(f"a-{number}", None, spent=b"one")
    while (sent := claims.transaction(bench.now)) is not None:
        assert len(sent.put) + len(sent.drop) <= BATCH_MAX + 1
        bench.make(sent)
    assert len(spent(bench)) == BATCH_MAX
    assert bench.there() == {}


def test_what_was_never_written_needs_not_be_dropped(bench: Bench) -> None:
    bench.claims.want("a", claim())
    assert bench.claims.want("a", None) is None
    assert bench.claims.transaction(0.0) is None
    assert not bench.claims._entries


def test_what_is_wanted_while_a_change_is_under_way_is_written_after_it_at_once(bench: Bench) -> None:
    claims = bench.claims
    claims.want("a", claim())
    sent = claims.transaction(0.0)
    assert sent is not None
    for number in range(3):
        claims.want("a", claim(begun=tuple(Begun(each, 1, "log", 0.0) for each in range(number + 1))))
    assert claims.transaction(0.0) is None
    assert bench.make(sent) == [Written("a", 1)]
    assert bench.attempt() == [Written("a", 4)]
    assert len(bench.there()["a"].begun) == 3


def test_one_that_is_withdrawn_under_way_is_dropped_afterwards(bench: Bench) -> None:
    bench.claims.want("a", claim())
    sent = bench.claims.transaction(0.0)
    assert sent is not None
    assert bench.claims.want("a", None) == 2
    assert bench.make(sent) == [Written("a", 1)]
    assert bench.attempt() == [Written("a", 2)]
    assert bench.there() == {}


def test_many_go_in_batches_in_turn(bench: Bench) -> None:
    for number in range(250):
        bench.claims.want(f"w-{number}", claim(f"r-{number}"))
    assert len(bench.claims) == 250
    sizes = []
    while outcomes := (bench.attempt() if bench.claims.patience(0.0) == 0.0 else []):
        sizes.append(len(outcomes))
    assert sizes == [BATCH_MAX, BATCH_MAX, 50]
    assert len(bench.there()) == 250


def test_several_are_under_way_and_answered_in_any_order(bench: Bench) -> None:
    """Each has other names; what is wanted of a name meanwhile comes after it."""
    claims = bench.claims
    for number in range(6 * BATCH_MAX):
        claims.want(f"w-{number}", claim(f"r-{number}"))
    sent = []
    while (each := claims.transaction(0.0)) is not None:
        sent.append(each)
    assert len(sent) == TRANSACTIONS_MAX
    assert claims.patience(0.0) is None
    later = claims.want("w-0", claim("r-0", given_up=True))
    assert claims.transaction(0.0) is None
    assert [len(bench.make(each)) for each in reversed(sent)] == [BATCH_MAX] * TRANSACTIONS_MAX
    outcomes = [outcome for _ in range(3) for outcome in bench.attempt()]
    assert Written("w-0", later) in outcomes
    assert len(claims) == 0
    assert len(bench.there()) == 6 * BATCH_MAX
    assert bench.there()["w-0"].given_up


def test_one_that_is_not_answered_holds_up_only_its_own_names(bench: Bench) -> None:
    claims = bench.claims
    claims.want("a", claim())
    first = claims.transaction(0.0)
    assert first is not None
    claims.was_away(first, 0.0)
    claims.want("b", claim("r-2"))
    assert bench.attempt() == [Written("b", 2)]
    assert claims.transaction(RETRY_MIN_S / 2) is None
    assert claims.transaction(RETRY_MIN_S) is first


def test_what_is_awaited_goes_first(bench: Bench) -> None:
    """That an action has ended is written when nothing else is to be; unless something waits for it after all."""
    claims = bench.claims
    for number in range(BATCH_MAX):
        claims.want(f"note-{number}", claim(f"n-{number}"), is_awaited=False)
    for number in range(BATCH_MAX):
        claims.want(f"w-{number}", claim(f"r-{number}"))
    claims.want("note-7", claim("n-7", given_up=True))
    names = [[each.name for each in sent.changes] for sent in iter(lambda: claims.transaction(0.0), None)]
    assert names[0] == [f"w-{number}" for number in range(BATCH_MAX)]
    assert names[1][0] == "note-7"
    assert len(names[1]) == BATCH_MAX


@pytest.mark.parametrize("fate", [Fate.LOST_BEFORE, Fate.LOST_AFTER])
def test_the_same_is_asked_again_until_there_is_an_answer(bench: Bench, fate: Fate) -> None:
    """Later and later; and whether it was done or not, it is this member's own claim."""
    bench.engine.fate = lambda caller, call: fate if call == "transact" else Fate.ANSWERED
    claims = bench.claims
    claims.want("a", claim())
    claims.want("b", claim("r-2"))
    first = claims.transaction(0.0)
    assert first is not None
    bench.make(first)
    claims.want("a", claim(begun=(Begun(0, 1, "log", 0.0),)))
    pauses = []
    for _ in range(8):
        pause = claims.patience(bench.now)
        assert pause is not None
        pauses.append(pause)
        assert claims.transaction(bench.now) is None
        bench.now += pause
        assert claims.transaction(bench.now) is first
        bench.make(first)
    assert pauses[0] == RETRY_MIN_S
    assert pauses[-1] == RETRY_MAX_S
    bench.engine.fate = lambda caller, call: Fate.ANSWERED
    bench.now += RETRY_MAX_S
    assert bench.attempt() == [Written("a", 1), Written("b", 2)]
    assert bench.attempt() == [Written("a", 3)]
    assert {name: each.id for name, each in bench.there().items()} == {"a": "r-1", "b": "r-2"}


def test_whoever_was_deposed_writes_nothing_more(bench: Bench) -> None:
    bench.claims.want("a", claim())
    bench.lead()
    bench.claims.want("b", claim())
    assert bench.attempt() == [Deposed()]
    assert bench.there() == {}
    assert bench.claims.transaction(0.0) is None


def test_what_a_former_leader_left_is_adopted_and_the_others_are_written(bench: Bench) -> None:
    bench.store.transact({}, {f"{CLAIMS}a": pack_claim(claim("old"))}, (), 1.0)
    bench.claims.want("a", claim("new"))
    bench.claims.want("b", claim("r-2"))
    assert bench.attempt() == [Adopted("a", claim("old"), bench.engine.revision)]
    assert bench.attempt() == [Written("b", 2)]
    assert bench.claims.get("a") == claim("old")
    version = bench.claims.want("a", claim("old", given_up=True))
    assert bench.attempt() == [Written("a", version)]
    assert bench.there()["a"] == claim("old", given_up=True)


@pytest.mark.parametrize("value", [b"", b"garbage", pack(id=1), b"\x81\xa1v\x02", pack_claim(claim())[:-2]])
def test_what_is_not_understood_is_left_alone_and_the_others_are_written(bench: Bench, value: bytes) -> None:
    bench.store.transact({}, {f"{CLAIMS}a": value}, (), 1.0)
    bench.claims.want("a", claim())
    bench.claims.want("b", claim("r-2"))
    outcomes = bench.attempt()
    assert [type(each) for each in outcomes] == [Blocked]
    assert bench.attempt() == [Written("b", 2)]
    assert bench.claims.want("a", claim()) is None
    assert bench.claims.transaction(0.0) is None
    assert bench.store.read(f"{CLAIMS}a", 1.0).items[f"{CLAIMS}a"].value == value
    # The next leader meets it, too.
    again, found = Claims.restored(bench.lead(), bench.store.read("", 1.0))
    assert list(found) == ["b"]
    assert list(again.blocked) == ["a"]


def test_what_was_so_before_is_not_adopted(bench: Bench) -> None:
    """The store has the data of an old copy, in which the same member leads: what it knows is newer, and no step is
    done twice; an incident that was closed is not opened again."""
    claims = bench.claims
    claims.want("a", claim())
    claims.want("b", claim("r-2"))
    assert bench.attempt() == [Written("a", 1), Written("b", 2)]
    copy, revision = dict(bench.engine.items), bench.engine.revision
    begun = claim(begun=(Begun(0, 1, "exec", 1001.0),))
    claims.want("a", begun)
    claims.want("b", claim("r-2", given_up=True))
    assert bench.attempt() == [Written("a", 3), Written("b", 4)]
    ended = claim(begun=(Begun(0, 1, "exec", 1001.0, ended=True),))
    claims.want("a", ended)
    claims.want("b", None)
    bench.engine.replace(copy, revision)
    assert bench.attempt() == []
    assert bench.attempt() == [Written("a", 5), Written("b", 6)]
    assert bench.there() == {"a": ended}
    assert claims.get("a") == ended


def test_a_claim_that_somebody_else_drops_is_written_again(bench: Bench) -> None:
    bench.claims.want("a", claim())
    bench.attempt()
    bench.store.transact({}, {}, [f"{CLAIMS}a"], 1.0)
    version = bench.claims.want("a", claim(given_up=True))
    assert bench.attempt() == []
    assert bench.attempt() == [Written("a", version)]


def test_a_new_leader_goes_on_with_what_is_there(bench: Bench) -> None:
    bench.claims.want("a", claim(begun=(Begun(0, 1, "exec", 1001.0), Begun(1, 1, "log", 1002.5, ended=True))))
    bench.attempt()
    claims, found = Claims.restored(bench.lead(), bench.store.read("", 1.0))
    assert found == bench.there()
    bench.claims = claims
    version = claims.want("a", None)
    assert bench.attempt() == [Written("a", version)]
    assert bench.there() == {}


def test_values_are_read_as_they_were_written() -> None:
    whole = claim(
        reason="日本\n", begun=(Begun(0, 1, "exec", 1001.0), Begun(2, 3, "log", 1.5, ended=True)), given_up=True
    )
    assert unpack_claim(pack_claim(whole)) == whole
    for field_, value in (
        ("id", 1), ("cause", "never"), ("opened", "x"), ("silence", True), ("reason", 7), ("begun", [[1]]),
        ("begun", 7), ("begun", [[0, 1, "exec", "x", False]]), ("given_up", 1), ("member", None),
    ):  # fmt: skip
        with pytest.raises(Foreign):
            unpack_claim(pack(**{**whole._asdict(), field_: value}))


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_lost_all_is_written_in_the_end(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random wishes and losses: the store has what was wanted last, each version is told at most once and in order,
    and no name ever has two ids in one incident."""
    monkeypatch.setattr(claims_module, "BATCH_MAX", 5)
    rng, bench = random.Random(seed), Bench()
    bench.engine.fate = lambda caller, call: (
        rng.choice(list(Fate)) if call == "transact" and rng.random() < 0.4 else Fate.ANSWERED
    )
    names = [f"w-{number}" for number in range(12)]
    told: dict[str, int] = {}
    ids = 0

    def turn() -> None:
        bench.now += 0.05
        sent = bench.claims.transaction(bench.now)
        for each in bench.make(sent) if sent is not None else ():
            assert isinstance(each, Written), each
            assert each.version > told.get(each.name, 0)
            told[each.name] = each.version

    for _ in range(400):
        name = rng.choice(names)
        there = bench.claims.get(name)
        if there is None:
            ids += 1
            bench.claims.want(name, claim(f"r-{ids}"))
        elif rng.random() < 0.3:
            bench.claims.want(name, None)
        else:
            bench.claims.want(name, there._replace(begun=(*there.begun, Begun(len(there.begun), 1, "log", 0.0))))
        turn()
    for _ in range(2000):
        turn()
    assert len(bench.claims) == 0
    wanted = {name: found for name in names if (found := bench.claims.get(name)) is not None}
    assert bench.there() == wanted


def test_a_refusal_of_an_unknown_kind_is_no_answer(bench: Bench) -> None:
    """The term is missing altogether: the store's data were lost."""
    bench.claims.want("a", claim())
    bench.engine.replace()
    assert bench.attempt() == [Deposed()]
    assert Refused({}) == bench.store.transact({LEADER: 7}, {}, (), 1.0)
