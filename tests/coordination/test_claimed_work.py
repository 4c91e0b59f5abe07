"""What waits for a claim: nothing of one leadership is taken for the next one's, though their terms are alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from banken.protocol.incidents import Cause, Incident
from banken_supervisor.actions.target import ActionTarget
from banken_supervisor.coordination.claims import Claims
from banken_supervisor.coordination.records import LEADER, Claim, unpack_claim
from banken_supervisor.coordination.store import Done, Store
from banken_supervisor.coordination.store_thread import StoreThread
from banken_supervisor.runtime.claimed_work import ClaimedWork
from banken_supervisor.runtime.incident_terms import Terms

from .memory_store import MemoryEngine

TERM = 2


class Late(StoreThread):
    """Answers when the test says so."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, lambda do: None)
        self.asked: list[tuple[Callable[[Store], Any], Callable[[Any], None]]] = []

    def ask(self, question: Callable[[Store], Any], answered: Callable[[Any], None]) -> None:
        self.asked.append((question, answered))


def leading(store: Late) -> ClaimedWork:
    """Of a member that leads, and may act."""
    work = ClaimedWork(
        [store], 1.0, Terms(lambda: None), lambda: True, lambda *found: None, lambda *why: None, lambda: None  # type: ignore[arg-type, return-value]
    )  # fmt: skip
    work.claims = Claims(TERM)
    return work


def claim(id_: str) -> Claim:
    return Claim(id_, "timeout", 1000.0, 5.5, 5.0, "m1")


def test_an_answer_to_an_earlier_leadership_of_the_same_number_is_nobodys() -> None:
    """The store's data were replaced meanwhile: what was written is not there."""
    store, done = Late(MemoryEngine().store("m1")), list[str]()
    work = leading(store)
    work.want("w", claim("first"), lambda: done.append("first"), lambda claim: None)
    work.turn(0.0)
    (_, answered), *_ = store.asked
    assert work.stop() == {}
    work.claims = Claims(TERM)
    work.want("w", claim("second"), lambda: done.append("second"), lambda claim: None)
    work.turn(0.0)
    answered(Done(7))
    work.do_what_is_written()
    assert done == []
    work.turn(0.0)
    (_, answered) = store.asked[-1]
    answered(Done(8))
    work.do_what_is_written()
    assert done == ["second"]


def test_what_is_written_and_not_done_is_void_when_its_incident_ends() -> None:
    """The step of an incident that recovered is not begun, though its claim was there; the next incident's is."""
    store, done = Late(MemoryEngine().store("m1")), list[str]()
    work = leading(store)
    work.want("w", claim("first"), lambda: done.append("a step"), lambda claim: None)
    work.turn(0.0)
    store.asked[-1][1](Done(7))
    work.do("w", "first", lambda: done.append("a former leader's step"))
    work.drop("w")
    work.want("w", claim("second"), lambda: done.append("the next one's"), lambda claim: None)
    assert {name: each.id for name, each in work.claims.open().items()} == {"w": "second"}
    work.do_what_is_written()
    assert done == []
    work.turn(0.0)
    store.asked[-1][1](Done(8))
    work.do_what_is_written()
    assert done == ["the next one's"]


def test_what_was_not_done_of_an_incident_that_is_over_changes_no_other_claim() -> None:
    store = Late(MemoryEngine().store("m1"))
    work = leading(store)
    work.want("w", claim("first"), lambda: None, lambda claim: None)
    work.turn(0.0)
    store.asked[-1][1](Done(7))
    work.drop("w")
    work.note("w", claim("second"))
    assert {name: each.id for name, each in work.stop().items()} == {"w": "second"}


def test_what_waits_at_the_end_is_taken_out_of_the_store_also_while_it_is_written() -> None:
    """The transaction that is under way says that it was begun; the next one takes that back."""
    engine, done = MemoryEngine(), list[str]()
    store = Late(engine.store("m1"))
    work, first = leading(store), claim("first")
    term = store._store.transact({}, {LEADER: b"m1"}, [], 1.0)
    assert isinstance(term, Done)
    work.claims = Claims(term.revision)
    work.note("w", first)
    answer(store, work)
    begun = first._replace(reason="begun")
    work.want("w", begun, lambda: done.append("it"), lambda claim: claim._replace(reason=None))
    work.turn(0.0)
    work.give_back()
    work.turn(0.0)
    answer(store, work)
    assert unpack_claim(engine.items["claims/w"].value) == begun
    assert work.is_writing
    answer(store, work)
    assert unpack_claim(engine.items["claims/w"].value) == first
    assert not work.is_writing
    work.do_what_is_written()
    assert done == []


def answer(store: Late, work: ClaimedWork) -> None:
    """Have the last question answered."""
    work.turn(0.0)
    question, answered = store.asked.pop()
    answered(question(store._store))


@pytest.mark.parametrize("is_sent", [False, True])
def test_an_incident_that_is_not_open_yet_is_left_where_it_may_be_in_the_store(is_sent: bool) -> None:
    """Then the next leader goes on with it; else it judges itself."""
    store = Late(MemoryEngine().store("m1"))
    work = leading(store)
    if is_sent:
        work.want("w", claim("first"), lambda: None, lambda claim: None)
        work.turn(0.0)
    else:
        work.want("w", claim("first"), lambda: None, lambda claim: None)
    work.give_back()
    assert work.get("w") == (claim("first") if is_sent else None)
    assert work.is_writing is is_sent


@pytest.mark.parametrize("what", ["written", "not written", "written, and the loop has ended", "another one is"])
def test_a_former_leader_tells_of_an_end_only_if_nobody_else_can(what: str) -> None:
    """While the claim is there, the next leader finds it, and tells of the end itself."""
    store = Late(MemoryEngine().store("m1"))
    view = SimpleNamespace(term=TERM, may_act=True)
    terms = Terms(lambda: view)  # type: ignore[arg-type, return-value]
    work = ClaimedWork([store], 1.0, terms, lambda: True, lambda *found: None, lambda *why: None, lambda: None)
    work.claims = Claims(TERM)
    terms.is_mine("i-1", TERM)
    work.want("w", claim("i-1"), lambda: None, lambda claim: None)
    work.turn(0.0)
    if what == "another one is":  # it ends while its claim is written
        work.drop("w")
        store.asked[-1][1](Done(7))
    else:
        store.asked[-1][1](Done(7))
        work.drop("w")
        work.turn(0.0)
        if what == "written":
            store.asked[-1][1](Done(8))
    work.stop()
    if what == "written, and the loop has ended":
        store.asked[-1][0](SimpleNamespace(transact=lambda *asked: Done(8)))  # type: ignore[arg-type]
    view.term, view.may_act = None, False
    notice = ActionTarget(Incident("i-1", "w", Cause.TIMEOUT, 0.0, 1.0, 1.0), recovered=True)
    assert terms.permits(notice) is what.startswith("written")
    assert terms.permits(replace(notice, recovered=False)) is False
