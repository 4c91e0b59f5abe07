"""Log lines, written by a thread of their own: a pipe that nobody reads must not stop the loop."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable
from queue import Full, Queue
from typing import Any

QUEUE_MAX = 10_000

log = logging.getLogger("banken.supervisor")


class LogQueue:
    """Passes lines to the ``banken.supervisor`` logger; when its queue is full, they are counted instead."""

    def __init__(self) -> None:
        self.dropped = 0
        """lines that found no room"""
        self.fault: Callable[[Exception], None] = lambda fault: None
        """told, on the thread, what logging raised"""
        self._queue: Queue[tuple[int, str, dict[str, Any]] | None] = Queue(QUEUE_MAX)
        self._thread = threading.Thread(target=self._write, name="banken-log_queue", daemon=True)
        self._thread.start()

    def wants(self, level: int) -> bool:
        """Whether any handler writes lines of this level."""
        return log.isEnabledFor(level)

    def line(self, level: int, text: str, fields: dict[str, Any]) -> None:
        """Have one line written, soon. ``fields`` are for handlers that write structured logs."""
        if log.isEnabledFor(level):
            try:
                self._queue.put_nowait((level, text, fields))
            except Full:
                self.dropped += 1

    def close(self, wait: float = 1.0) -> None:
        """Write what is left, at most for ``wait`` seconds."""
        with contextlib.suppress(Full):  # full: nobody reads the log, and waiting for it would be in vain
            self._queue.put_nowait(None)
        self._thread.join(wait)

    def _write(self) -> None:
        told = 0
        while True:
            entry = self._queue.get()
            if entry is None:
                return
            level, text, fields = entry
            try:
                log.log(level, "%s", text, extra={"banken": fields})
                if self.dropped > told:
                    log.warning("%d log lines were dropped: the log is read too slowly", self.dropped - told)
                    told = self.dropped
            except Exception as fault:  # noqa: BLE001  # of a handler, or of a clock beyond all calendars
                self._unlogged(text, fault)

    def _unlogged(self, text: str, fault: Exception) -> None:
        """What logging could not write goes to stderr as it is; the thread goes on."""
        self.fault(fault)
        with contextlib.suppress(Exception):
            sys.stderr.write(f"{text}\n(logging failed: {type(fault).__name__}: {fault})\n")
