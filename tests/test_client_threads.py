"""A client that many threads use for the first time at once: one socket, one listener."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from banken.client import Client, zmq_client
from banken.client.callback_listener import CallbackListener
from banken.client.sender import Sender

THREADS = 8
ROUNDS = 60


@pytest.mark.parametrize("what", ["feeds", "declares"])
def test_the_first_use_from_several_threads_makes_one_socket(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 rounds of 8 threads that begin at one moment, switched every 10 microseconds."""
    made: list[object] = []

    class CountedSender(Sender):
        def _open(self):  # type: ignore[no-untyped-def]
            if self._socket is None:
                made.append(self)
            return super()._open()

    class CountedListener(CallbackListener):
        def __init__(self, *args: Any) -> None:
            made.append(self)
            super().__init__(*args)

    monkeypatch.setattr(zmq_client, "Sender", CountedSender)
    monkeypatch.setattr("banken.client.callback_listener.CallbackListener", CountedListener)
    monkeypatch.setattr("banken.client.sender.FIRST_WAIT", 0.0)
    monkeypatch.setenv("BANKEN_ADDRESS", str(tmp_path / "a"))
    interval = sys.getswitchinterval()
    several = 0
    for _ in range(ROUNDS):
        made.clear()
        client = Client()
        begin = threading.Barrier(THREADS)

        def use(number: int, client: Client = client, begin: threading.Barrier = begin) -> None:
            begin.wait()
            if what == "feeds":
                client.feed(f"w{number}")
            else:
                client.watchdog(f"w{number}", callback=lambda: None)

        threads = [threading.Thread(target=use, args=(number,), daemon=True) for number in range(THREADS)]
        sys.setswitchinterval(1e-5)
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        client.close()
        several += len(made) > (1 if what == "feeds" else 2)
    assert several == 0, f"several in {several} of {ROUNDS} rounds"
