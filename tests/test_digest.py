"""Notifications to one target: a lone one is told soon, a storm in one message, and each notice exactly once."""

from __future__ import annotations

import random

import pytest

from banken_supervisor.engine import digest
from banken_supervisor.engine.digest import HOLD, HOLD_MAX, Fold, Limits


class Bench:
    """A fold and a clock that jumps from one due time to the next."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.fold: Fold[int] = Fold(limits or Limits())
        self.now = 100.0
        self.sent: list[tuple[float, list[int]]] = []

    def add(self, *notices: int, after: float = 0.0) -> None:
        self.until(self.now + after)
        for notice in notices:
            self.fold.add(notice, self.now)

    def until(self, when: float) -> None:
        while (due := self.fold.due()) is not None and due <= when:
            self.now = max(self.now, due)
            self.sent += [(self.now, message) for message in self.fold.take(self.now)]
        self.now = when

    def sizes(self) -> list[int]:
        self.until(self.now + 1000)
        return [len(message) for _, message in self.sent]


def test_a_lone_notice_goes_out_within_a_second() -> None:
    """And not before: others may come."""
    bench = Bench()
    bench.add(1)
    assert bench.fold.take(100.0 + HOLD - 0.001) == []
    bench.until(200.0)
    assert bench.sent == [(100.0 + HOLD, [1])]
    assert bench.fold.due() is None


def test_a_few_at_once_go_out_one_by_one_in_their_order() -> None:
    """As many as are allowed within the window."""
    bench = Bench()
    bench.add(*range(10))
    assert bench.sizes() == [1] * 10
    assert [message for _, message in bench.sent] == [[number] for number in range(10)]


def test_a_hundred_at_once_are_one_message() -> None:
    """Within the hold; the next lone one, long after, is told by itself again."""
    bench = Bench()
    bench.add(*range(100))
    assert bench.sizes() == [100]
    assert bench.sent[0][0] == 100.0 + HOLD
    bench.add(7)
    assert bench.sizes() == [100, 1]


def test_a_storm_that_grows_waits_for_more_but_not_for_long() -> None:
    """A hundred within 1.5 s are one message soon after; a storm without end has its first one at 2 s."""
    bench = Bench()
    for number in range(100):
        bench.add(number, after=0.015)
    assert bench.sizes() == [100]
    assert bench.sent[0][0] < 100.015 + HOLD_MAX
    endless = Bench()
    for number in range(1000):
        endless.add(number, after=0.01)
    assert endless.sent[0][0] == pytest.approx(100.01 + HOLD_MAX)


def test_in_a_storm_there_is_one_message_a_window() -> None:
    """Ten a second for a minute: about one message per five seconds, and none of the 600 is lost."""
    bench = Bench()
    for number in range(600):
        bench.add(number, after=0.1)
    assert sum(bench.sizes()) == 600
    assert 600 // 50 <= len(bench.sent) <= 14


def test_a_trickle_is_told_one_by_one_as_far_as_the_window_allows() -> None:
    """One a second is below ten in five seconds: each by itself. Four a second is not."""
    bench = Bench()
    for number in range(60):
        bench.add(number, after=1.0)
    assert bench.sizes() == [1] * 60
    busy = Bench()
    for number in range(240):
        busy.add(number, after=0.25)
    assert sum(busy.sizes()) == 240
    assert len(busy.sent) < 40


def test_without_a_window_nothing_waits() -> None:
    """Each at once, however many."""
    bench = Bench(Limits(0.0, 10))
    bench.add(*range(50))
    assert bench.fold.take(bench.now) == [[number] for number in range(50)]


def test_so_many_at_once_do_not_wait() -> None:
    """The memory of one fold is bounded."""
    bench = Bench()
    bench.add(*range(digest.NOTICES_MAX))
    assert [len(each) for each in bench.fold.take(bench.now)] == [digest.NOTICES_MAX]


def test_what_waits_at_the_end_is_told_at_once() -> None:
    """A few one by one, many folded; and then it may be forgotten."""
    bench = Bench()
    bench.add(1, 2)
    assert not bench.fold.idle(bench.now)
    assert bench.fold.flush() == [[1], [2]]
    bench.add(*range(30))
    assert bench.fold.flush() == [list(range(30))]
    assert bench.fold.idle(bench.now)


@pytest.mark.parametrize("seed", range(30))
def test_each_notice_is_told_once_in_order_and_no_target_is_flooded(seed: int) -> None:
    """Random storms and lulls: all there, none twice; the messages of any window are few; nobody waits for long."""
    chance = random.Random(seed)
    limits = Limits(chance.choice([0.5, 2.0, 5.0, 60.0]), chance.choice([1, 3, 10]))
    bench = Bench(limits)
    began = {}
    for number in range(500):
        bench.add(number, after=chance.choice([0.0, 0.0, 0.01, 0.2, 3.0]) * chance.random())
        began[number] = bench.now
    bench.until(bench.now + 1000)
    assert [notice for _, message in bench.sent for notice in message] == list(range(500))
    for when, message in bench.sent:
        assert all(when - began[notice] <= max(limits.window, HOLD_MAX) + 1e-9 for notice in message)
        near = [at for at, _ in bench.sent if when <= at < when + limits.window]
        assert len(near) <= limits.most + 2
    assert bench.fold.idle(bench.now)
