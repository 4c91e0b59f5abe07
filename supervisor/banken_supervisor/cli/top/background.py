"""The thread that reads files: the thread that draws never waits for a disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

END_S = 1.0
"""Seconds that the end waits for the thread; a file on a slow disk is not waited for longer."""


class FileThread(threading.Thread):
    """Does jobs that wait for a disk, one after the other. Of jobs of one kind only the newest waits."""

    def __init__(self, done: Callable[[Callable[[], None]], None]) -> None:
        super().__init__(name="banken-top-files", daemon=True)
        self._done = done
        self._jobs: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {}
        self._changed = threading.Condition()
        self._closing = False

    def ask(self, kind: str, job: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Have ``job`` done soon on this thread, and ``then(its result)`` by way of ``done``.

        ``then`` gets the exception where the job raised one.
        """
        with self._changed:
            self._jobs[kind] = job, then
            self._changed.notify()

    def close(self) -> None:
        """End it after the job that is under way."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self.join(END_S)

    def run(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                job, then = self._jobs.pop(next(iter(self._jobs)))
            result: Any
            try:
                result = job()
            except Exception as fault:  # noqa: BLE001  (whoever asked shows it)
                result = fault
            self._done(partial(then, result))
