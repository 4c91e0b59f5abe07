"""Pauses that a member has from its journal, or from words that were said before it began: the others know whether
they have ended since."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from banken.protocol.messages import Kind, Message
from banken_supervisor.coordination.records import CLAIMS
from banken_supervisor.engine.policy import Policy, Window
from banken_supervisor.engine.snapshot import Snapshot, checkpoint
from banken_supervisor.engine.states import State
from banken_supervisor.runtime.operator_words import OperatorWords
from engine_kit import BOB

from .memory_store import MemoryEngine
from .test_operator_words import Asked
from .test_registry import DECLARED, Member


class Speaking(Member):
    """A member to which words are said."""

    def __init__(self, store: MemoryEngine, name: str, left: Snapshot | None = None, now: float = 1000.0) -> None:
        super().__init__(left)
        self.now = now
        asked: Any = Asked(store.store(name))
        registry = self.engine.registry
        self.words = OperatorWords(
            name, asked, 1.0, self._take, self._take_former, lambda mod: (0.0, inf), lambda: None,
            lambda name: None if self.engine.get(name) is None else True,
        )  # fmt: skip
        registry.was_made = self.words.was_made
        self.words.read()

    def _take(self, message: Message) -> None:
        self.engine.registry.unproved.discard(message.name)
        self.engine.tell(message, self.now, self.out)

    def _take_former(self, message: Message) -> None:
        self.engine.registry.unproved.add(message.name)
        self.engine.tell(message, self.now, self.out)

    def operator(self, kind: Kind, *args: Any, name: str = "w") -> None:
        message = Message(kind, name, None, 0.0, None, args)
        assert self.words.takes(message)
        assert self.words.outcome(self.words.say(message)) == {"done": True, "why": None}

    def reads_all(self, other: Member) -> None:
        """That one knows all."""
        self.engine.registry.begin()
        self.reads(other)
        self.engine.registry.end(self.now, self.out)
        self.words.has_read_all()

    def journal(self) -> Snapshot:
        found = (checkpoint(record, None, self.now) for record in self.engine.table)
        return Snapshot([each for each in found if each is not None])


@pytest.fixture
def store() -> MemoryEngine:
    return MemoryEngine()


def pause_of_a_former_worker(store: MemoryEngine) -> Speaking:
    """A member that knows all. A pause without end was said to it, and its worker ended in order."""
    old = Speaking(store, "m1")
    old.feed(declaration=DECLARED)
    old.operator(Kind.PAUSE, 0.0)
    assert old.state() is State.PAUSED
    old.say(Kind.RELEASE)
    assert old.state() is None
    old.jump(60.0)
    return old


@pytest.mark.parametrize("order", ["fed before", "told before", "fed between"])
def test_a_pause_that_ended_with_its_worker_is_not_the_next_ones(store: MemoryEngine, order: str) -> None:
    """The word is in the store for ever. Whether a member that begins hears the next worker before it has read what
    the others know makes no difference."""
    old = pause_of_a_former_worker(store)
    old.feed(declaration=DECLARED, who=BOB)
    new = Speaking(store, "m2", now=old.now)
    if order == "fed before":
        new.feed(declaration=DECLARED, who=BOB)
        new.words.turn(1.0)
        assert new.state() is State.PAUSED, "nobody who knows has said that it has ended"
    elif order == "fed between":
        new.engine.registry.begin()
        new.reads(old)
        new.feed(declaration=DECLARED, who=BOB)
        new.words.turn(1.0)
    new.reads_all(old)
    new.words.turn(2.0)
    assert new.state() is State.ALIVE
    new.jump(11.0)
    assert new.held() == ["w"]


def test_who_comes_after_all_have_begun_again_is_not_paused(store: MemoryEngine) -> None:
    """One after the other, while no worker had that name."""
    old = pause_of_a_former_worker(store)
    new = Speaking(store, "m2", now=old.now)
    new.reads_all(old)
    third = Speaking(store, "m3", now=old.now)
    third.reads_all(new)
    for each in (new, third):
        each.feed(declaration=DECLARED, who=BOB)
        each.words.turn(1.0)
        assert each.state() is State.ALIVE


def test_a_pause_that_goes_on_is_proved(store: MemoryEngine) -> None:
    old = Speaking(store, "m1")
    old.feed(declaration=DECLARED)
    old.operator(Kind.PAUSE, 0.0)
    for is_fed in (True, False):
        new = Speaking(store, "m2", now=old.now)
        if is_fed:
            new.feed(declaration=DECLARED)
            new.words.turn(1.0)
        new.reads_all(old)
        new.words.turn(2.0)
        assert new.state() is State.PAUSED
        assert not new.engine.registry.unproved
        other = Member()
        other.now = new.now
        other.feed(declaration=DECLARED)
        new.reads_all(other)  # a word that this one has not read yet
        assert new.state() is State.PAUSED


def test_who_does_not_know_all_ends_no_pause_and_proves_none(store: MemoryEngine) -> None:
    """It may have begun a moment ago, and not know of the pause, or have it from the same word."""
    old = pause_of_a_former_worker(store)
    old.feed(declaration=DECLARED, who=BOB)
    alive, paused = Speaking(store, "m2", now=old.now), Speaking(store, "m3", now=old.now)
    alive.feed(declaration=DECLARED, who=BOB)
    paused.feed(declaration=DECLARED, who=BOB)
    paused.words.turn(1.0)
    assert (alive.state(), paused.state()) == (State.ALIVE, State.PAUSED)
    for other in (alive, paused):
        new = Speaking(store, "m4", now=old.now)
        new.engine.registry.begin()
        new.reads(other)
        new.words.turn(1.0)
        assert new.state() is State.PAUSED
        assert new.engine.registry.unproved == {"w"}
        new.reads_all(old)
        assert new.state() is State.ALIVE


@pytest.mark.parametrize("is_fed", [True, False])
def test_what_was_resumed_while_this_member_was_down_is_resumed(store: MemoryEngine, *, is_fed: bool) -> None:
    """Whether its worker feeds it before it has read what the others know, or not."""
    old, down = Speaking(store, "m1"), Speaking(store, "m2")
    for each in (old, down):
        each.feed(declaration=DECLARED)
    old.operator(Kind.PAUSE, 0.0)
    down.words.read()
    left = down.journal()
    old.operator(Kind.RESUME)
    new = Speaking(store, "m2", left)
    if is_fed:
        new.jump(1.0)
        new.feed()
    assert new.state() is State.PAUSED
    old.jump(4.0)
    new.now = old.now
    new.engine.registry.begin()
    new.reads(old)
    new.jump(1.0)
    assert new.state() is State.PAUSED
    new.engine.registry.end(new.now, new.out)
    assert new.state() is State.ALIVE
    assert new.due_in() == pytest.approx(6.0 if is_fed else 5.0), "it is due from its last feed, here or there"


def test_it_goes_on_as_the_other_one_said_some_time_ago(store: MemoryEngine) -> None:
    other, left = fed_and_paused(store)
    other.say(Kind.EXTEND, "w", 70.0)
    new = Speaking(store, "m2", left)
    new.engine.registry.begin()
    new.reads(other)
    for each in (other, new):
        each.jump(5.0)
    new.engine.registry.end(new.now, new.out)
    assert new.due_in() == pytest.approx(other.due_in())


@pytest.mark.parametrize(("here", "there"), [(0.0, 60.0), (60.0, 0.0), (10.0, 60.0)])
def test_a_pause_that_is_proved_ends_as_it_does_there(store: MemoryEngine, here: float, there: float) -> None:
    """It was said anew while this member was down."""
    other, new = Speaking(store, "m1"), Speaking(store, "m2")
    for each, seconds in ((other, there), (new, here)):
        each.feed(declaration=DECLARED)
        each.say(Kind.PAUSE, "w", seconds)
    new.engine.registry.doubt_pauses()
    new.reads_all(other)
    assert new.due_in() == other.due_in()
    for each in (other, new):
        each.jump(15.0)
        assert each.state() is State.PAUSED
        each.jump(46.0)
        assert each.state() is (State.ALIVE if there else State.PAUSED)


def test_what_one_has_told_does_not_count_when_another_one_is_read_to_its_end(store: MemoryEngine) -> None:
    """The first one ended meanwhile, or it had begun just before."""
    other, left = fed_and_paused(store)
    new = Speaking(store, "m2", left)
    new.jump(1.0)
    new.feed()
    new.engine.registry.begin()
    new.reads(other)
    new.engine.registry.begin()
    new.engine.registry.end(new.now, new.out)
    assert new.state() is State.PAUSED


def test_a_pause_here_alone_is_no_matter_of_the_others_while_this_member_runs(store: MemoryEngine) -> None:
    """Another one was in its journal, and had ended."""
    other, left = fed_and_paused(store)
    new = Speaking(store, "m2", left)
    for kind in (Kind.RESUME, Kind.PAUSE):
        new.engine.tell(Message(kind, "w", None, 0.0, None, (0.0,)), new.now, new.out)
        new.reads_all(other)
    assert new.state() is State.PAUSED


def test_a_new_word_proves_a_pause(store: MemoryEngine) -> None:
    """The other one has not read it yet."""
    old, down = Speaking(store, "m1"), Speaking(store, "m2")
    for each in (old, down):
        each.feed(declaration=DECLARED)
    down.operator(Kind.PAUSE, 0.0)
    new = Speaking(store, "m2", down.journal())
    assert new.engine.registry.unproved == {"w"}
    new.operator(Kind.PAUSE, 0.0)
    new.reads_all(old)
    assert new.state() is State.PAUSED


def test_one_that_a_former_run_has_left_says_nothing_of_a_pause(store: MemoryEngine) -> None:
    """It stays unproved, until one knows."""
    before, down = fed_and_paused(store)
    other = Member(before.journal())
    new = Speaking(store, "m2", down)
    new.feed()
    new.reads_all(other)
    assert new.engine.registry.unproved == {"w"}
    other.feed()
    new.reads_all(other)
    assert new.state() is State.ALIVE


def fed_and_paused(store: MemoryEngine) -> tuple[Speaking, Snapshot]:
    """A member that does not know of the pause, and the journal of one that does."""
    other, paused = Speaking(store, "m1"), Speaking(store, "m2")
    for each in (other, paused):
        each.feed(declaration=DECLARED)
    paused.say(Kind.PAUSE, "w", 0.0)
    return other, paused.journal()


def test_what_was_released_while_it_was_paused_here_is_forgotten(store: MemoryEngine) -> None:
    """Whether the others still know when that was, or only that they do not watch it."""
    for is_remembered in (True, False):
        other, left = fed_and_paused(store)
        other.say(Kind.RELEASE)
        if not is_remembered:
            other.engine.table.released.clear()
        new = Speaking(store, "m2", left)
        for each in (other, new):
            each.jump(1.0)
        new.reads_all(other)
        assert new.state() is None


def test_a_window_of_this_members_is_no_matter_of_the_others(store: MemoryEngine) -> None:
    other, new = Speaking(store, "m1"), Speaking(store, "m2")
    window = Window("0 3 * * *", 600.0)
    new.engine.declare("w", Policy(DECLARED, maintenance=(window,)), new.now, new.out)
    for each in (other, new):
        each.feed(declaration=DECLARED)
    new.engine.maintenance.open_windows({window: 600.0}, new.now)
    new.engine.maintenance.go_on(new.now, new.out)
    assert new.state() is State.PAUSED
    new.engine.registry.doubt_pauses()
    assert not new.engine.registry.unproved
    new.engine.registry.unproved.add("w")  # and it was paused by an operator before
    new.reads_all(other)
    assert new.state() is State.PAUSED


def test_a_pause_that_was_said_since_this_member_began_stays_for_who_is_not_known_yet(store: MemoryEngine) -> None:
    """One that has read neither the word nor its worker's feeds, and one that has not read the word."""
    store.store("x").transact({}, {CLAIMS + "w": b"x"}, (), 1.0)
    other = Member()
    other.feed(declaration=DECLARED)
    new = Speaking(store, "m2")
    new.operator(Kind.PAUSE, 0.0)
    new.reads_all(Member())
    assert new.state() is None
    new.reads_all(other)
    new.words.turn(1.0)
    assert new.state() is State.PAUSED
    assert not new.engine.registry.unproved
