"""Releases that the supervisor may not have read: which are kept, and when they are said again."""

from __future__ import annotations

from math import inf

import pytest

from banken.client.releases import KEPT_MAX, KEPT_S, LOOK_S, Releases
from banken.errors import Refused
from banken.protocol.messages import Kind
from banken.testing import Recorder


class Supervisors:
    """One after another; ``heard`` by the one that is there."""

    def __init__(self) -> None:
        self.now, self.there, self.takes = 100.0, 1, True
        self.heard: list[bytes] = []
        self.releases = Releases(lambda: self.there or None)

    def release(self, name: str, *, sent: bool = True) -> None:
        self.releases.add(name, name.encode(), self.now, sent=sent)

    def feed(self, name: str = "worker", after: float = LOOK_S) -> list[bytes]:
        """What is said before a feed, so many seconds later."""
        self.now += after
        self.heard = []
        self.releases.before_message(name, self.now, self._take)
        return self.heard

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
    assert one.releases.due == one.now + LOOK_S
    one.feed(after=KEPT_S)
    assert one.releases.due == inf


def test_at_the_end_of_the_process_what_this_supervisor_was_not_sent_is_left(one: Supervisors) -> None:
    one.release("a")
    one.release("b", sent=False)
    assert one.releases.unread() == [b"b"]
    one.there = 2
    assert one.releases.unread() == [b"b", b"a"]


def test_a_client_keeps_what_it_fed_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says it before any message, by whatever handle."""
    now, there = [100.0], [1]
    monkeypatch.setattr("banken.client.base_client.monotonic", lambda: now[0])
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
