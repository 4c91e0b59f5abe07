"""What a member learns from the others about watchdogs whose workers it did not hear."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from banken.protocol.codec import pack, unpack
from banken.protocol.messages import Declaration, Kind, Message
from banken_supervisor.control.control_api import OPS
from banken_supervisor.control.registry_page import PART_RELEASED, PART_WATCHED, ROWS_MAX, page
from banken_supervisor.coordination.records import Member as MemberRecord
from banken_supervisor.engine.claim_gate import Role
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.registry import NO_WORDS, Entry, Standing, Words
from banken_supervisor.engine.snapshot import Snapshot, checkpoint
from banken_supervisor.engine.states import State
from banken_supervisor.runtime.member_answers import Page, read_page
from banken_supervisor.runtime.registry_reading import AGAIN_S, EVERY_S, GAP_S, PATIENCE_S, RegistryReading
from banken_supervisor.text.sanitize import ODD
from engine_kit import BOB, Bench

DECLARED = Declaration(10.0, 3.0, 20.0)


class Member(Bench):
    """A member that follows, and knows nothing yet. ``w`` is what workers declare themselves."""

    def __init__(self, left: Snapshot | None = None) -> None:
        super().__init__()
        self.engine.table.keeps_released = True
        if left is not None:
            self.engine.restore(left, self.now, self.out)
        self.engine.succession.follow(self.now)
        self.engine.registry.doubt_pauses()

    def page(self, part: str = PART_WATCHED, offset: int = 0) -> Page:
        """A page of its registry, as another one reads it."""
        view: Any = SimpleNamespace(driver=SimpleNamespace(engine=self.engine, now=self.now))
        return read_page(part, unpack(pack(page(view, part, offset)), 2**24, 50_000))

    def reads(self, other: Member, took: float = 0.0) -> None:
        """It reads the registry of another one; ``took``: seconds until the answer is there."""
        asked, registry = self.now, self.engine.registry
        released, watched = other.page(PART_RELEASED), other.page()
        self.jump(took)
        for name, age in released.released:
            registry.drop(name, age, asked, self.now, self.out)
        for entry in watched.watched:
            registry.take(entry, asked, self.now, self.out)

    def due_in(self, name: str = "w") -> float | None:
        from banken_supervisor.engine.record import deadline

        record = self.engine.get(name)
        assert record is not None
        due = deadline(record)
        return None if due is None else due - self.now

    def held(self) -> list[str]:
        return list(self.engine.succession.gate.held)


def fed(seconds_ago: float = 0.0) -> Member:
    member = Member()
    member.feed(declaration=DECLARED)
    member.jump(seconds_ago)
    member.out.clear()
    return member


def test_a_worker_that_fell_silent_before_is_judged_from_the_age_that_is_told() -> None:
    old, new = fed(seconds_ago=7.0), Member()
    new.reads(old)
    record = new.engine.get("w")
    assert record is not None
    assert record.declaration == DECLARED
    assert new.due_in() == pytest.approx(3.0)
    new.jump(2.9)
    assert new.held() == []
    new.jump(0.2)
    assert new.held() == ["w"]


def test_one_that_is_silent_already_is_held_at_once() -> None:
    """As by who has told it."""
    old, new = fed(seconds_ago=11.0), Member()
    assert old.held() == ["w"]
    new.reads(old)
    new.jump(0.0)
    assert new.held() == ["w"]


def test_its_next_feed_is_as_any_other() -> None:
    old, new = fed(seconds_ago=7.0), Member()
    new.reads(old)
    new.jump(2.0)
    new.feed(declaration=DECLARED)
    assert new.due_in() == pytest.approx(10.0)
    assert "refused" not in new.said()


def test_it_stands_as_it_does_there() -> None:
    """Paused, idle, extended, waiting, due; and without a timeout of anybody's."""
    old, new = Member(), Member()
    for name in ("paused", "forever", "idle", "due", "extended"):
        old.feed(name, declaration=DECLARED)
    old.say(Kind.DECLARE, "waiting", declaration=DECLARED)
    old.say(Kind.PAUSE, "paused", 60.0)
    old.say(Kind.PAUSE, "forever", 0.0)
    old.say(Kind.WORK, "idle", None, None)
    old.say(Kind.WORK, "due", 100.0, None)
    old.say(Kind.EXTEND, "extended", 70.0)
    old.jump(5.0)
    new.reads(old)
    assert {each.name: new.state(each.name) for each in new.engine.table} == {
        "paused": State.PAUSED, "forever": State.PAUSED, "idle": State.ALIVE, "due": State.ALIVE,
        "extended": State.ALIVE, "waiting": State.WAITING,
    }  # fmt: skip
    for name in ("paused", "forever", "idle", "due", "extended", "waiting"):
        there = old.due_in(name)
        assert new.due_in(name) == (None if there is None else pytest.approx(there)), name
    new.jump(20.0)
    assert new.held() == ["waiting"]


