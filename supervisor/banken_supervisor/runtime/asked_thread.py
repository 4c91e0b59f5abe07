"""A thread that does one thing once each time the loop asks: it may take long, and proves nothing by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from banken.threads import start_daemon


class AskedThread:
    """``do`` is called on the thread, ``end`` as the last thing there. Both report their faults themselves. The
    methods belong to the loop's thread."""

    def __init__(self, name: str, do: Callable[[], None], end: Callable[[], None] = lambda: None) -> None:
        self._name, self._do, self._end = name, do, end
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_busy = self._closing = False

    def ask(self) -> bool:
        """Have it done once. False: the last time has not ended, or the system gives no thread."""
        if self._thread is None:
            self._thread = start_daemon(self._work, self._name)
        if self._thread is None or self._is_busy:
            return False
        self._is_busy = True
        self._wake.set()
        return True

    def close(self, wait: float) -> None:
        """Do it no more. Waits at most so many seconds for the end."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(wait)

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._closing:
                self._end()
                return
            with suppress(Exception):  # the next time is independent of it
                self._do()
            self._is_busy = False
