"""The open journal, as its writer asks for it: here in this process, or in one of its own (journal_process.py)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple, Protocol

from banken_supervisor.journal import reading
from banken_supervisor.journal.entries import Entry, IncidentRecord
from banken_supervisor.journal.reading import Restored
from banken_supervisor.journal.retention import Limits, Retention
from banken_supervisor.journal.schema import JournalError
from banken_supervisor.journal.store import Store


class JournalProcessEnded(JournalError):
    """The process that has the file open ended before it answered, or could not be started."""


class JournalSettings(NamedTuple):
    """Which journal a supervisor keeps, and how."""

    path: str
    limits: Limits = Limits()
    own_process: bool = False
    """whether its file is opened in a process of its own, so that nothing in it can end the supervisor"""


class FileState(NamedTuple):
    """What the writer knows of the file between two questions. Monotonic times."""

    incidents: int
    """how many are in it"""
    clock_at: float
    """when a look at the clocks is to be written"""
    tidy_at: float
    """when something old is to be looked for, or deleted"""


class OpenFile(Protocol):
    """An open journal. ``write`` and ``tidy`` may raise sqlite3.Error; a batch is then not written at all. And
    JournalProcessEnded: it may have been."""

    state: FileState

    def write(self, entries: Collection[Entry]) -> list[str]:
        """All entries in one transaction; why some were refused. Without entries: a look at the clocks."""

    def tidy(self, now: float) -> None:
        """Look for what is old, or delete one slice of it; ``now``: monotonic time."""

    def rollback(self) -> None:
        """Undo what an error left half done."""

    def close(self) -> None:
        """Close it; the last one to do so moves the log into the file."""


class Place(Protocol):
    """Where the file is opened."""

    def restore(self, path: str) -> Restored:
        """As ``reading.restore``."""

    def find(self, path: str, *search: Any) -> list[IncidentRecord]:
        """As ``reading.find``; from any thread, also beside the writer."""

    def open(self, path: str, run: str, limits: Limits) -> OpenFile:
        """To be written, by this run. It raises as ``schema.open_writing``."""

    def end(self) -> None:
        """It is not needed any more."""


class JournalFile:
    """``OpenFile`` in this process."""

    def __init__(self, path: str, run: str, limits: Limits) -> None:
        self._store = Store(path, run)
        self._retention = Retention(limits)
        self._look()

    def write(self, entries: Collection[Entry]) -> list[str]:
        refused = self._store.write(entries)
        if entries:
            self._retention.look(self._store)
        self._look()
        return refused

    def tidy(self, now: float) -> None:
        self._retention.step(self._store, now)
        self._store.count()
        self._look()

    def rollback(self) -> None:
        self._store.rollback()

    def close(self) -> None:
        self._store.close()

    def _look(self) -> None:
        self.state = FileState(self._store.incidents, self._store.clock_at, self._retention.at)


class ThisProcess:
    """``Place``."""

    def restore(self, path: str) -> Restored:
        return reading.restore(path)

    def find(self, path: str, *search: Any) -> list[IncidentRecord]:
        return reading.find(path, *search)

    def open(self, path: str, run: str, limits: Limits) -> JournalFile:
        return JournalFile(path, run, limits)

    def end(self) -> None:
        pass