def test_what_was_released_here_since_is_not_watched_again() -> None:
    """The other one had not heard it yet when it answered, or never does. A release is heard of a name, too, that
    is not watched here yet."""
    old, new = fed(), Member()
    new.say(Kind.RELEASE)
    new.reads(old)
    assert new.state() is None
    for each in (old, new):
        each.jump(1.0)
    new.reads(old, took=0.2)
    assert new.state() is None


def test_who_came_again_after_a_release_is_watched() -> None:
    old, new = Member(), Member()
    new.say(Kind.RELEASE)
    for each in (old, new):
        each.jump(5.0)
    old.feed(declaration=DECLARED)
    new.reads(old)
    assert new.state() is State.ALIVE


def test_what_was_released_with_another_one_is_not_watched_here_any_more() -> None:
    """If the last feed here is older. Where it is younger the worker has come again."""
    old, new = fed(), fed()
    for each in (old, new):
        each.jump(1.0)
    old.say(Kind.RELEASE)
    new.reads(old, took=0.2)
    assert new.state() is None
    assert new.engine.table.released
    old.jump(1.0)
    new.feed(declaration=DECLARED)
    new.reads(old)
    assert new.state() is State.ALIVE


def test_of_a_feed_and_a_release_just_after_it_the_release_counts() -> None:
    """The worker was ended by a signal, which only the member on its host sees. How long the other one's answer was
    on its way is not known exactly."""
    new = fed(seconds_ago=0.1)
    released = new.now
    new.jump(10.2)
    assert new.held() == ["w"]
    new.engine.registry.drop("w", new.now - released, new.now - 0.25, new.now, new.out)
    assert new.state() is None
    assert new.held() == []


def test_of_two_others_the_one_that_heard_the_release_is_right() -> None:
    """In whichever order they are read."""
    for order in ((0, 1), (1, 0)):
        others = [fed(seconds_ago=1.0), fed(seconds_ago=1.0)]
        others[1].say(Kind.RELEASE)
        for each in others:
            each.jump(1.0)
        new = Member()
        for each in order:
            new.reads(others[each])
        assert new.state() is None


def test_what_a_former_run_has_left_is_no_word_of_a_worker() -> None:
    """It is told to nobody as alive. The others know better: they heard the worker, its release, or nothing of it,
    and then it was released while nobody remembers it."""
    before = Member()
    for name in ("heard", "released", "forgotten"):
        before.feed(name, declaration=DECLARED)
    left = [checkpoint(record, before.engine.table.program_of, before.now) for record in before.engine.table]
    other = Member()
    other.engine.registry.is_whole = True
    other.feed("heard", declaration=DECLARED)
    other.jump(4.0)
    other.say(Kind.RELEASE, "released")
    new = Member(Snapshot([each for each in left if each is not None]))
    assert {each.standing for each in new.page().watched} == {Standing.LEFT}
    other.reads(new)
    assert [each.name for each in other.engine.table] == ["heard"]
    new.engine.registry.begin()
    new.reads(other)
    assert [each.name for each in new.engine.table] == ["heard", "forgotten"]
    assert new.due_in("heard") == pytest.approx(6.0)
    new.engine.registry.end(new.now, new.out)
    assert [each.name for each in new.engine.table] == ["heard"]


def test_two_that_were_both_away_leave_each_other_what_they_have() -> None:
    """Neither has heard the worker since: both judge it, by what they had."""
    before = fed()
    left = [
        each
        for record in before.engine.table
        if (each := checkpoint(record, before.engine.table.program_of, before.now)) is not None
    ]
    one, two = Member(Snapshot(left)), Member(Snapshot(left))
    one.engine.registry.is_whole = True  # it leads
    two.engine.registry.begin()
    two.reads(one)
    two.engine.registry.end(two.now, two.out)
    assert two.state() is State.ALIVE


