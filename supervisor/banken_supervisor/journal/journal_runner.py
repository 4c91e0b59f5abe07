"""The process in which the journal's file is open; at the other end is ``JournalProcess`` (journal_process.py).

A question is the name of a method of ``Runner`` and its arguments, pickled; the answer is whether it raised, and
what. The connection is this process's stdin: it ends with that.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Collection
from multiprocessing.connection import Connection
from typing import Any

from banken_supervisor.journal import reading
from banken_supervisor.journal.entries import Entry, IncidentRecord
from banken_supervisor.journal.journal_file import FileState, JournalFile
from banken_supervisor.journal.reading import Restored
from banken_supervisor.journal.retention import Limits
from banken_supervisor.journal.schema import JournalError
from banken_supervisor.processes.death_signal import end_with


class Runner:
    """What it can be asked."""

    _file: JournalFile

    def open(self, path: str, run: str, limits: Limits) -> FileState:
        self._file = JournalFile(path, run, limits)
        return self._file.state

    def write(self, entries: Collection[Entry]) -> tuple[list[str], FileState]:
        return self._file.write(entries), self._file.state

    def tidy(self, now: float) -> FileState:
        self._file.tidy(now)
        return self._file.state

    def rollback(self) -> None:
        self._file.rollback()

    def close(self) -> None:
        self._file.close()

    def restore(self, path: str) -> Restored:
        return reading.restore(path)

    def find(self, *search: Any) -> list[IncidentRecord]:
        return reading.find(*search)


def _sendable(fault: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(fault))  # noqa: S301  # our own
    except Exception:  # noqa: BLE001
        return JournalError(f"{type(fault).__name__}: {fault}")
    return fault


def main() -> None:
    """Serve the socket that is our stdin. The argument is the pid of who started this process."""
    end_with(int(sys.argv[1]))
    # A service manager signals all processes; the supervisor still writes its end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    connection, runner = Connection(os.dup(0)), Runner()
    while True:
        try:
            question = connection.recv_bytes()
        except EOFError:
            return
        try:
            what, args = pickle.loads(question)  # noqa: S301  # our own
            answer = False, getattr(runner, what)(*args)
        except Exception as fault:  # noqa: BLE001  # whoever asked gets it
            answer = True, _sendable(fault)
        connection.send(answer)


if __name__ == "__main__":
    main()
