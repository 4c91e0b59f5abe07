"""The journal's one writer: the loop queues entries, and a thread writes many of them in one transaction.

No fault of the disk reaches the loop: what cannot be written waits, within a bound, and is tried again. A file
that is damaged, or of another schema, is moved aside and a new one begun. ``state`` says how well the journal
writes, and ``changed`` is called at each change of that.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable
from time import monotonic
from typing import Any

from banken.clock import wall
from banken_supervisor.journal import schema
from banken_supervisor.journal.condition import Condition
from banken_supervisor.journal.entries import Entry, Rank
from banken_supervisor.journal.journal_file import JournalProcessEnded, OpenFile, Place, ThisProcess
from banken_supervisor.journal.open_files import OpenFiles
from banken_supervisor.journal.reading import Restored
from banken_supervisor.journal.retention import Limits
from banken_supervisor.journal.schema import JournalRefused
from banken_supervisor.journal.store import JournalLock
from banken_supervisor.journal.write_faults import POISON, kind_of
from banken_supervisor.journal.write_queue import WriteQueue

BATCH_MAX = 5_000
"""Entries in one transaction."""

BATCH_BYTES_MAX = 8 * 1024 * 1024
"""A transaction takes no more entries after so many bytes."""

RETRY_MIN, RETRY_MAX = 0.05, 5.0
"""Seconds before the next attempt after a failure; doubling."""

STEADY_S = 60.0
"""Seconds for which the end of a process that had the file open counts: if another one ends within them, the next
attempt waits longer, though there were commits between."""

LAST_ATTEMPT_S = 1.0
"""Seconds that an attempt which is under way at the end may take."""

JOIN_S = 0.05
"""Seconds of one look at the end of the thread."""

REASON_MAX = 500
"""Longest reason, in characters."""


class Journal:
    """The writer. ``record`` belongs to one thread (the loop's); all else may be called from any.

    ``run`` marks this run's events; it is the engine's run id, which sorts by age.
    ``place``: where it opens the file. ``restores``: it reads first what the last supervisor left.
    ``committed`` and ``changed`` are called from the writer's thread, with the highest ticket that is on disk and
    with each new condition.
    """

    def __init__(
        self,
        path: str,
        run: str,
        *,
        committed: Callable[[int], None] = lambda ticket: None,
        changed: Callable[[Condition], None] = lambda condition: None,
        limits: Limits | None = None,
        place: Place = ThisProcess(),  # noqa: B008  # it has no state
        restores: bool = False,
    ) -> None:
        self._limits = limits = limits or Limits()
        self.path = path
        self.condition = Condition("opening", since=wall())
        self.durable = 0
        """the highest ticket that is on disk"""
        self._run = run
        self._committed = committed
        self._changed = changed
        self._queue = WriteQueue(limits.queue_max, limits.queue_bytes_max)
        self._place = place
        self._left: Restored | None = None if restores else Restored()
        """None: it is being read"""
        self._lock: JournalLock | None = None
        self._file: OpenFile | None = None
        self._files: OpenFiles | None = None
        """while that is open: what became of its files"""
        self._failures = 0
        """in a row"""
        self._ended_at = -math.inf
        """when the process that had the file open ended, monotonic time"""
        self._settled = 0
        """the last ticket when the queue was empty: entries up to it are on disk, or were dropped"""
        self._aside: str | None = None
        """where an unusable file was moved"""
        self._aside_for = ""
        self._resync = False
        self._registry_dropped = 0
        self._refused = 0
        self._refusal = ""
        self._kept = 0
        """incidents that were in the file when it was last written"""
        self._last_commit: float | None = None
        self._size = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._ended = False
        """nothing is written any more"""
        self._deadline = 0.0
        self._thread = threading.Thread(target=self._work, name="banken-journal", daemon=True)
        self._thread.start()

    def record(self, entry: Entry) -> int | None:
        """Write one entry soon; its ticket. None: it was dropped and counted: no room, or the journal is closed.

        Never blocks and touches no disk. A ticket is durable once ``committed`` was called with it or a higher one.
        """
        if self._ended:
            self._queue.refuse(entry)
            return None
        ticket = self._queue.put(entry)
        if not self._wake.is_set():  # the check costs less than set()
            self._wake.set()
        return ticket

    def state(self) -> dict[str, Any]:
        """What ``status`` shows. Sizes in bytes; times wall clock."""
        condition = self.condition
        return {
            "state": condition.state,
            "reason": condition.reason,
            "since": condition.since,
            "path": self.path,
            "queued": len(self._queue),
            "queued_bytes": self._queue.bytes,
            "dropped": {rank.name.lower(): self._queue.dropped[rank] for rank in Rank},
            "refused": self._refused,
            "refusal": self._refusal,
            "last_commit": self._last_commit,
            "lag": self._queue.lag(),
            "size": self._size,
            "moved_aside": self._aside,
        }

    def has_moved(self) -> bool:
        """Whether the path no longer leads to the file that is written, as far as that can be seen, or a new one is
        about to be written; the writer notices with its next batch, and tells then. Asks the system for the file:
        not for the loop, but at its end."""
        files = self._files
        with contextlib.suppress(OSError):
            return self._resync or (files is not None and files.moved())
        return False

    @property
    def queued(self) -> int:
        """Entries that wait."""
        return len(self._queue)

    def left(self) -> Restored:
        """What the last supervisor left, once that is read; it is handed over, and not kept here."""
        while self._left is None and self._thread.is_alive():
            time.sleep(0.002)
        left, self._left = self._left, Restored()
        return left or Restored(problems=["the journal's thread has ended"], was_read=False)

    def flush(self, wait: float) -> bool:
        """Wait at most ``wait`` seconds until all that was recorded is on disk. Not for the loop."""
        last, deadline = self._queue.last, monotonic() + wait
        while max(self.durable, self._settled) < last and monotonic() < deadline:
            time.sleep(0.002)
        return max(self.durable, self._settled) >= last

    def close(self, wait: float = 2.0) -> bool:
        """Write what is left, for at most ``wait`` seconds and the attempt that is under way then. False: not all
        was written."""
        self._deadline = monotonic() + wait
        self._closing.set()
        self._wake.set()
        for _ in range(math.ceil((wait + LAST_ATTEMPT_S) / JOIN_S)):  # a process that is stopped loses one of them
            self._thread.join(JOIN_S)
            if not self._thread.is_alive():
                break
        self._ended = True
        return not self._thread.is_alive() and not self._queue

    # -- the writer's thread --------------------------------------------------------------------------

    def _work(self) -> None:
        is_last = False
        if self._left is None:
            self._left = self._restored()
        while not self._closing.is_set() or (self._queue and (not is_last or monotonic() < self._deadline)):
            is_last = self._closing.is_set()  # one attempt is made in any case: the process may have been stopped
            try:
                self._turn()
            except Exception as fault:  # noqa: BLE001  (after any fault this thread tries again)
                try:
                    self._failed(fault)
                except Exception as again:  # noqa: BLE001  (also after one of that)
                    self._report(Condition("failing", f"{fault}; then: {again}"[:REASON_MAX], wall()))
                    self._closing.wait(RETRY_MAX)
        self._close_file()
        self._place.end()

    def _restored(self) -> Restored:
        try:
            return self._place.restore(self.path)
        except Exception as fault:  # noqa: BLE001  (a supervisor waits for it)
            return Restored(problems=[str(fault) or type(fault).__name__])

    def _turn(self) -> None:
        """Write one batch, or delete something old, or wait."""
        if self._file is None or self._files is None:
            self._file, self._files = self._open()
            self._report_lost(self._kept - self._file.state.incidents)
            self._report_writing()
        elif self._files.moved():
            # Its log must not be taken for that of the file there now.
            with contextlib.suppress(OSError):
                schema.remove(f"{self.path}-wal", f"{self.path}-shm")
            self._close_file()
            held, self._kept, self._resync = self._kept, 0, True
            reason = f"{self.path} was moved or removed, with {_incidents(held)}; a new one is begun"
            self._report(Condition("failing", reason, wall()))
            return
        elif self._files.altered():
            # SQLite writes what it can save into the file; all of it is checked when it is opened again.
            self._file.close()
            self._file, self._resync = None, True
            return
        file, last = self._file, self._queue.last
        batch = self._queue.take(BATCH_MAX, BATCH_BYTES_MAX)
        if batch:
            self._write(file, self._files, batch)
        if file.state.tidy_at <= monotonic():
            file.tidy(monotonic())
            self._written(file, self._files)
            self._size = schema.size(self.path)
        elif not batch:
            if file.state.clock_at <= monotonic():
                file.write(())
                self._written(file, self._files)
            self._settled = last  # nothing more is written: whatever changes the files now is another process
            self._queue.settled()
            self._report_writing()
            self._size = schema.size(self.path)
            self._wake.wait(max(0.0, min(file.state.clock_at, file.state.tidy_at) - monotonic()))
            self._wake.clear()

    def _open(self) -> tuple[OpenFile, OpenFiles]:
        schema.check_trusted(self.path)
        if self._lock is None:
            if schema.foreign(self.path):
                raise JournalRefused(
                    f"{self.path} is no journal, and is left alone; name a file that does not exist yet"
                )
            self._lock = JournalLock(self.path)
        if os.path.exists(self.path):
            schema.check_regular(self.path)  # a pipe, or /dev/null, is empty too, and not ours to replace
        if not os.path.exists(self.path) or not schema.size(self.path):
            schema.begin(self.path)
        before = os.stat(self.path)
        return self._place.open(self.path, self._run, self._limits), OpenFiles(self.path, before)

    def _write(self, file: OpenFile, files: OpenFiles, batch: list[tuple[int, Entry]]) -> None:
        is_lost = True
        try:
            try:
                refused = file.write([entry for _, entry in batch])
            except POISON as fault:
                refused = [str(fault)] * len(batch)
            if files.moved():  # meanwhile: a file without a name is lost, though SQLite wrote to it
                return
            self._written(file, files)
            is_lost = False
        finally:
            if is_lost:
                self._queue.give_back(batch)
        if monotonic() > self._ended_at + STEADY_S:
            self._failures = 0
        self._last_commit = wall()
        self.durable = batch[-1][0]
        self._queue.written()
        self._call(self._committed, self.durable)
        if refused:
            self._refused += len(refused)
            self._refusal = refused[-1][:REASON_MAX]
        self._report_writing()

    def _written(self, file: OpenFile, files: OpenFiles) -> None:
        self._kept = file.state.incidents
        files.left()

    def _failed(self, fault: Exception) -> None:
        """Report it, move an unusable file aside, and wait before the next attempt."""
        kind = kind_of(fault)
        if self._file is not None and self._files is not None:
            self._file.rollback()
            with contextlib.suppress(OSError):  # the directory may be closed to us now
                self._files.left()  # what failed may have written something
            if isinstance(fault, JournalProcessEnded):
                self._resync = True  # what became of the files meanwhile was not seen
                self._ended_at = monotonic()
            if kind != "passing":
                self._file.close()
                self._file = None
        if kind == "read-only":
            with contextlib.suppress(OSError):
                kind = "other" if schema.sound_header(self.path) else "damaged"
        reason = str(fault)
        if not isinstance(fault, JournalRefused | JournalProcessEnded):
            reason = f"{getattr(fault, 'sqlite_errorname', type(fault).__name__)}: {fault}"
        reason = reason[:REASON_MAX]
        if kind == "damaged" and self._kept:
            reason += f"; it held {_incidents(self._kept)}"
        self._report(Condition("failing", reason, wall()))
        if kind == "damaged" or kind.startswith("schema-"):
            try:
                self._aside = schema.move_aside(self.path, kind)
            except OSError as again:
                self._report(Condition("failing", f"{reason}; and it cannot be moved aside: {again}", wall()))
            else:
                self._aside_for = reason
                self._kept, self._resync = 0, True
                if self._failures < 2:  # a disk that damages every file must not keep it busy
                    self._failures += 1
                    return
        pause = min(RETRY_MAX, RETRY_MIN * 2.0 ** min(self._failures, 16))
        self._failures += 1
        if self._closing.is_set():
            time.sleep(min(pause, max(0.0, self._deadline - monotonic())))
        else:
            self._closing.wait(pause)

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # -- what is reported -----------------------------------------------------------------------------

    def _report_lost(self, incidents: int) -> None:
        """The file was open before, and has fewer incidents than then."""
        if incidents > 0:
            what = f"{self.path} was cut or changed by another process; lost: {_incidents(incidents)}"
            self._report(Condition("failing", f"{what}; those that are open are written again", wall()))

    def _report_writing(self) -> None:
        """It writes: how well?"""
        dropped, lagging = self._queue.dropped[Rank.REGISTRY], self._queue.lagging
        state, reason = "ok", ""
        if lagging:
            count = sum(self._queue.dropped.values())
            state = "lagging"
            reason = f"{count} entries were dropped so far: they came faster than they could be written"
        elif self._aside is not None:
            state = "moved-aside"
            reason = f"a new journal was begun; the old one is now {self._aside}: {self._aside_for}"
        if state == self.condition.state and not self._resync and not (lagging and reason != self.condition.reason):
            return
        resync = not lagging and (self._resync or dropped > self._registry_dropped)
        if resync:
            self._resync = False
            self._registry_dropped = dropped
        self._report(Condition(state, reason[:REASON_MAX], wall(), resync))

    def _report(self, condition: Condition) -> None:
        before = self.condition
        self.condition = condition
        if condition.state != before.state or condition.resync:
            self._call(self._changed, condition)

    def _call(self, callback: Callable[[Any], None], what: int | Condition) -> None:
        """A callback that raises does not end the writer."""
        try:
            callback(what)
        except Exception as fault:  # noqa: BLE001
            self._refusal = f"a callback of the journal raised {type(fault).__name__}: {fault}"[:REASON_MAX]


def _incidents(count: int) -> str:
    return "1 incident" if count == 1 else f"{count} incidents"
