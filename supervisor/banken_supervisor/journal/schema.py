"""The file: its version, how it is made, opened and moved aside, and how its rows are scanned.

A file that is damaged, or that another version of banken wrote, is renamed and not changed: `banken journal export
--journal` reads what is left of it. The supervisor writes its watchdogs and open incidents into the new file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import quote

from banken.errors import BankenError
from banken_supervisor.files.trusted_files import doubt_about
from banken_supervisor.journal.tables import ADDED, EVENTS, KEPT, Table
from banken_supervisor.journal.values import Row

APPLICATION = 0x424E4B4E
"""``BNKN`` in the header marks the file as banken's, see ``PRAGMA application_id``."""

ASIDE_MAX = 3
"""Files moved aside that stay, for each reason; older ones are deleted."""

VERSION = 5
"""The schema that is written."""

CELL_MAX = 4 * 1024 * 1024
"""Bytes of the longest value that is read: damage must not make us ask for a gigabyte."""

HEADER = b"SQLite format 3\0"


class JournalError(BankenError):
    """The root of what this package raises; the message says what is wrong and what can be done."""


class JournalRefused(JournalError):
    """The file is not ours to write: another program's, or in use by another supervisor."""


class JournalOfAnotherSchema(JournalRefused):
    """An older or a newer banken wrote the file, so far as it says. The supervisor moves it aside."""

    def __init__(self, version: int) -> None:
        self.version = version
        what = "other tables (or is damaged)" if version == VERSION else f"schema version {version}"
        super().__init__(
            f"the journal has {what}, this banken knows only its own version {VERSION}: "
            "read it with the older or newer banken that wrote it, or name another path"
        )

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return type(self), (self.version,)


class JournalDamaged(JournalError):
    """The file is not what was written."""


class JournalUnreadable(JournalError):
    """There is nothing to read, or it cannot be opened."""


