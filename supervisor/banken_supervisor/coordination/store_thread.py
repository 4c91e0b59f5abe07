"""A thread that asks the store, one question after the other, for a loop that must not wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from banken_supervisor.coordination.store import Away, Store

T = TypeVar("T")


class StoreThread:
    """``post`` has something done on the loop's thread."""

    def __init__(self, store: Store, post: Callable[[Callable[[], None]], None]) -> None:
        self._store, self._post = store, post
        self._jobs: deque[Callable[[], None]] = deque()
        self._wake = threading.Event()
        self._ends = False
        self._thread = threading.Thread(target=self._work, name="banken-store", daemon=True)

    def start(self) -> None:
        """RuntimeError: no thread is to be had."""
        self._thread.start()

    def ask(self, question: Callable[[Store], T], answered: Callable[[T | Away], None]) -> None:
        """Ask the store; ``answered`` is called on the loop's thread, with Away if there is no answer."""

        def job() -> None:
            try:
                answer: T | Away = question(self._store)
            except Away as away:
                answer = away
            self._post(lambda: answered(answer))

        self._jobs.append(job)
        self._wake.set()

    def close(self, wait: float) -> None:
        """End, after what was asked, in at most ``wait`` seconds."""
        self._ends = True
        self._wake.set()
        self._thread.join(wait)

    def _work(self) -> None:
        try:
            while True:
                self._wake.wait()
                self._wake.clear()
                while self._jobs:
                    self._jobs.popleft()()
                if self._ends:
                    return
        finally:
            self._store.close()
