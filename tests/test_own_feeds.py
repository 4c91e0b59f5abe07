"""Watchdogs of the supervisor's own process, fed as fast as Python can: memory, order, a full queue."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from banken.errors import Refused
from banken_supervisor import Supervisor
from banken_supervisor.runtime import mailbox as module
from recovery_kit import until


def _resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def test_feeding_as_fast_as_possible_keeps_the_queue_and_the_memory_small(tmp_path: Path) -> None:
    """Three threads feed three watchdogs for 3 s, plain and with progress: no message each; stopping stays
    quick."""
    with Supervisor(tmp_path / "a") as supervisor:
        dogs = [supervisor.watchdog(f"w{number}", timeout=30) for number in range(3)]
        for dog in dogs:
            dog.feed()
        until(lambda: supervisor._loop is not None and len(supervisor._loop.driver.engine) == 3, "they are known")
        before, end = _resident_mb(), time.monotonic() + 3.0
        most, fed = 0, [0, 0, 0]

        def feed(number: int) -> None:
            port = supervisor._client
            while time.monotonic() < end:
                dogs[number].feed()
                port.feed(f"w{number}", progress=fed[number])
                fed[number] += 2

        threads = [threading.Thread(target=feed, args=(number,), daemon=True) for number in range(3)]
        for thread in threads:
            thread.start()
        while time.monotonic() < end:
            most = max(most, len(supervisor._mailbox._messages))
            time.sleep(0.01)
        for thread in threads:
            thread.join()
        grown = _resident_mb() - before
        print(f"{sum(fed)} feeds, at most {most} messages, {grown:+.1f} MB")
        assert sum(fed) > 10_000
        assert most <= 10
        assert grown <= 20
        began = time.monotonic()
    assert time.monotonic() - began < 2.0


def test_words_and_feeds_of_one_thread_keep_their_order(tmp_path: Path) -> None:
    """Failed, then fed: it has recovered. Fed, then failed: it has failed. Fed, then released: it is gone."""
    with Supervisor(tmp_path / "a") as supervisor:
        port = supervisor._client
        assert supervisor._loop is not None
        read, go_on = threading.Event(), threading.Event()
        supervisor._mailbox.post(lambda: (read.set(), go_on.wait(10)))  # so that all of it is read in one turn
        assert read.wait(10)
        for number in range(50):
            fed_last, failed_last = f"a{number}", f"b{number}"
            for name in (fed_last, failed_last):
                supervisor.watchdog(name, timeout=30)
                port.feed(name)
            port.fail(fed_last, "x")
            port.feed(fed_last)
            port.feed(failed_last)
            port.fail(failed_last, "x")
            port.feed("gone")
            port.release("gone")
        go_on.set()

        def state(name: str) -> object:
            assert supervisor._loop is not None
            dog = supervisor._loop.driver.engine.get(name)
            return None if dog is None else dog.state.value

        until(lambda: state("b49") == "expired" and state("gone") is None, "all are read")
        assert {state(f"a{number}") for number in range(50)} == {"alive"}
        assert {state(f"b{number}") for number in range(50)} == {"expired"}
        assert state("gone") is None
        assert state("gone") is None


def test_a_full_queue_is_said_to_who_fills_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it runs nobody reads: the declaration that finds no room is refused, a release answers False. Then all
    that was taken is in force."""
    monkeypatch.setattr(module, "MESSAGES_MAX", 100)
    supervisor = Supervisor(tmp_path / "a")
    for number in range(100):
        supervisor.watchdog(f"w{number}", timeout=30)
    with pytest.raises(Refused, match="messages wait"):
        supervisor.watchdog("too-many", timeout=30)
    assert not supervisor._client.release("w0")
    with supervisor:
        until(
            lambda: supervisor._loop is not None and len(supervisor._loop.driver.engine) == 100, "all are in force"
        )
        supervisor.watchdog("again", timeout=30)
