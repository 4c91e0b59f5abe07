"""What every store does: the same tests for the one in memory and for etcd."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from banken_supervisor.coordination.store import OPERATIONS_MAX, VALUE_MAX, Done, Item, Refused, Store

from . import etcd_kit
from .memory_store import MemoryEngine

WITHIN = 5.0


@pytest.fixture(scope="module")
def etcd() -> Iterator[etcd_kit.Etcd]:
    with etcd_kit.running() as found:
        yield found


@pytest.fixture(params=["memory", pytest.param("etcd", marks=pytest.mark.etcd)])
def store(request: pytest.FixtureRequest) -> Iterator[Callable[[], Store]]:
    """Makes callers that share keys, which are fresh."""
    made: list[Store] = []

    def make() -> Store:
        if request.param == "memory":
            found: Store = engine.store(f"caller-{len(made)}")
        else:
            found = request.getfixturevalue("etcd").store(f"banken/{request.node.name}/")
        made.append(found)
        return found

    engine = MemoryEngine()
    yield make
    for each in made:
        each.close()


def test_what_is_put_is_read_by_others_with_its_revision(store: Callable[[], Store]) -> None:
    one, other = store(), store()
    before = other.read("", WITHIN)
    assert dict(before.items) == {}
    done = one.transact({}, {"claims/a": b"\0\xff", "claims/b": b"", "leader": b"x"}, (), WITHIN)
    assert isinstance(done, Done)
    after = other.read("claims/", WITHIN)
    assert after.items == {
        "claims/a": Item(b"\0\xff", done.revision, done.revision),
        "claims/b": Item(b"", done.revision, done.revision),
    }
    assert after.revision == done.revision > before.revision
    assert after.identity == before.identity == one.read("", WITHIN).identity
    assert set(other.read("", WITHIN).items) == {"claims/a", "claims/b", "leader"}
    assert set(other.read("claims/b", WITHIN).items) == {"claims/b"}


def test_a_key_has_the_revision_at_which_it_was_written_first(store: Callable[[], Store]) -> None:
    """Until it is dropped."""
    one = store()
    first = one.transact({}, {"leader": b"1"}, (), WITHIN)
    second = one.transact({}, {"leader": b"2"}, (), WITHIN)
    assert isinstance(first, Done)
    assert isinstance(second, Done)
    assert one.read("", WITHIN).items == {"leader": Item(b"2", second.revision, first.revision)}
    one.transact({}, {}, ["leader"], WITHIN)
    third = one.transact({}, {"leader": b"3"}, (), WITHIN)
    assert isinstance(third, Done)
    assert one.read("", WITHIN).items == {"leader": Item(b"3", third.revision, third.revision)}


def test_a_glance_shows_what_was_written_soon(store: Callable[[], Store]) -> None:
    """It may be behind, by no more than a part of the store is."""
    one, other = store(), store()
    done = one.transact({}, {"leader": b"x", "other": b"y"}, (), WITHIN)
    assert isinstance(done, Done)
    deadline = time.monotonic() + WITHIN
    while not (found := other.glance("leader", WITHIN)).items:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert found.items == {"leader": Item(b"x", done.revision, done.revision)}
    assert found.identity == one.read("", WITHIN).identity


def test_all_or_nothing(store: Callable[[], Store]) -> None:
    """One key that is not as expected, and nothing of it is done; the answer says what is there."""
    caller = store()
    first = caller.transact({"leader": 0}, {"leader": b"1"}, (), WITHIN)
    assert isinstance(first, Done)
    refused = caller.transact(
        {"leader": first.revision, "claims/a": 7, "claims/b": 0}, {"claims/b": b"x"}, ["leader"], WITHIN
    )
    assert refused == Refused({"leader": Item(b"1", first.revision, first.revision)})
    assert caller.read("", WITHIN).items == {"leader": Item(b"1", first.revision, first.revision)}
    second = caller.transact({"leader": first.revision, "claims/b": 0}, {"claims/b": b"x"}, ["leader"], WITHIN)
    assert isinstance(second, Done)
    assert second.revision > first.revision
    assert caller.read("", WITHIN).items == {"claims/b": Item(b"x", second.revision, second.revision)}


def test_absent_is_expected_by_zero(store: Callable[[], Store]) -> None:
    """Also of a key that was dropped, and comes again with another revision."""
    caller = store()
    first = caller.transact({"a": 0}, {"a": b"1"}, (), WITHIN)
    assert caller.transact({"a": 0}, {"a": b"2"}, (), WITHIN) == Refused(caller.read("a", WITHIN).items)
    assert isinstance(caller.transact({}, {}, ["a", "never"], WITHIN), Done)
    again = caller.transact({"a": 0}, {"a": b"1"}, (), WITHIN)
    assert isinstance(first, Done)
    assert isinstance(again, Done)
    assert again.revision > first.revision
    assert isinstance(caller.transact({"a": first.revision}, {}, ["a"], WITHIN), Refused)


def test_the_same_value_again_is_another_revision(store: Callable[[], Store]) -> None:
    caller = store()
    first = caller.transact({}, {"beat": b"1"}, (), WITHIN)
    second = caller.transact({}, {"beat": b"1"}, (), WITHIN)
    assert isinstance(first, Done)
    assert isinstance(second, Done)
    assert second.revision > first.revision
    assert caller.read("beat", WITHIN).items["beat"].mod == second.revision


def test_of_two_that_expect_the_same_one_wins(store: Callable[[], Store]) -> None:
    one, other = store(), store()
    taken = [
        each.transact({"leader": 0}, {"leader": who}, (), WITHIN) for each, who in ((one, b"1"), (other, b"2"))
    ]
    assert isinstance(taken[0], Done)
    assert taken[1] == Refused({"leader": Item(b"1", taken[0].revision, taken[0].revision)})


@pytest.mark.parametrize("name", ["a/b", "日本", " ", "x\0y", "a" * 200, "ÿ"])
def test_names_of_any_kind_are_keys(store: Callable[[], Store], name: str) -> None:
    caller = store()
    done = caller.transact({name: 0}, {name: b"1"}, (), WITHIN)
    assert isinstance(done, Done)
    assert caller.read(name[:1], WITHIN).items == {name: Item(b"1", done.revision, done.revision)}


def test_many_keys_at_once_and_too_many(store: Callable[[], Store]) -> None:
    """A hundred in one transaction; more than the limit, or too long, is a fault of the caller."""
    caller = store()
    expect = {f"claims/{number:04}": 0 for number in range(OPERATIONS_MAX)}
    assert isinstance(caller.transact(expect, dict.fromkeys(expect, b"x" * 500), (), WITHIN), Done)
    assert len(caller.read("claims/", WITHIN).items) == OPERATIONS_MAX
    again = caller.transact(expect, {}, (), WITHIN)
    assert isinstance(again, Refused)
    assert len(again.found) == OPERATIONS_MAX
    with pytest.raises(ValueError, match=f"expects {OPERATIONS_MAX + 1} keys; at most {OPERATIONS_MAX}"):
        caller.transact({**expect, "one more": 0}, {}, (), WITHIN)
    with pytest.raises(ValueError, match=f"at most {VALUE_MAX}"):
        caller.transact({}, {"a": bytes(VALUE_MAX + 1)}, (), WITHIN)
    with pytest.raises(ValueError, match="put and dropped: a"):
        caller.transact({}, {"a": b""}, ["a"], WITHIN)
    assert isinstance(caller.transact({}, {"long": bytes(VALUE_MAX)}, (), WITHIN), Done)


def test_nothing_to_do_is_a_question(store: Callable[[], Store]) -> None:
    """A transaction that only expects tells whether all is so."""
    caller = store()
    done = caller.transact({}, {"leader": b"1"}, (), WITHIN)
    assert isinstance(done, Done)
    assert isinstance(caller.transact({"leader": done.revision}, {}, (), WITHIN), Done)
    assert isinstance(caller.transact({"leader": done.revision + 1}, {}, (), WITHIN), Refused)
