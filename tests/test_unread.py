"""Words that the supervisor may not have read: which are kept, and when they are said again."""

from __future__ import annotations

import sys
from math import inf
from typing import Any

import pytest

from banken.client.unread import KEPT_MAX, KEPT_S, LOOK_S, UNSENT_MAX, Unread
from banken.errors import Refused
from banken.protocol.messages import Kind
from banken.testing import Recorder


class Supervisors:
    """One after another; ``heard`` by the one that is there."""

    def __init__(self) -> None:
        self.now, self.there, self.takes = 100.0, 1, True
        self.heard: list[bytes] = []
        self.words = Unread(lambda: self.there or None)

    def say(self, name: str, kind: Kind, seconds: float = inf, *, sent: bool = True) -> None:
        """A word whose bytes are its name, its kind and the seconds that are left of it."""
        what = name if kind is Kind.RELEASE else f"{name} {kind.name}"
        encode = lambda left: (what if left == inf else f"{what} {left:g}").encode()  # noqa: E731
        self.words.before_message(name, kind, self.now, self._take if sent else lambda _: False)
        self.words.add(name, kind, encode, self.now, sent=sent, seconds=seconds)

    def release(self, name: str, *, sent: bool = True) -> None:
        self.say(name, Kind.RELEASE, sent=sent)

    def feed(self, name: str = "worker", after: float = LOOK_S, kind: Kind = Kind.FEED) -> list[bytes]:
        """What is said before a feed, so many seconds later."""
        self.now += after
        self.heard = []
        self.words.before_message(name, kind, self.now, self._take)
        return self.heard

    def next(self) -> list[bytes]:
        """What the next supervisor hears, when it has been there for long enough."""
        self.there += 1
        assert self.feed() == []
        return self.feed()

    def _take(self, frame: bytes) -> bool:
        if self.takes:
            self.heard.append(frame)
        return self.takes


@pytest.fixture
def one() -> Supervisors:
    return Supervisors()


def test_it_is_said_again_to_another_supervisor_once(one: Supervisors) -> None:
    one.release("a")
    assert one.feed() == one.feed() == []
    one.there = 0
    assert one.feed() == one.feed() == []
    one.there = 2
    assert one.feed() == []  # the connection may still be to the one before
    assert one.feed(after=0.1) == []
    assert one.feed() == [b"a"]
    assert one.feed() == []
    one.there = 3
    assert one.feed() == []
    assert one.feed() == [b"a"]


def test_one_that_is_released_after_the_change_was_missed_is_not_lost(one: Supervisors) -> None:
    """The look was a moment before: it is said once too often, and not once too seldom."""
    one.release("a")
    one.there = 2
    one.release("b")
    assert one.feed() == []
    assert one.feed() == [b"a", b"b"]


def test_what_is_fed_again_is_not_released(one: Supervisors) -> None:
    one.release("a")
    one.release("b", sent=False)
    assert one.feed("a") == [b"b"]
    one.there = 2
    one.feed()
    assert one.feed() == [b"b"]


def test_one_that_is_not_taken_is_tried_with_the_next_message(one: Supervisors) -> None:
    one.release("a")
    one.there = 2
    one.feed()
    one.takes = False
    assert one.feed() == []
    one.takes = True
    assert one.feed() == [b"a"]


def test_it_is_kept_for_a_while_and_so_are_not_more_than_some(one: Supervisors) -> None:
    for number in range(KEPT_MAX + 1):
        one.release(str(number))
    one.there = 2
    one.feed()
    assert one.feed() == [str(number).encode() for number in range(1, KEPT_MAX + 1)]
    assert one.words.due == one.now + LOOK_S
    one.feed(after=KEPT_S)
    assert one.words.due == inf


def test_at_the_end_of_the_process_what_this_supervisor_was_not_sent_is_left(one: Supervisors) -> None:
    one.release("a")
    one.release("b", sent=False)
    assert one.words.unread(one.now) == [b"b"]
    one.there = 2
    assert one.words.unread(one.now) == [b"a", b"b"]


def test_a_pause_is_said_again_with_what_is_left_of_it_and_not_after_its_end(one: Supervisors) -> None:
    one.say("worker", Kind.PAUSE, 100.0)
    one.say("other", Kind.PAUSE)
    one.feed(after=60.0)
    assert one.next() == [b"worker PAUSE 39", b"other PAUSE"]
    one.feed(after=39.0)
    assert one.next() == [b"other PAUSE"]


@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        (Kind.FEED, ["PAUSE"]), (Kind.NOTE, ["PAUSE"]), (Kind.WORK, ["PAUSE"]), (Kind.RELEASE, []),
        (Kind.RESUME, ["FAIL"]), (Kind.PAUSE, ["FAIL"]), (Kind.FAIL, ["EXTEND", "PAUSE"]),
        (Kind.EXTEND, ["FAIL", "PAUSE"]), (Kind.DECLARE, ["EXTEND", "FAIL", "PAUSE"]),
    ],
)  # fmt: skip
def test_what_is_out_of_date_is_not_said_again(one: Supervisors, kind: Kind, kept: list[str]) -> None:
    """Whoever was fed again does not fail once more; a pause outlives feeds."""
    for each in (Kind.PAUSE, Kind.FAIL, Kind.EXTEND):
        one.say("w", each)
    one.feed("w", after=0.0, kind=kind)
    assert sorted(word.split()[1].decode() for word in one.next()) == kept