def test_what_is_known_here_is_left_alone_unless_it_is_silent() -> None:
    """An ear is a proof of life; one that is deaf is none of death."""
    old, new = fed(), fed()
    new.jump(8.0)
    old.jump(8.0)
    new.reads(old)
    assert new.due_in() == pytest.approx(2.0)
    old.feed(declaration=DECLARED)
    new.reads(old)
    assert new.due_in() == pytest.approx(2.0)
    new.jump(3.0)
    old.jump(3.0)
    assert new.held() == ["w"]
    new.reads(old)
    assert new.held() == []
    assert new.due_in() == pytest.approx(7.0)


def test_a_leaders_proposal_is_withdrawn() -> None:
    old, new = fed(), fed()
    new.engine.succession.lead([], new.now, new.out)
    new.jump(10.1)
    old.feed(declaration=DECLARED)
    new.reads(old)
    assert "Withdraw" in [type(each).__name__ for each in new.out]


def test_the_operators_word_counts_here() -> None:
    """A policy of this member's config, with its ladder; names that its config has are dropped only if their worker
    was heard here; groups and what is local are its own."""
    old, new = fed(), Member()
    new.engine.rules.replace_patterns([("w*", Policy(Declaration(5.0, 3.0, 20.0), Ladder((Step("log"),))))])
    new.reads(old)
    record = new.engine.get("w")
    assert record is not None
    assert record.policy is not None
    assert record.declaration.timeout == 5.0
    own = Member()
    own.engine.declare("w", DECLARED, own.now, own.out)
    own.jump(2.0)
    old.say(Kind.RELEASE)
    own.reads(old)
    assert own.state() is not None
    own.feed(declaration=DECLARED)
    own.reads(old)
    assert own.state() is State.ALIVE
    for each in (own, old):
        each.jump(1.0)
    old.feed(declaration=DECLARED)
    old.say(Kind.RELEASE)
    own.reads(old)
    assert own.state() is None
    local = fed()
    local.engine.succession.gate.is_local = lambda record: True
    assert local.page().watched == []
    other = Member()
    other.reads(local)
    assert len(other.engine) == 0


def test_a_full_member_takes_no_more() -> None:
    old, new = Member(), Member()
    for number in range(10):
        old.feed(f"w-{number}", declaration=DECLARED)
    new.engine.set_quotas(new.engine.admission.quotas._replace(names=4))
    new.reads(old)
    assert len(new.engine) == 4
    new.engine.set_quotas(new.engine.admission.quotas._replace(names=100))
    new.engine.admission.short_of_memory = True
    new.reads(old)
    assert len(new.engine) == 4


def test_without_a_cluster_nothing_is_remembered() -> None:
    alone = Bench()
    alone.feed()
    alone.say(Kind.RELEASE)
    assert alone.engine.table.released == {}


# -- what another one answers --------------------------------------------------------------------------


GOOD: dict[str, Any] = {
    "rows": [["w", [10.0, 3.0, 20.0, "latest", None, None, "unclean", [0]], 0.0, "alive", 1.0, None, True]],
    "end": 1, "more": False, "removals": 0, "whole": True,
}  # fmt: skip


def test_a_row_is_read() -> None:
    (entry,) = read_page(PART_WATCHED, GOOD).watched
    assert entry == Entry("w", Declaration(10.0, 3.0, 20.0, clean=(0,)), 0.0, Standing.ALIVE, 1.0, None, True)


def test_which_words_it_has_applied_is_read() -> None:
    assert read_page(PART_WATCHED, GOOD | {"words": ["data", 3, 7]}).words == Words("data", 3, 7)
    assert read_page(PART_WATCHED, GOOD).words == NO_WORDS, "an older banken's"


@pytest.mark.parametrize("place", range(7))
@pytest.mark.parametrize("odd", [None, -1, 1e300, float("nan"), "", "x" * 10_000, [], [[]], {}, True, b"\xff"])
def test_an_odd_row_is_passed_over(place: int, odd: Any) -> None:
    row = [*GOOD["rows"][0][:place], odd, *GOOD["rows"][0][place + 1 :]]
    found = read_page(PART_WATCHED, GOOD | {"rows": [row, GOOD["rows"][0]]})
    assert 1 <= len(found.watched) <= 2
    member = Member()
    for each in found.watched:
        member.engine.registry.take(each, member.now, member.now, member.out)
    member.jump(30.0)


