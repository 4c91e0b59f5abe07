"""Pauses that a member has from its journal, or from words that were said before it began: the others know whether
they have ended since."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from banken.protocol.messages import Kind, Message
from banken_supervisor.control.registry_page import PART_RELEASED, PART_WATCHED
from banken_supervisor.coordination.records import CLAIMS
from banken_supervisor.engine.policy import Policy, Window
from banken_supervisor.engine.registry import Standing
from banken_supervisor.engine.snapshot import Snapshot, checkpoint
from banken_supervisor.engine.states import State
from banken_supervisor.runtime.cluster import OF_PAUSES
from banken_supervisor.runtime.operator_words import OperatorWords
from banken_supervisor.runtime.registry_reading import LATE_TTLS, RegistryReading
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
        registry.words = lambda: self.words.applied(0, 0)
        self.words.read()

    def reads(self, other: Member, took: float = 0.0) -> None:
        driver: Any = SimpleNamespace(engine=self.engine, now=self.now, out=self.out)
        reading = RegistryReading({}, driver, 5.0, lambda words: None, self.words)
        pages = [other.page(part) for part in (PART_RELEASED, PART_WATCHED)]
        self.jump(took)
        for each in pages:
            reading._take(each, self.now - took)

    def _take(self, message: Message) -> None:
        if message.kind in OF_PAUSES:
            self.engine.registry.was_said(message.name, pauses=message.kind is Kind.PAUSE)
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
        self.words.has_read_all(other.engine.registry.words())

    def journal(self) -> Snapshot:
        found = (checkpoint(record, lambda process: None, self.now) for record in self.engine.table)
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


def paused_for_all(store: MemoryEngine) -> tuple[Speaking, Speaking]:
    """Two members to which the same pause was said."""
    one, two = Speaking(store, "m1"), Speaking(store, "m2")
    for each in (one, two):
        each.feed(declaration=DECLARED)
    one.operator(Kind.PAUSE, 0.0)
    two.words.read()
    assert (one.state(), two.state()) == (State.PAUSED, State.PAUSED)
    return one, two


def test_a_pause_that_was_said_to_all_ends_where_another_one_was_told_of_it_and_has_none(
    store: MemoryEngine,
) -> None:
    """This member has missed that its worker released it, and another one came."""
    one, two = paused_for_all(store)
    one.say(Kind.RELEASE)
    for each in (one, two):
        each.jump(5.0)
        each.feed(declaration=DECLARED, who=BOB)
    assert (one.state(), two.state()) == (State.ALIVE, State.PAUSED)
    two.engine.registry.begin()
    two.reads(one)
    assert two.state() is State.PAUSED, "that one was not read to its end, or does not know all"
    two.reads_all(one)
    assert two.state() is State.ALIVE
    two.jump(11.0)
    assert two.held() == ["w"]


def test_who_has_begun_since_ends_no_pause_that_was_said_to_all(store: MemoryEngine) -> None:
    """It was not told of it: the last word that it finds is another one."""
    one, two = paused_for_all(store)
    one.operator(Kind.EXTEND, 10.0)
    two.words.read()
    new = Speaking(store, "m3")
    new.feed(declaration=DECLARED)
    assert new.state() is State.ALIVE
    two.reads_all(new)
    assert two.state() is State.PAUSED


def test_a_pause_that_was_proved_ends_as_one_that_was_said_to_all(store: MemoryEngine) -> None:
    one, two = paused_for_all(store)
    new = Speaking(store, "m2", two.journal())
    new.feed(declaration=DECLARED)
    new.reads_all(one)
    assert new.state() is State.PAUSED
    one.say(Kind.RELEASE)
    for each in (one, new):
        each.jump(5.0)
        each.feed(declaration=DECLARED, who=BOB)
    new.reads_all(one)
    assert new.state() is State.ALIVE


def test_a_workers_own_pause_is_not_compared(store: MemoryEngine) -> None:
    """An operator had paused it before; the other one has not heard the worker's word."""
    one, two = paused_for_all(store)
    one.operator(Kind.RESUME)
    two.words.read()
    for each in (one, two):
        each.feed()
    two.say(Kind.PAUSE, "w", 0.0)
    two.reads_all(one)
    assert two.state() is State.PAUSED
    two.operator(Kind.PAUSE, 5.0)
    one.words.read()
    for each in (one, two):
        each.jump(6.0)
        each.feed()
        each.engine.registry.begin()
    assert (one.state(), two.state()) == (State.ALIVE, State.ALIVE)
    two.say(Kind.PAUSE, "w", 0.0)
    two.reads_all(one)
    assert two.state() is State.PAUSED


