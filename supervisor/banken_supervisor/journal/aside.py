"""A new journal: an empty one, or one in the place of a damaged one, with what could be read of that.

A journal is built under another name, ``.making``, and gets its own when it is whole. In the place of a damaged one
it is first called ``.new``; then the damaged one is moved aside, then the new one takes its name. A supervisor that
is killed between any two of these steps leaves what the next one finishes (``finish_move``).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from banken_supervisor.journal import schema
from banken_supervisor.journal.rows import Row, sealed
from banken_supervisor.journal.schema import KEPT

DAMAGED_KEPT = 3
"""Damaged files that stay; older ones are deleted."""

_SLICE = 2_000
"""Rows copied at a time."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a damaged journal."""

    path: str
    carried: int
    """rows that the new one has from it"""
    problems: list[str]


def begin(path: str) -> None:
    """An empty journal at ``path``, where there is none. OSError, sqlite3.Error."""
    schema.build(f"{path}.making").close()
    _remove(f"{path}-wal", f"{path}-shm", f"{path}.making-journal")
    os.rename(f"{path}.making", path)
    _settle(path)


def finish_move(path: str) -> None:
    """Finish what a supervisor that was killed had begun."""
    _remove(f"{path}.making", f"{path}.making-journal")
    if os.path.exists(f"{path}.new"):
        if os.path.exists(path):
            _remove(f"{path}.new")
        else:
            _remove(f"{path}-wal", f"{path}-shm")
            os.rename(f"{path}.new", path)
            _settle(path)


def set_aside(path: str) -> Moved:
    """Put a new journal in the place of a damaged one. OSError, sqlite3.Error: nothing was changed."""
    making, new = f"{path}.making", f"{path}.new"
    problems: list[str] = []
    carried = 0
    fresh = schema.build(making)
    try:
        for table, rows in _readable(path, problems):
            fresh.execute("BEGIN IMMEDIATE")
            fresh.executemany(table.insert("IGNORE"), [sealed(table.name, *row) for row in rows])
            fresh.execute("COMMIT")
            carried += len(rows)
    finally:
        fresh.close()
    os.rename(making, new)
    aside = _free_name(path)
    os.rename(path, aside)
    with contextlib.suppress(FileNotFoundError):
        os.rename(f"{path}-wal", f"{aside}-wal")
    _remove(f"{path}-shm")
    os.rename(new, path)
    _settle(path)
    _prune(path)
    return Moved(aside, carried, problems)


def damaged_files(path: str) -> list[str]:
    """The journals that were set aside here, oldest first."""
    folder, name = os.path.split(os.path.abspath(path))
    found = [
        each for each in os.listdir(folder) if each.startswith(f"{name}.damaged-") and not each.endswith("-wal")
    ]
    return [os.path.join(folder, each) for each in sorted(found)]


def _readable(path: str, problems: list[str]) -> Iterator[tuple[schema.Table, list[Row]]]:
    """All rows with a right sum, in slices."""
    try:
        connection = schema.open_reading(path)
    except sqlite3.Error as fault:
        problems.append(str(fault))
        return
    try:
        for table in KEPT:
            rows = schema.scan(connection, table, problems)
            while some := list(islice(rows, _SLICE)):
                yield table, some
    finally:
        connection.close()


def _free_name(path: str) -> str:
    name = f"{path}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    number, free = 1, name
    while os.path.exists(free):
        number += 1
        free = f"{name}.{number}"
    return free


def _prune(path: str) -> None:
    with contextlib.suppress(OSError):
        for old in damaged_files(path)[:-DAMAGED_KEPT]:
            _remove(old, f"{old}-wal")


def _remove(*paths: str) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _settle(path: str) -> None:
    """Have the directory itself written, so that the names are there after a power cut."""
    with contextlib.suppress(OSError):  # not every file system can
        descriptor = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