@pytest.mark.parametrize(
    "odd",
    [
        {}, [], None, {**GOOD, "rows": None}, {**GOOD, "rows": [GOOD["rows"][0]] * (ROWS_MAX + 1)},
        {**GOOD, "end": "1"}, {**GOOD, "removals": 1.5}, {key: GOOD[key] for key in GOOD if key != "whole"},
        *({**GOOD, "words": odd} for odd in (None, 1, [], ["a", 1], ["a", 1, 1.0], ["a", None, 1], [1, 1, 1])),
    ],
)  # fmt: skip
def test_an_odd_answer_is_none(odd: Any) -> None:
    with pytest.raises(ODD):
        read_page(PART_WATCHED, odd)


@pytest.mark.parametrize("row", [None, [], ["w"], ["w", -1.0], ["", 1.0], [1, 1.0], ["w", "1"], ["w", 1e300]])
def test_an_odd_release_is_passed_over(row: Any) -> None:
    found = read_page(PART_RELEASED, GOOD | {"rows": [row, ["v", 2.0]]})
    assert found.released == [("v", 2.0)]


# -- which pages are asked for -------------------------------------------------------------------------


class Link:
    """The way to a member that is a bench, or answers what it is told to."""

    def __init__(self, other: Member | None) -> None:
        self.member = MemberRecord("other", "r", "", "", 0.0, 5.0)
        self.other = other
        self.is_up, self.times_up = True, 1
        self.asked: list[tuple[str, int]] = []
        self.answers: list[Any] = []
        self.answered: Any = None

    def registry(self, part: str, offset: int, answered: Any) -> bool:
        if self.is_up:
            self.asked.append((part, offset))
            self.answered = answered
        return self.is_up

    def answer(self, answer: Any = None) -> None:
        """What was asked for; or this."""
        answered, self.answered = self.answered, None
        part, offset = self.asked[-1]
        assert self.other is not None or answer is not None
        answered(self.other.page(part, offset) if answer is None and self.other is not None else answer)


class Reader:
    """A member that reads the registries of others."""

    def __init__(self, *links: Link) -> None:
        self.member = Member()
        self.now = 100.0
        self.whole = 0
        self.links: Any = {f"m{number}": link for number, link in enumerate(links, 2)}
        driver: Any = SimpleNamespace(engine=self.member.engine, now=self.member.now, out=self.member.out)
        self.driver = driver
        self.unknown: set[str] = set()
        """watchdogs of which an operator has said what the others may not know"""
        said: Any = SimpleNamespace(
            is_unknown=lambda name, words: name in self.unknown, was_told=lambda name, words: False
        )
        self.reading = RegistryReading(self.links, driver, 5.0, self._whole, said)
        self.turn()
        self.turn(1.1)  # what operators have said is everywhere by now

    def _whole(self, words: Words) -> None:
        self.whole += 1

    def turn(self, seconds: float = 0.0, *, has_words: bool = True) -> None:
        while seconds > 1.0:  # as the loop does
            self.turn(1.0, has_words=has_words)
            seconds -= 1.0
        self.now += seconds
        self.member.now += seconds
        self.driver.now = self.member.now
        self.reading.turn(self.now, has_words=has_words)


def whole(count: int) -> Member:
    member = Member()
    member.engine.registry.is_whole = True
    for number in range(count):
        member.feed(f"w-{number:04}", declaration=DECLARED)
    return member


def test_a_roll_is_read_page_by_page() -> None:
    link = Link(whole(2 * ROWS_MAX + 1))
    reader = Reader(link)
    for _ in range(4):
        assert reader.whole == 0
        link.answer()
    assert link.asked == [
        (PART_RELEASED, 0), (PART_WATCHED, 0), (PART_WATCHED, ROWS_MAX), (PART_WATCHED, 2 * ROWS_MAX)
    ]  # fmt: skip
    assert reader.whole == 1
    assert len(reader.member.engine) == 2 * ROWS_MAX + 1


def test_what_has_moved_up_is_read_too() -> None:
    """While a page is asked for, some of those before it are released."""
    other = whole(2 * ROWS_MAX)
    link = Link(other)
    reader = Reader(link)
    link.answer()
    link.answer()
    for number in range(10):
        other.say(Kind.RELEASE, f"w-{number:04}")
    while link.answered is not None:
        link.answer()
    assert {f"w-{number:04}" for number in range(10, 2 * ROWS_MAX)} <= {
        each.name for each in reader.member.engine.table
    }
    assert reader.whole == 1


