"""Makes a new journal, and moves an unusable one aside.

A file that is damaged, or that another version of banken wrote, is renamed and not changed: `banken journal export
--journal` reads what is left of it. The supervisor writes its watchdogs and open incidents into the new file.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime

from banken_supervisor.journal import schema

KEPT_MAX = 3
"""Files moved aside that stay, for each reason; older ones are deleted."""


def begin(path: str) -> None:
    """An empty journal at ``path``, where there is none. OSError, sqlite3.Error.

    It is made under another name and renamed when it is whole: kill -9 leaves no half of one.
    """
    schema.build(f"{path}.making")
    schema.remove(f"{path}-wal", f"{path}-shm", f"{path}.making-journal")
    os.rename(f"{path}.making", path)
    _settle(path)


def move_aside(path: str, why: str) -> str:
    """Rename a journal and its log to ``PATH.WHY-TIME``; the new path. ``why``: damaged, schema-7. OSError."""
    aside = f"{path}.{why}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    os.rename(path, aside)
    with contextlib.suppress(FileNotFoundError):
        os.rename(f"{path}-wal", f"{aside}-wal")
    schema.remove(f"{path}-shm")
    _settle(path)
    with contextlib.suppress(OSError):
        for old in files_aside(path, why)[:-KEPT_MAX]:
            schema.remove(old, f"{old}-wal")
    return aside


def files_aside(path: str, why: str = "damaged") -> list[str]:
    """The journals that were moved aside here for this reason, oldest first."""
    folder, name = os.path.split(os.path.abspath(path))
    found = [each for each in os.listdir(folder) if each.startswith(f"{name}.{why}-") and not each.endswith("-wal")]
    return [os.path.join(folder, each) for each in sorted(found)]


def _settle(path: str) -> None:
    """Sync the directory, so that the names survive a power cut."""
    with contextlib.suppress(OSError):  # not every file system can
        descriptor = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