@pytest.mark.parametrize(("left", "ends"), [(LATE_TTLS * 5.0 - 0.1, False), (LATE_TTLS * 5.0 + 0.1, True)])
def test_a_pause_that_is_about_to_end_is_not_ended_sooner(store: MemoryEngine, *, left: float, ends: bool) -> None:
    """With the other one, whose clock is ahead, it is over by its time."""
    one, two = paused_for_all(store)
    one.operator(Kind.PAUSE, 60.0)
    two.words.read()
    one.say(Kind.RESUME)
    for each in (one, two):
        each.jump(60.0 - left)
        each.feed()
    assert two.due_in() == pytest.approx(left, abs=0.05)
    two.reads_all(one)
    assert two.state() is (State.ALIVE if ends else State.PAUSED)


def test_what_another_one_that_lacks_the_word_does_not_watch_may_still_be_paused(store: MemoryEngine) -> None:
    """It does not reach the store: who comes later under that name is paused."""
    store.store("x").transact({}, {CLAIMS + "w": b"x"}, (), 1.0)
    one, cut_off = Speaking(store, "m1"), Speaking(store, "m2")
    one.operator(Kind.PAUSE, 0.0)
    new = Speaking(store, "m3")
    new.reads_all(cut_off)
    new.feed(declaration=DECLARED)
    new.words.turn(1.0)
    assert new.state() is State.PAUSED
    last = Speaking(store, "m4")
    last.reads_all(one)
    last.feed(declaration=DECLARED)
    last.words.turn(1.0)
    assert last.state() is State.ALIVE


def test_a_pause_that_was_said_to_all_is_as_long_here_as_it_is_here(store: MemoryEngine) -> None:
    """Another one that stood still has it for longer."""
    one, two = paused_for_all(store)
    for each, seconds in ((one, 60.0), (two, 30.0)):
        each.say(Kind.PAUSE, "w", seconds)
    two.reads_all(one)
    assert two.due_in() == 30.0


@pytest.mark.parametrize("kind", [Kind.PAUSE, Kind.RESUME])
def test_what_is_said_to_this_member_alone_is_not_told_and_not_compared(store: MemoryEngine, kind: Kind) -> None:
    """The other one is as it was before, and silent or not. With the next word to all it is over."""
    one, two = paused_for_all(store)
    if kind is Kind.PAUSE:
        one.operator(Kind.RESUME)
        two.words.read()
    two.engine.tell(Message(kind, "w", None, 0.0, None, (0.0,)), two.now, two.out)
    two.engine.registry.was_said("w", pauses=kind is Kind.PAUSE, here=True)
    before = one.state(), two.state()
    for each in (one, two):
        each.jump(11.0)
    for _ in range(2):
        one.reads_all(two)
        two.reads_all(one)
    assert (one.state(), two.state()) == before
    one.operator(Kind.PAUSE, 0.0)
    two.words.read()
    assert two.page().watched[0].standing is Standing.PAUSED


def test_a_pause_of_this_member_alone_that_has_ended_leaves_nothing(store: MemoryEngine) -> None:
    _, two = paused_for_all(store)
    two.operator(Kind.RESUME)
    two.say(Kind.PAUSE, "w", 5.0)
    two.engine.registry.was_said("w", pauses=True, here=True)
    assert two.page().watched[0].standing is Standing.LEFT
    two.jump(6.0)
    assert two.page().watched[0].standing is Standing.ALIVE
