"""A process for the journal's file (journal_runner.py): whatever SQLite meets there ends that process at most.

SQLite maps the journal's index into memory. Where another process cuts that file, to touch it is SIGBUS, which no
error handling sees. The next question then starts the process again.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Collection
from multiprocessing.connection import Connection
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

END_S = 1.0
"""Seconds that the process has to end in order; then it is killed."""

STOPPED_S = 1.0
"""Seconds without an answer after which it is continued: somebody may have stopped it."""

TRIES = 3
"""How often it is asked for what the last supervisor left, where it ends meanwhile."""

UNSENDABLE = pickle.PicklingError, TypeError, AttributeError, ValueError, RecursionError
"""What pickle raises for what it cannot write."""

_MARK = {"BANKEN_RUN": ""}


class JournalProcess:
    """``Place``: a process that is started when it is needed, on the thread that needs it."""

    def __init__(self) -> None:
        self._process: _Process | None = None

    def restore(self, path: str) -> Restored:
        """As ``reading.restore``."""
        why = ""
        for _ in range(TRIES):
            try:
                return self._running().ask("restore", path)  # type: ignore[no-any-return]
            except JournalProcessEnded as fault:
                why = str(fault)
        return Restored(problems=[why])

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
                    [sys.executable, "-P", "-m", journal_runner.__name__, str(os.getpid())],
                    stdin=its.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    # It is found where this process was found, and known to be of no program.
                    env={**_MARK, **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )
                self._connection = Connection(ours.detach())
        except OSError as fault:
            raise JournalProcessEnded(f"the journal's process cannot be started: {fault.strerror}") from None
        self._poll = select.poll()
        self._poll.register(self._connection.fileno(), select.POLLIN)
        self._how = ""
        """how it ended"""

    @property
    def has_ended(self) -> bool:
        """Whether that is known here."""
        return self._connection.closed

    def ask(self, what: str, *args: Any) -> Any:
        """What this method of ``Runner`` returns, or raises, there. JournalProcessEnded; what pickle raises where
        the arguments cannot be sent."""
        question = pickle.dumps((what, args))
        try:
            self._connection.send_bytes(question)
            while not self._poll.poll(STOPPED_S * 1000):
                self._process.send_signal(signal.SIGCONT)  # whoever may have stopped it
            is_raised, found = self._connection.recv()
        except (EOFError, OSError):
            self.end()
            raise JournalProcessEnded(f"the process that had it open: {self._how}") from None
        except BaseException:
            self.end()  # nobody knows where in an answer it is
            raise
        if is_raised:
            raise found
        return found

    def end(self) -> None:
        """End it, if it has not ended."""
        if self.has_ended:
            return
        self._connection.close()
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
