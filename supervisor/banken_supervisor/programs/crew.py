"""Threads for work that may take long: starting a process, writing a small file, looking through /proc.

Jobs of one key are done one after the other in the order in which they came; those of different keys side by side,
at most ``THREADS_MAX`` at once. The threads are daemons: a disk that hangs holds up nobody's end.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

THREADS_MAX = 8

_log = logging.getLogger("banken.programs")


class Crew:
    """The threads. A thread is made when there is work and none is idle."""

    def __init__(self, threads_max: int = THREADS_MAX) -> None:
        self._threads_max = threads_max
        self._jobs: dict[str, deque[Callable[[], None]]] = {}
        """by key; a key stays while a thread works on it"""
        self._ready: deque[str] = deque()
        """keys that wait for a thread"""
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._closed = False

    def do(self, key: str, job: Callable[[], None]) -> None:
        """Have ``job`` done after all earlier ones of ``key``. It must not raise; if it does, that is logged."""
        with self._changed:
            if self._closed:
                return
            waiting = self._jobs.get(key)
            if waiting is not None:
                waiting.append(job)
                return
            self._jobs[key] = deque((job,))
            self._ready.append(key)
            if self._idle < len(self._ready) and self._threads < self._threads_max:
                self._threads += 1
                threading.Thread(target=self._work, name="banken-programs", daemon=True).start()
            self._changed.notify()

    def close(self, wait: float) -> bool:
        """Take no more; wait at most ``wait`` seconds for what was taken. Whether all of it is done."""
        deadline = monotonic() + wait
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while self._jobs and (left := deadline - monotonic()) > 0:
                self._changed.wait(left)
            return not self._jobs

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._ready:
                    if self._closed:
                        self._idle -= 1
                        self._threads -= 1
                        return
                    self._changed.wait()
                self._idle -= 1
                key = self._ready.popleft()
                job = self._jobs[key][0]
            try:
                job()
            except BaseException:  # noqa: BLE001  # the thread serves other programs too
                _log.exception("a job for the program %s failed", key)
            with self._changed:
                jobs = self._jobs[key]
                jobs.popleft()
                if jobs:
                    self._ready.append(key)
                else:
                    del self._jobs[key]
                self._changed.notify_all()
