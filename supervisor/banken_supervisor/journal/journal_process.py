"""A process for the journal's file (journal_runner.py): whatever SQLite meets there ends that process at most.

SQLite maps the journal's index into memory. Where another process cuts that file, to touch it is SIGBUS, which no
error handling sees. The next question then starts the process again.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Collection
from time import monotonic, sleep
from typing import Any

from banken_supervisor.engine.exit_status import exit_text
from banken_supervisor.journal import journal_runner
from banken_supervisor.journal.entries import Entry, IncidentRecord
from banken_supervisor.journal.journal_file import (
    FileState,
    JournalProcessEnded,
    JournalSettings,
    Place,
    ThisProcess,
)
from banken_supervisor.journal.reading import Restored
from banken_supervisor.journal.retention import Limits
from banken_supervisor.processes import own_modules

END_S = 1.0
"""Seconds that the process has to end in order; then it is killed."""

STOPPED_S = 1.0
"""Seconds without an answer after which it is continued: somebody may have stopped it."""

RESTORE_S = 5.0
"""Seconds for which it is asked again for what the last supervisor left, where it ends meanwhile, or cannot be
started: for a moment a host may have no room for another process."""

PAUSE_S = 0.05
"""Seconds between the first two of these attempts; doubling."""

PART = 1 << 20
"""Bytes of an answer that are read at once."""

UNSENDABLE = pickle.PicklingError, TypeError, AttributeError, ValueError, RecursionError
"""What pickle raises for what it cannot write."""


class JournalProcess:
    """``Place``: a process that is started when it is needed, on the thread that needs it."""

    def __init__(self) -> None:
        self._process: _Process | None = None

    def restore(self, path: str) -> Restored:
        """As ``reading.restore``."""
        until, pause = monotonic() + RESTORE_S, PAUSE_S
        while True:
            try:
                return self._running().ask("restore", path)  # type: ignore[no-any-return]
            except JournalProcessEnded as fault:
                if monotonic() + pause > until:
                    return Restored(problems=[str(fault)], was_read=False)
            sleep(pause)
            pause *= 2.0

    def find(self, path: str, *search: Any) -> list[IncidentRecord]:
        """As ``reading.find``, in a process for that alone: it may take long. JournalProcessEnded."""
        process = _Process()
        try:
            return process.ask("find", path, *search)  # type: ignore[no-any-return]
        finally:
            process.end()

    def open(self, path: str, run: str, limits: Limits) -> FileInProcess:
        """A journal, to be written there. It raises as ``schema.open_writing``; JournalProcessEnded."""
        process = self._running()
        return FileInProcess(process, process.ask("open", path, run, limits))

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.end()

    def _running(self) -> _Process:
        if self._process is None or self._process.has_ended:
            self._process = _Process()
        return self._process


class _Process:
    """One process. It ends with ``end``, with this process, and on Linux with the thread that made this."""

    def __init__(self) -> None:
        try:
            ours, its = socket.socketpair()
            with ours, its:
                # In a session of its own: Ctrl-C in a terminal is for the supervisor, which then ends it in order.
                self._process = subprocess.Popen(  # noqa: S603  # ourselves
                    own_modules.command(journal_runner.__name__, str(os.getpid())),
                    stdin=its.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    # It is found where this process was found.
                    env=own_modules.environment({"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}),
                )
                self._socket = socket.socket(fileno=ours.detach())
                self._socket.settimeout(STOPPED_S)
        except OSError as fault:
            raise JournalProcessEnded(f"the journal's process cannot be started: {fault.strerror}") from None
        self._how = ""
        """how it ended"""

    @property
    def has_ended(self) -> bool:
        """Whether that is known here."""
        return self._socket.fileno() < 0

    def ask(self, what: str, *args: Any) -> Any:
        """What this method of ``Runner`` returns, or raises, there. JournalProcessEnded; what pickle raises where
        the arguments cannot be sent."""
        question = pickle.dumps((what, args))
        try:
            self._send(question)
            is_raised, found = pickle.loads(self._receive())  # noqa: S301  # our own
        except (EOFError, OSError):
            self.end()
            raise JournalProcessEnded(f"the process that had it open: {self._how}") from None
        except BaseException:
            self.end()  # nobody knows where in an answer it is
            raise
        if is_raised:
            raise found
        return found

    # The form of multiprocessing's Connection, which is at the other end. It would wait here for as long as the
    # process is stopped: also in the middle of a long question or answer.

    def _send(self, question: bytes) -> None:
        rest = memoryview(struct.pack("!i", len(question)) + question)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except TimeoutError:
                self._process.send_signal(signal.SIGCONT)  # whoever may have stopped it

    def _receive(self) -> bytes:
        (size,) = struct.unpack("!i", self._exactly(4))
        if size < 0:
            (size,) = struct.unpack("!Q", self._exactly(8))
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            try:
                part = self._socket.recv(min(size - len(found), PART))
            except TimeoutError:
                self._process.send_signal(signal.SIGCONT)
                continue
            if not part:
                raise EOFError
            found += part
        return bytes(found)

    def end(self) -> None:
        """End it, if it has not ended."""
        if self.has_ended:
            return
        self._socket.close()
        self._process.send_signal(signal.SIGCONT)
        try:
            status = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._how = exit_text(status)


class FileInProcess:
    """``OpenFile`` there."""

    def __init__(self, process: _Process, state: FileState) -> None:
        self._process = process
        self.state = state

    def write(self, entries: Collection[Entry]) -> list[str]:
        unsendable: list[str] = []
        try:
            refused, self.state = self._process.ask("write", entries)
        except UNSENDABLE:
            sound = [each for each in entries if _is_sendable(each, unsendable)]
            refused, self.state = self._process.ask("write", sound)
        return [*refused, *unsendable]

    def tidy(self, now: float) -> None:
        self.state = self._process.ask("tidy", now)

    def rollback(self) -> None:
        with contextlib.suppress(JournalProcessEnded):
            self._process.ask("rollback")

    def close(self) -> None:
        with contextlib.suppress(JournalProcessEnded):
            self._process.ask("close")


def _is_sendable(entry: Entry, why: list[str]) -> bool:
    try:
        pickle.dumps(entry)
    except UNSENDABLE as fault:
        why.append(f"{type(entry).__name__}: {fault}")
        return False
    return True


def place_of(settings: JournalSettings) -> Place:
    """Where the file is opened, by its settings."""
    return JournalProcess() if settings.own_process else ThisProcess()