def test_words_of_one_name_keep_their_order(one: Supervisors) -> None:
    one.say("w", Kind.PAUSE)
    one.say("w", Kind.FAIL)
    one.say("w", Kind.RESUME)
    assert one.next() == [b"w FAIL", b"w RESUME"]


def test_one_that_no_supervisor_took_is_said_to_the_first_for_a_while(one: Supervisors) -> None:
    one.say("early", Kind.PAUSE, sent=False)
    one.say("late", Kind.FAIL, sent=False)
    assert one.feed() == [b"early PAUSE", b"late FAIL"]
    one.say("old", Kind.PAUSE, sent=False)
    assert one.feed(after=KEPT_S) == []
    assert one.words.due == inf


def test_while_no_supervisor_is_there_a_feed_costs_no_more_for_many_words(one: Supervisors) -> None:
    calls = []
    for number in range(UNSENT_MAX):
        one.say(str(number), Kind.PAUSE, sent=False)
    one.takes = False
    sys.setprofile(lambda frame, event, _: calls.append(frame) if event == "call" else None)
    try:
        one.feed()
    finally:
        sys.setprofile(None)
    assert len(calls) < 20
    one.takes = True
    assert len(one.feed()) == UNSENT_MAX


def test_only_what_allows_silence_is_said_without_a_message(one: Supervisors) -> None:
    one.say("w", Kind.RESUME)
    one.say("w", Kind.FAIL)
    assert one.words.look_s(one.now) == inf
    one.say("v", Kind.EXTEND, 60.0)
    assert one.words.look_s(one.now) == LOOK_S
    one.feed("v")
    assert one.words.look_s(one.now) == inf


class Told:
    """A client whose supervisor changes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.there = 100.0, 1
        for module in ("client.base_client", "client.unread", "watchdog.handle"):
            monkeypatch.setattr(f"banken.{module}.monotonic", lambda: self.now)
        monkeypatch.setattr(Recorder, "_place", lambda _: self.there)
        monkeypatch.setattr("banken.watchdog.work.teller.look", lambda *_: None)  # that thread has another clock
        self.client = Recorder()

    def next(self) -> list[tuple[Kind, tuple[Any, ...], int | None]]:
        """What another supervisor is told of "w" when another name is fed."""
        self.there += 1
        for _ in range(2):
            self.now += LOOK_S
            before = len(self.client.messages)
            self.client.feed("other")
        heard = self.client.messages[before:]
        return [(each.kind, each.args, each.number) for each in heard if each.name == "w"]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch)


def test_a_client_says_again_that_it_is_paused_under_the_same_number(told: Told) -> None:
    """Its feeds in the pause end nothing, and cost nothing more."""
    told.client.feed("w")
    told.client.pause("w", 60.0)
    first = told.client.messages[-1]
    assert first.number is not None
    assert first.number > 0
    told.client.feed("w")
    assert told.next() == [(Kind.PAUSE, (59.0,), -first.number)]
    told.client.resume("w")
    second = told.client.messages[-1]
    assert second.number == first.number + 1
    assert told.next() == [(Kind.RESUME, (), -second.number)]


def test_a_feed_ends_an_extension_and_a_failure_though_its_bytes_are_known(told: Told) -> None:
    told.client.feed("w")
    told.client.extend("w", 60.0)
    told.client.fail("w", "disk full")
    assert [each[:2] for each in told.next()] == [(Kind.EXTEND, (59.0,)), (Kind.FAIL, ("disk full",))]
    told.client.feed("w")
    told.client.feed("w")
    assert told.next() == []


def test_an_earlier_word_goes_before_a_later_one_whose_number_would_make_it_heard(told: Told) -> None:
    """Its pause has ended: without that the next supervisor, which knows of the pause, would only note the failure,
    and leave it paused for ever."""
    told.client.pause("w")
    told.client.resume("w")
    told.client.fail("w", "disk full")
    pause, resume, failure = (each.number or 0 for each in told.client.messages)
    assert pause < resume < failure  # the same supervisor is there: nothing is said again
    told.client.feed("w")
    told.there += 1
    told.client.fail("w", "disk full")
    assert [each.number for each in told.client.messages[4:]] == [-resume, failure + 1]


def test_who_names_no_process_says_nothing_again(told: Told) -> None:
    told.client = Recorder()
    told.client._anonymous = True
    told.client.pause("w")
    assert told.client.messages[-1].number is None
    assert told.next() == []


def test_a_client_keeps_what_it_fed_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says it before any message, by whatever handle."""
    now, there = [100.0], [1]
    monkeypatch.setattr("banken.client.base_client.monotonic", lambda: now[0])
    monkeypatch.setattr("banken.client.unread.monotonic", lambda: now[0])
    monkeypatch.setattr(Recorder, "_place", lambda self: there[0])
    sent = Recorder()
    sent.feed("a")
    dog = sent.watchdog("b", timeout=10)
    for name in ("a", "b", "not-mine"):
        sent.release(name)
    there[0] = 2
    for _ in range(2):
        now[0] += LOOK_S
        dog._timer._client._send_feed(dog._timer._state, now[0])  # a handle that was not stopped goes on
    assert sent.kinds("a") == [Kind.FEED, Kind.RELEASE, Kind.RELEASE]
    assert sent.kinds("b") == [Kind.DECLARE, Kind.RELEASE, Kind.FEED, Kind.FEED]
    assert sent.kinds("not-mine") == [Kind.RELEASE]
    with pytest.raises(Refused):
        sent.release("no name")
