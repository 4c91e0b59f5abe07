"""Letters to the loop: none is lost, and none lies there without a ring, whatever two threads do at one moment."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from banken_supervisor.mailbox import Mailbox


@pytest.fixture
def box() -> Iterator[Mailbox]:
    """A mailbox that is closed afterwards."""
    made = Mailbox()
    yield made
    made.close()


def rings(box: Mailbox, seconds: float = 0.0) -> bool:
    """Whether the loop would be woken."""
    return bool(select.select([box.fileno()], [], [], seconds)[0])


class Meddling:
    """The reading end, with something that happens just before, or just after, it is read."""

    def __init__(self, inner: Any, before: Callable[[], None] | None, after: Callable[[], None] | None) -> None:
        self._inner, self._before, self._after = inner, before, after

    def recv(self, size: int) -> bytes:
        before, after, self._before, self._after = self._before, self._after, None, None
        if before:
            before()
        try:
            return self._inner.recv(size)
        finally:
            if after:
                after()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_letters_come_in_order_and_once(box: Mailbox) -> None:
    """Three letters, one ring; then silence."""
    for letter in "abc":
        box.post(letter)
    assert rings(box)
    assert box.take() == ["a", "b", "c"]
    assert not rings(box)
    assert box.take() == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_letter_that_is_posted_while_others_are_taken_does_not_silence_the_bell(box: Mailbox, when: str) -> None:
    """Posted around the moment when the bell is read: it is taken, and the next letter rings."""

    def late() -> None:
        box.post("late")

    box.post("first")
    box._reader = Meddling(box._reader, late if when == "before" else None, late if when == "after" else None)  # type: ignore[assignment]
    taken = box.take()
    while rings(box):
        taken += box.take()
    assert taken == ["first", "late"]
    box.post("next")
    assert rings(box)
    assert box.take() == ["next"]


def test_a_ring_whose_letter_was_taken_already_is_silenced(box: Mailbox) -> None:
    """A thread that was interrupted between its letter and its ring: the loop is woken once for nothing, and does
    not spin."""
    box._writer.send(b"!")
    assert rings(box)
    assert box.take() == []
    assert not rings(box)


def test_threads_that_post_at_once_are_all_heard(box: Mailbox) -> None:
    """Four threads post, in bursts; every letter arrives while the reader only ever waits for a ring."""
    each = 5_000

    def hammer(number: int) -> None:
        for count in range(each):
            box.post((number, count))

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    found: list[tuple[int, int]] = []
    while len(found) < 4 * each and rings(box, 10.0):
        found += box.take()
    for thread in threads:
        thread.join()
    assert len(found) == 4 * each
    for number in range(4):
        assert [count for who, count in found if who == number] == list(range(each))