def begin(path: str) -> None:
    """An empty journal at ``path``, where there is none, readable by its owner only. OSError, sqlite3.Error.

    It is made under another name and renamed when it is whole: kill -9 leaves no half of one. It is not in WAL mode
    yet: it is one file, to be moved.
    """
    made = f"{path}.making"
    remove(made)
    os.close(os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with contextlib.closing(_connect(made, "rw")) as connection:
        connection.execute("PRAGMA auto_vacuum = FULL")
        with transaction(connection):
            for table in KEPT:
                connection.execute(table.create)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
    remove(f"{path}-wal", f"{path}-shm", f"{made}-journal")
    os.rename(made, path)
    _settle(path)


def move_aside(path: str, why: str) -> str:
    """Rename a journal and its log to ``PATH.WHY-TIME``; the new path. ``why``: damaged, schema-7. OSError."""
    aside = f"{path}.{why}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    os.rename(path, aside)
    with contextlib.suppress(FileNotFoundError):
        os.rename(f"{path}-wal", f"{aside}-wal")
    remove(f"{path}-shm")
    _settle(path)
    with contextlib.suppress(OSError):
        for old in files_aside(path, why)[:-ASIDE_MAX]:
            remove(old, f"{old}-wal")
    return aside


def files_aside(path: str, why: str = "damaged") -> list[str]:
    """The journals that were moved aside here for this reason, oldest first."""
    folder, name = os.path.split(os.path.abspath(path))
    found = [each for each in os.listdir(folder) if each.startswith(f"{name}.{why}-") and not each.endswith("-wal")]
    return [os.path.join(folder, each) for each in sorted(found)]


@contextlib.contextmanager
def _faults_decoded() -> Iterator[None]:
    """JournalDamaged for what Python cannot decode: a fault of SQLite's that quotes the file."""
    try:
        yield
    except UnicodeDecodeError as fault:
        raise JournalDamaged(fault.object.decode("utf-8", "backslashreplace")) from None


@_faults_decoded()
def open_writing(path: str, *, busy: float = 0.5) -> sqlite3.Connection:
    """An existing journal, checked and of this version. ``busy``: seconds to wait for another's lock.

    JournalDamaged, JournalRefused, JournalOfAnotherSchema; sqlite3.Error, OSError: the system stands in the way.
    """
    check_regular(path)
    check_length(path)
    connection = _connect(path, "rw", busy)
    try:
        check_version(connection)
        _add_tables(connection)
        for name in (path, f"{path}-wal", f"{path}-shm"):  # only now: before, it might be another program's
            with contextlib.suppress(OSError):  # owned by another user, who decides
                os.chmod(name, 0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {16 * 1024 * 1024}")
        if (found := connection.execute("PRAGMA quick_check(1)").fetchone()) != ("ok",):
            raise JournalDamaged(f"{path}: {found[0]}")
        problems: list[str] = []
        for table in KEPT:
            if table is not EVENTS:  # which are many and change nothing
                deque(scan(connection, table, problems), maxlen=0)
        if problems:
            raise JournalDamaged("; ".join(problems))
    except BaseException:
        connection.close()
        raise
    return connection


@_faults_decoded()
def open_reading(path: str) -> sqlite3.Connection:
    """To read only; a supervisor may be writing meanwhile. sqlite3.Error where it cannot be opened.

    A log that its writer left behind needs an index beside it, for which a full or read-only disk has no room. Then
    the file is opened alone: with the index in memory if no other process has it open, else without the log.
    """
    check_length(path)
    attempts = (("ro", ""), ("rw", "PRAGMA locking_mode = EXCLUSIVE"), ("ro&immutable=1", ""))
    for mode, pragma in attempts:
        connection = _connect(path, mode, 2.0)
        try:
            if pragma:
                connection.execute(pragma).fetchall()
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return connection
        except sqlite3.OperationalError as fault:
            connection.close()
            if mode == attempts[-1][0] or fault.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise
        except BaseException:
            connection.close()
            raise
    raise AssertionError("unreachable")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Writes all that is executed inside, or nothing after an exception."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        yield connection


def check_regular(path: str) -> None:
    """JournalRefused unless ``path`` is a file: opening a pipe would wait for ever. OSError: there is nothing."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise JournalRefused(f"{path} is not a file; a journal is one")


def check_length(path: str) -> None:
    """JournalDamaged if it was cut to nothing: SQLite would take it for a new one, and delete its log."""
    with contextlib.suppress(OSError):
        if not os.path.getsize(path) and os.path.getsize(f"{path}-wal"):
            raise JournalDamaged(f"{path} is empty, and its log is not")


def check_trusted(path: str) -> None:
    """JournalRefused if another user made the file, may write it, or made a link on its way."""
    for name in (path, f"{path}-wal", f"{path}-shm", f"{path}.lock"):
        if (why := doubt_about(name)) is not None:
            raise JournalRefused(f"{name} is left alone: {why}; name a file of your own, or remove it")


def foreign(path: str) -> bool:
    """Whether it is a file that was never a journal: a mistyped path must not cost a file. OSError.

    The first bytes of a damaged journal may be anything, but beside it is the lock that its writer left.
    """
    if not os.path.isfile(path) or os.path.getsize(path) == 0 or os.path.exists(f"{path}.lock"):
        return False
    with open(path, "rb") as file:
        return file.read(len(HEADER)) != HEADER


def sound_header(path: str) -> bool:
    """Whether the first bytes are those of an SQLite file of a format that exists. OSError.

    An impossible format number makes SQLite open the file read-only without calling it damaged. This opens and
    closes the file, which drops this process's POSIX locks on it: never call it while the file is open in this
    process.
    """
    with open(path, "rb") as file:
        head = file.read(100)
    return len(head) == 100 and head.startswith(HEADER) and {head[18], head[19]} <= {1, 2}


def size(path: str) -> int:
    """Bytes that a journal and its log take; a file that is not there takes none."""
    total = 0
    for name in (path, f"{path}-wal"):
        with contextlib.suppress(OSError):
            total += os.stat(name).st_size
    return total


def remove(*paths: str) -> None:
    """Delete those files that there are. OSError."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def check_version(connection: sqlite3.Connection) -> None:
    """Whether the file is a journal of this version. JournalRefused: another program's file.
    JournalOfAnotherSchema: an older or newer banken's. JournalDamaged: its tables are ours, and its header is not.
    """
    # Declarations are compared as a whole: one flipped letter in a column's type changes what is stored there.
    declared = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION:
        if declared and not {name for name, _ in declared} & {table.name for table in KEPT}:
            raise JournalRefused("the file is another program's database: name another path for the journal")
        raise JournalDamaged(f"the header says that it belongs to the application {application:#x}")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    lacking = {table.name for table in ADDED} - {name for name, _ in declared}
    if version != VERSION or declared != [each for each in _DECLARED if each[0] not in lacking]:
        raise JournalOfAnotherSchema(version)


def _add_tables(connection: sqlite3.Connection) -> None:
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master").fetchall()}
    with transaction(connection):
        for table in ADDED:
            if table.name not in there:
                connection.execute(table.create)


def scan(
    connection: sqlite3.Connection,
    table: Table,
    problems: list[str] | None,
    tail: str = "",
    values: Sequence[Any] = (),
) -> Iterator[Row]:
    """The rows with a right sum, without it, as far as the file can be read.

    ``tail``: WHERE, ORDER BY, LIMIT.

    Appends to ``problems`` what was not readable. Without such a list an unreadable file raises
    sqlite3.DatabaseError.
    """
    bad = 0
    try:
        for row in connection.execute(f"{table.select} {tail}", values):
            if table.intact(row):
                yield row[:-1]
            else:
                bad += 1
    except sqlite3.DatabaseError as fault:
        if table in ADDED and str(fault).startswith("no such table"):
            return  # an older banken wrote the journal
        if problems is None:
            raise
        problems.append(f"{table.name}: {fault}")
    if bad and problems is not None:
        problems.append(f"{table.name}: {bad} rows with a wrong checksum")


_DECLARED = sorted((table.name, table.create) for table in KEPT)
"""The tables of this version, as SQLite describes them."""


def _connect(path: str, mode: str, busy: float = 0.5) -> sqlite3.Connection:
    """``mode``: rw or ro, never one that makes a file."""
    address = f"file:{quote(os.path.abspath(path))}?mode={mode}"
    connection = sqlite3.connect(address, timeout=busy, uri=True, isolation_level=None)
    # Damaged text must not raise in the middle of a scan: its sum is wrong anyway.
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, CELL_MAX)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA mmap_size = 0")  # where a file that is mapped is cut, the process ends
    return connection


def _settle(path: str) -> None:
    """Sync the directory, so that the names survive a power cut."""
    with contextlib.suppress(OSError):  # not every file system can
        descriptor = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
