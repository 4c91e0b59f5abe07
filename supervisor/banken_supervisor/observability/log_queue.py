"""Log lines, written by a separate thread: a full pipe must not block the loop."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable
from queue import Full, Queue
from typing import Any

QUEUE_MAX = 10_000
QUEUE_TEXT_MAX = 1_000_000
"""Lines that wait, and their characters in all, each of which takes up to four bytes."""

log = logging.getLogger("banken.supervisor")


class LogQueue:
    """Passes lines to the ``banken.supervisor`` logger; when its queue is full, drops and counts them."""

    def __init__(self) -> None:
        self.dropped = 0
        """lines dropped because the queue, or its text, was full"""
        self.fault: Callable[[Exception], None] = lambda fault: None
        """called on the log thread with an exception that logging raised"""
        self._queue: Queue[tuple[int, str, dict[str, Any]] | None] = Queue(QUEUE_MAX)
        self._length = 0
        """characters in it"""
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._write, name="banken-log_queue", daemon=True)
        self._thread.start()

    def wants(self, level: int) -> bool:
        """Whether any handler writes lines of this level."""
        return log.isEnabledFor(level)

    def line(self, level: int, text: str, fields: dict[str, Any]) -> None:
        """Queue one line. ``fields`` are for handlers that write structured logs."""
        if log.isEnabledFor(level):
            try:
                if self._length and self._length + len(text) > QUEUE_TEXT_MAX:
                    raise Full
                self._queue.put_nowait((level, text, fields))
                self._add(len(text))
            except Full:
                self.dropped += 1

    def _add(self, length: int) -> None:
        with self._lock:
            self._length += length

    def close(self, wait: float = 1.0) -> None:
        """Write the queued lines, for at most ``wait`` seconds."""
        with contextlib.suppress(Full):  # full: the log is not read, so waiting is useless
            self._queue.put_nowait(None)
        self._thread.join(wait)

    def _write(self) -> None:
        reported = 0
        text = ""
        while True:
            try:
                entry = self._queue.get()
                if entry is None:
                    return
                level, text, fields = entry
                self._add(-len(text))
                log.log(level, "%s", text, extra={"banken": fields})
                if self.dropped > reported:
                    log.warning("%d log lines were dropped: the log is read too slowly", self.dropped - reported)
                    reported = self.dropped
            except Exception as fault:  # noqa: BLE001  # of a handler; a clock outside the calendar; no memory
                self._write_to_stderr(text, fault)

    def _write_to_stderr(self, text: str, fault: Exception) -> None:
        """Write a line that logging could not write to stderr; the thread goes on."""
        self.fault(fault)
        with contextlib.suppress(Exception):
            sys.stderr.write(f"{text}\n(logging failed: {type(fault).__name__}: {fault})\n")