def test_who_does_not_know_all_makes_nobody_whole() -> None:
    """It is read once, and then asked only whether it does."""
    other = Member()
    other.feed(declaration=DECLARED)
    link = Link(other)
    reader = Reader(link)
    link.answer()
    link.answer()
    assert reader.member.state() is State.ALIVE
    assert reader.whole == 0
    reader.turn(AGAIN_S)
    link.answer()
    reader.turn()
    assert [part for part, _ in link.asked] == [PART_RELEASED, PART_WATCHED, PART_RELEASED]
    other.engine.registry.is_whole = True
    reader.turn(AGAIN_S)
    link.answer()
    link.answer()
    assert reader.whole == 1


def test_it_is_read_again_when_something_may_have_been_missed() -> None:
    """Its connection was down, this process stood still, or much time has passed; not before."""
    link = Link(whole(1))
    reader = Reader(link)

    def reads() -> bool:
        before = len(link.asked)
        reader.turn()
        while link.answered is not None:
            link.answer()
        return len(link.asked) > before

    while link.answered is not None:
        link.answer()
    reader.turn(AGAIN_S + 1.0)
    assert not reads()
    link.times_up += 1
    assert reads()
    reader.turn(AGAIN_S + 1.0)
    assert not reads()
    reader.now += GAP_S + 0.1
    assert reads()
    reader.turn(EVERY_S - 1.0)
    assert not reads()
    reader.turn(1.0)
    assert link.answered is not None


def test_one_after_the_other() -> None:
    one, two = Link(whole(1)), Link(whole(1))
    reader = Reader(one, two)
    assert [bool(each.asked) for each in (one, two)] == [True, False]
    one.answer()
    one.answer()
    reader.turn()
    assert two.asked


def test_who_does_not_answer_is_asked_again_later() -> None:
    """It says nothing, nothing that is understood, or an answer that leads nowhere; an answer that comes late is
    not taken."""
    link = Link(whole(1))
    reader = Reader(link)
    late = link.answered
    reader.turn(PATIENCE_S - 0.5)
    assert len(link.asked) == 1
    reader.turn(1.0)
    assert len(link.asked) == 2
    late(link.other.page() if link.other is not None else None)
    assert len(link.asked) == 2
    link.answered(None)
    reader.turn(AGAIN_S)
    assert len(link.asked) == 3
    link.answered(Page([], [], -5, True, 0, True))
    reader.turn()
    assert len(link.asked) == 3
    reader.turn(AGAIN_S)
    for number in range(3):
        link.answered(Page([], [], 0, True, 10 - number, True))  # it is another run of it by each page
    assert len(link.asked) == 5
    assert reader.whole == 0


def test_nothing_is_asked_before_the_operators_words_are_here() -> None:
    link = Link(whole(1))
    reader = Reader()
    reader.reading._words_since = None
    reader.links["m2"] = link
    reader.turn(3.0, has_words=False)
    assert not link.asked
    assert reader.reading.patience(reader.now) > 0.0
    reader.turn()
    assert reader.reading.patience(reader.now) > 0.0
    reader.turn(1.1)
    assert link.asked


def test_a_word_that_others_may_not_have_yet_counts_more() -> None:
    """It was resumed a moment ago, and the other one has it paused."""
    other = whole(0)
    other.feed(declaration=DECLARED)
    other.say(Kind.PAUSE, "w", 0.0)
    link = Link(other)
    reader = Reader(link)
    reader.unknown.add("w")
    link.answer()
    link.answer()
    assert reader.member.state() is State.ALIVE
    member = Reader(Link(other))
    member.links["m2"].answer()
    member.links["m2"].answer()
    assert member.member.state() is State.PAUSED


def test_who_leads_leads_over_what_it_was_told() -> None:
    """A worker that fell silent before a member began, which leads now."""
    old, new = fed(seconds_ago=11.0), Member()
    new.reads(old)
    new.jump(0.0)
    new.engine.succession.lead([], new.now, new.out)
    assert new.engine.succession.gate.role is Role.LEADER
    new.jump(0.0)
    assert [each.name for each in new.out if type(each).__name__ == "Propose"] == ["w"]
    assert BOB.pid  # another process may still come and feed it
    new.feed(who=BOB, declaration=DECLARED)
    assert new.state() is State.ALIVE


