"""Letters from many threads: none is lost, and none lies unread while nothing wakes the reader."""

from __future__ import annotations

import select
import sys
import threading
import time

import pytest

from banken_supervisor.mailbox import Mailbox

POSTERS = 4
LETTERS = 20_000


@pytest.fixture
def _switching_often() -> object:
    """Threads that interrupt each other in the middle of everything."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield None
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_switching_often")
def test_whoever_waits_for_the_descriptor_gets_every_letter() -> None:
    """Four threads post as fast as they can to a reader that takes only when the descriptor is readable: it never
    waits while letters lie there."""
    mailbox = Mailbox()

    def post() -> None:
        for number in range(LETTERS):
            mailbox.post(number)
            if number % 7 == 0:
                time.sleep(0)

    threads = [threading.Thread(target=post) for _ in range(POSTERS)]
    for thread in threads:
        thread.start()
    taken = 0
    while taken < POSTERS * LETTERS:
        assert select.select([mailbox.fileno()], [], [], 5.0)[0], f"asleep after {taken} letters"
        taken += len(mailbox.take())
    for thread in threads:
        thread.join(10)
    mailbox.close()


def test_it_is_quiet_when_all_is_read() -> None:
    """After the last letter the descriptor is not readable: the loop sleeps."""
    mailbox = Mailbox()
    mailbox.post("a")
    mailbox.post("b")
    assert mailbox.take() == ["a", "b"]
    assert not select.select([mailbox.fileno()], [], [], 0.0)[0]
    mailbox.post("c")
    assert select.select([mailbox.fileno()], [], [], 1.0)[0]
    assert mailbox.take() == ["c"]
    mailbox.close()
