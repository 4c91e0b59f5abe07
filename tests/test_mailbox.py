"""Messages to the loop: none is lost, and none lies there without a ring, whatever two threads do at one moment."""

from __future__ import annotations

import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from banken_supervisor.runtime import mailbox as module
from banken_supervisor.runtime.mailbox import Feeds, Mailbox


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
    """Three messages, one ring; then silence."""
    for message in "abc":
        box.post(message)
    assert rings(box)
    assert box.take() == ["a", "b", "c"]
    assert not rings(box)
    assert box.take() == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_letter_that_is_posted_while_others_are_taken_does_not_silence_the_bell(box: Mailbox, when: str) -> None:
    """Posted around the moment when the bell is read: it is taken, and the next message rings."""

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
    """A thread that was interrupted between its message and its ring: the loop is woken once for nothing, and does
    not spin."""
    box._writer.send(b"!")
    assert rings(box)
    assert box.take() == []
    assert not rings(box)


def test_threads_that_post_at_once_are_all_heard(box: Mailbox) -> None:
    """Four threads post, in bursts; every message arrives while the reader only ever waits for a ring."""
    each = 5_000

    def hammer(number: int) -> None:
        for count in range(each):
            box.post((number, count))

    threads = [threading.Thread(target=hammer, args=(number,), daemon=True) for number in range(4)]
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


def test_feeds_that_wait_are_one_each_and_keep_their_place_among_the_messages(box: Mailbox) -> None:
    """A thousand of the same are one; what tells of the same thing is replaced by the newer; a message divides."""
    for _ in range(1000):
        assert box.feed(b"a")
        assert box.feed(b"b")
    box.feed(b"p1", ("a", True, False))
    box.feed(b"s1", ("a", False, True))
    box.feed(b"p2", ("a", True, False))
    assert rings(box)
    box.post("message")
    box.feed(b"a")
    assert box.take() == [Feeds([b"a", b"b", b"s1", b"p2"]), "message", Feeds([b"a"])]
    assert box.take() == []


def test_a_full_mailbox_refuses_what_users_say_and_nothing_else(
    box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted, and told in one line now and then; when it was emptied there is room again."""
    monkeypatch.setattr(module, "MESSAGES_MAX", 3)
    monkeypatch.setattr(module, "FEEDS_MAX", 2)
    assert [box.try_post(number) for number in range(5)] == [True, True, True, False, False]
    box.post("result")
    assert [box.feed(bytes([number])) for number in range(4)] == [True, True, False, False]
    assert box.feed(bytes([0])), "it waits already"
    box.post("stop")
    assert box.take() == [0, 1, 2, "result", Feeds([b"\x00", b"\x01"]), "stop"]
    assert box.refused == 4
    assert "4 messages" in (box.refusal_report(100.0) or "")
    assert box.refusal_report(200.0) is None
    assert [box.try_post(number) for number in range(4)] == [True, True, True, False]
    assert (box.refusal_report(300.0) or "").startswith("1 message of "), "one is not 'messages'"
    box.take()
    assert box.try_post("again")
    assert box.feed(b"again")


def test_no_feed_is_lost_between_two_takes(box: Mailbox) -> None:
    """After each call of ``feed``, a take that begins later has it: or an earlier one had it that ended later."""
    taken_until = [0]
    stop = threading.Event()
    seen: dict[bytes, int] = {}

    def loop() -> None:
        while not stop.is_set():
            number = taken_until[0]
            for message in box.take():
                for frame in message.frames:
                    seen[frame] = number
            taken_until[0] = number + 1

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    taker = threading.Thread(target=loop, daemon=True)
    taker.start()
    try:
        for number in range(3000):
            frame = b"%d" % (number % 3)
            before = taken_until[0]
            box.feed(frame)
            end = time.monotonic() + 10
            while seen.get(frame, -1) < before:
                assert time.monotonic() < end, "it was lost"
                time.sleep(0)
    finally:
        stop.set()
        taker.join()
        sys.setswitchinterval(interval)


def test_a_signal_handler_may_post_and_feed_whatever_it_interrupts(box: Mailbox) -> None:
    """A signal every 50 microseconds while the same thread posts, feeds and takes: nothing hangs or is lost."""
    posted, found = [0], 0

    def handler(*_: object) -> None:
        box.post("signal")
        box.feed(b"signal")
        posted[0] += 1

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.00005)
    try:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            box.feed(b"own")
            box.post("own")
            found += box.take().count("signal")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    found += box.take().count("signal")
    assert posted[0] > 100
    assert found == posted[0]
