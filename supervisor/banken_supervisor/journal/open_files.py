"""The files of an open journal, as its writer left them: what another process did to one of them is noticed.

SQLite itself does not look: it would write on into a log that was cut or removed, and say that all is well.
"""

from __future__ import annotations

import contextlib
import os

_CUT = os.stat_result((0,) * 10)
"""stands for a file that is not there"""


class OpenFiles:
    """``path``: of the journal, which is open. ``before``: what stood there when it was about to be opened, which
    takes a while; it may have been moved since."""

    def __init__(self, path: str, before: os.stat_result) -> None:
        self._path = path
        file, self._log, self._index = self._found()
        self._file = file if _same(file, before) else before

    def left(self) -> None:
        """Remember how long they are now: the writer itself has just written."""
        file, log, index = self._found()
        if _same(file, self._file) and _same(log, self._log) and _same(index, self._index):
            self._file, self._log, self._index = file, log, index

    def moved(self) -> bool:
        """Whether the path no longer leads to the file that is open: what is written there would be lost."""
        return not _same(_stat(self._path), self._file)

    def altered(self) -> bool:
        """Whether another process changed the file, or cut, removed or replaced its log or index. False of a file
        that was moved: SQLite leaves its log when it closes such a one, and takes it for that of the file there."""
        file, log, index = self._found()
        if not _same(file, self._file):
            return False
        if _same(index, self._index) and index.st_size < self._index.st_size:
            self._mend_index()
            return True
        return (
            (file.st_size, file.st_mtime_ns) != (self._file.st_size, self._file.st_mtime_ns)
            or not _same(log, self._log)
            or log.st_size < self._log.st_size
            or not _same(index, self._index)
        )

    def _mend_index(self) -> None:
        """Make it as long as it was, and empty: SQLite, which maps it into memory, makes it again from the log.

        By its path: a descriptor of it that was closed here would end SQLite's locks on it.
        """
        with contextlib.suppress(OSError):
            os.truncate(f"{self._path}-shm", 0)
            os.truncate(f"{self._path}-shm", self._index.st_size)

    def _found(self) -> tuple[os.stat_result, os.stat_result, os.stat_result]:
        return _stat(self._path), _stat(f"{self._path}-wal"), _stat(f"{self._path}-shm")


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return _CUT


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