def test_a_member_that_stood_still_compares_what_it_is_told_with_the_time_of_all() -> None:
    """Its deadline time lost six seconds since it heard the worker. The release, elsewhere and half a second
    later, was 10.5 s ago; by its own time the feed was five."""
    stood = fed()
    stood.engine.registry.note_stall(6.0, stood.now + 1.0)
    stood.now += 5.0
    drop = stood.engine.registry.drop
    drop("w", 11.1, stood.now, stood.now, stood.out)
    assert stood.state() is State.ALIVE, "it was fed after that"
    drop("w", 10.5, stood.now, stood.now, stood.out)
    assert stood.state() is None
    assert stood.engine.registry.age(stood.engine.table.released["w"], stood.now) == pytest.approx(10.5)
    other = fed()
    other.now += 9.0
    stood.reads(other)
    assert stood.state() is State.ALIVE, "there it was fed since"


@pytest.mark.parametrize("age", [0.0, 1.0, 3.0, 4.0, 6.9, 7.0, 9.5, 11.0, 30.0])
def test_when_something_was_by_the_time_of_all(age: float) -> None:
    """Two stops, of 4 s three seconds ago and of 2 s five seconds ago by its own time."""
    registry, now = Member().engine.registry, 100.0
    registry.note_stall(2.0, now - 5.0)
    registry.note_stall(4.0, now - 3.0)
    at = registry._at(age, now)
    in_a_stop = 3.0 < age <= 7.0 or 9.0 < age <= 11.0
    assert at in (now - 3.0, now - 5.0) if in_a_stop else registry.age(at, now) == pytest.approx(age)


def test_a_stop_between_question_and_answer_is_no_part_of_what_was_before() -> None:
    """What was released here 0.3 s before the question is not taken for older than a feed 0.5 s before it; and
    what was released elsewhere three seconds before is not told on as younger."""
    here = fed()
    here.jump(0.2)
    here.say(Kind.RELEASE)
    here.jump(0.3)
    (told,) = fed(seconds_ago=0.5).page().watched
    asked = here.now
    here.now += 0.01
    here.engine.registry.note_stall(2.0, here.now)
    here.engine.registry.take(told, asked, here.now, here.out)
    assert here.state() is None
    here.engine.registry.drop("other", 3.0, asked, here.now, here.out)
    assert here.engine.registry.age(here.engine.table.released["other"], asked) == pytest.approx(3.0)


def test_that_an_operator_has_released_it_is_not_forgotten_by_what_others_say() -> None:
    here, other = fed(), fed()
    for each in (here, other):
        each.engine.tell(Message(Kind.RELEASE, "w", None, 0.0, None), each.now, each.out)
        each.jump(1.0)
    here.reads(other)
    assert here.engine.table.released_by_operator == {"w"}
    here.feed(declaration=DECLARED)
    here.say(Kind.RELEASE)
    assert here.engine.table.released_by_operator == set()


def test_what_was_released_before_this_member_stood_still_is_told_as_older() -> None:
    """Also to a leader that asks for it by its name."""
    stood = fed()
    stood.say(Kind.RELEASE)
    stood.engine.registry.note_stall(6.0, stood.now + 1.0)
    stood.now += 1.0
    view: Any = SimpleNamespace(driver=SimpleNamespace(engine=stood.engine, now=stood.now))
    assert OPS["look"](view, {"names": ["w"]})["released"] == [["w", pytest.approx(7.0)]]


def test_a_member_that_stood_still_does_not_take_an_old_feed_for_a_new_one() -> None:
    """Its deadline time lost six seconds: what it was fed before is older than it seems, and was released since
    elsewhere; and what was released there is older than a feed that another one has heard since."""
    stood, other = fed(), fed()
    for each in (stood, other):
        each.jump(1.0)
    other.say(Kind.RELEASE)
    assert other.engine.get("w") is None
    stood.engine.registry.note_stall(6.0, stood.now)
    for each, seconds in ((stood, 1.0), (other, 7.0)):
        each.now += seconds
    other.reads(stood)
    assert other.engine.get("w") is None, "it was released after that feed"
    stood, other = fed(), fed()
    stood.jump(1.0)
    stood.say(Kind.RELEASE)
    stood.engine.registry.note_stall(6.0, stood.now + 1.0)
    stood.now += 1.0
    other.jump(4.0)
    other.feed()
    other.jump(3.5)
    other.reads(stood)
    assert other.engine.get("w") is not None, "it was fed after that release"
