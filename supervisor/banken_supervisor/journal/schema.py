"""The file: its tables, its version and how older ones are brought up to it, and how it is opened.

Every table is WITHOUT ROWID and has no further index. A row is then found through its own tree only: an index that
is damaged by itself cannot hide a row or show it twice. What is searched by other columns is scanned; retention
bounds that.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple
from urllib.parse import quote

from banken.errors import BankenError
from banken_supervisor.journal.rows import Row, checksum, intact, sealed

APPLICATION = 0x424E4B4E
"""``BNKN`` in the header marks the file as banken's, see ``PRAGMA application_id``."""

VERSION = 1
"""The schema that is written."""

CELL_MAX = 4 * 1024 * 1024
"""Bytes of the longest value that is read: damage must not make us ask for a gigabyte."""

HEADER = b"SQLite format 3\0"


class JournalError(BankenError):
    """The root of what this package raises; the message says what is wrong and what can be done."""


class JournalRefused(JournalError):
    """The file is not ours to write: another program's, a later version's, or in use by another supervisor."""


class JournalDamaged(JournalError):
    """The file is not what was written."""


class JournalUnreadable(JournalError):
    """There is nothing to read, or it cannot be opened."""


class Table(NamedTuple):
    """One table. The statements are made once, from these words only."""

    name: str
    columns: tuple[str, ...]
    """name and type of each, without ``sum``"""
    key: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.split()[0] for column in self.columns)

    @property
    def create(self) -> str:
        """Makes the table."""
        inside = [*self.columns, "sum INTEGER NOT NULL", f"PRIMARY KEY ({', '.join(self.key)})"]
        return f"CREATE TABLE {self.name} ({', '.join(inside)}) WITHOUT ROWID"

    @property
    def select(self) -> str:
        """Reads whole rows, the sum last; a WHERE or ORDER BY may follow."""
        return f"SELECT {', '.join(self.names)}, sum FROM {self.name}"  # noqa: S608  (no word of it comes from outside)

    def insert(self, conflict: str) -> str:
        """Writes a whole row; ``conflict``: IGNORE or REPLACE."""
        marks = ", ".join("?" * (len(self.columns) + 1))
        return f"INSERT OR {conflict} INTO {self.name} VALUES ({marks})"  # noqa: S608


META = Table("meta", ("key TEXT NOT NULL", "value TEXT"), ("key",))
REGISTRY = Table(
    "registry",
    (
        "name TEXT NOT NULL",
        "declaration TEXT NOT NULL",
        "resolution REAL NOT NULL",
        "owner TEXT",
        "state TEXT NOT NULL",
        "paused_until REAL",
        "operator INTEGER NOT NULL",
        "incidents INTEGER NOT NULL",
        "changed REAL NOT NULL",
    ),
    ("name",),
)
INCIDENTS = Table(
    "incidents",
    (
        "id TEXT NOT NULL",
        "name TEXT NOT NULL",
        "cause TEXT NOT NULL",
        "opened REAL NOT NULL",
        "closed REAL",
        "how TEXT",
        "runs INTEGER NOT NULL",
        "reason TEXT",
        "status TEXT",
        "progress",  # no type: an int stays an int, a float a float
        "silence REAL NOT NULL",
        "timeout REAL NOT NULL",
        "pid INTEGER",
        "level TEXT",
    ),
    ("id",),
)
RUNGS = Table(
    "rungs",
    (
        "incident TEXT NOT NULL",
        "rung INTEGER NOT NULL",
        "run INTEGER NOT NULL",
        "action TEXT NOT NULL",
        "started REAL NOT NULL",
        "ok INTEGER",
        "text TEXT NOT NULL",
    ),
    ("incident", "rung", "run"),
)
EVIDENCE = Table(
    "evidence", ("incident TEXT NOT NULL", "taken REAL NOT NULL", "blob BLOB NOT NULL"), ("incident", "taken")
)
EVENTS = Table(
    "events",
    (
        "run TEXT NOT NULL",
        "seq INTEGER NOT NULL",
        "time REAL NOT NULL",
        "type TEXT NOT NULL",
        "name TEXT",
        "incident TEXT",
        "data TEXT NOT NULL",
    ),
    ("run", "seq"),
)

KEPT = (REGISTRY, INCIDENTS, RUNGS, EVIDENCE, EVENTS)
"""The tables that hold entries, the most important first."""

Step = Callable[[sqlite3.Connection], None]

STEPS: tuple[Step, ...] = ()
"""How to come from version 1 to 2, from 2 to 3 …: the next one is appended here, and ``VERSION`` raised. A step
that adds a column must seal the rows again: ``UPDATE registry SET sum = row_sum('registry', name, …)``. With the
first step, ``checking.vacuum`` must refuse older files: it opens them as a writer does, and the supervisor that
runs beside it may be of the older version."""


def build(path: str) -> sqlite3.Connection:
    """A new, empty journal at ``path``, readable by its owner only. Not in WAL mode yet: it is one file, to be
    moved."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = _connect(path, "rw")
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("BEGIN IMMEDIATE")
        for table in (META, *KEPT):
            connection.execute(table.create)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        _set_version(connection, VERSION)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def open_writing(path: str, *, busy: float = 0.5, steps: Sequence[Step] = STEPS) -> sqlite3.Connection:
    """An existing journal, checked and of the current version. ``busy``: seconds to wait for another's lock.

    JournalDamaged, JournalRefused; sqlite3.Error and OSError where the system stands in the way.
    """
    check_regular(path)
    connection = _connect(path, "rw", busy)
    try:
        version = check_version(connection, newest=1 + len(steps))
        for name in (path, f"{path}-wal", f"{path}-shm"):  # only now: before, it might be anybody's file
            with contextlib.suppress(OSError):  # not ours to change: whoever made it so decides
                os.chmod(name, 0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {16 * 1024 * 1024}")
        if (found := connection.execute("PRAGMA quick_check(1)").fetchone()) != ("ok",):
            raise JournalDamaged(f"{path}: {found[0]}")
        migrate(connection, version, steps)
        verify(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reading(path: str) -> sqlite3.Connection:
    """To read only; a supervisor may be writing meanwhile. sqlite3.Error where it cannot be opened.

    A log that its writer left behind needs an index beside it, which a full disk or a read-only one has no place
    for. Then the file is opened alone: with the index in memory if nobody else has it open, else without what is
    only in the log.
    """
    attempts = (("ro", ""), ("rw", "PRAGMA locking_mode = EXCLUSIVE"), ("ro&immutable=1", ""))
    for mode, pragma in attempts:
        connection = _connect(path, mode, 2.0)
        try:
            if pragma:
                connection.execute(pragma).fetchall()
            connection.execute("PRAGMA query_only = ON")
            _see(connection)
        except sqlite3.OperationalError as fault:
            connection.close()
            if mode == attempts[-1][0] or fault.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise AssertionError("unreachable")


def _see(connection: sqlite3.Connection) -> None:
    """Make SQLite read the list of tables, of a file that is shorter than its header says as well."""
    question = "SELECT count(*) FROM sqlite_master"
    try:
        connection.execute(question).fetchone()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        # It also makes SQLite take the length as it is: lockBtree in its btree.c.
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(question).fetchone()


def check_regular(path: str) -> None:
    """JournalRefused unless ``path`` is a file: opening a pipe would wait for ever. OSError: there is nothing."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise JournalRefused(f"{path} is not a file; a journal is one")


def check_header(path: str) -> None:
    """JournalDamaged if the first bytes are not those of an SQLite file of a format that exists.

    An impossible format number makes SQLite open the file read-only without calling it damaged. This opens and
    closes the file, which drops this process's POSIX locks on it: never call it while the file is open in this
    process.
    """
    with open(path, "rb") as file:
        head = file.read(100)
    if len(head) < 100 or not head.startswith(HEADER) or head[18] not in (1, 2) or head[19] not in (1, 2):
        raise JournalDamaged(f"{path}: the header is not that of an SQLite file")


def check_version(connection: sqlite3.Connection, newest: int = VERSION) -> int:
    """The schema's version. JournalRefused: another program's file, or a later version's. JournalDamaged: it says
    two different things about itself."""
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    ours = {table.name for table in (META, *KEPT)}
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION and names and not names & ours:
        raise JournalRefused("the file is another program's database: name another path for the journal")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    said = None
    if META.name in names:
        said = _meta(connection, "schema")
    if application != APPLICATION or said != str(version) or version < 1:
        raise JournalDamaged(f"the header says version {version}, the table {said}")
    if version > newest:
        raise JournalRefused(
            f"the journal has schema version {version}, this banken knows versions up to {newest}: "
            "use the banken that wrote it or a newer one, or name another path"
        )
    if _meta(connection, "tables") != _tables_sum(connection):
        raise JournalDamaged("the tables are not declared as they were made")
    return int(version)


def migrate(connection: sqlite3.Connection, version: int, steps: Sequence[Step] = STEPS) -> None:
    """Bring the schema to version ``1 + len(steps)``, each step in a transaction of its own."""
    for number, step in enumerate(steps[version - 1 :], version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            step(connection)
            _set_version(connection, number)
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise


def verify(connection: sqlite3.Connection) -> None:
    """JournalDamaged unless every row has its right sum; events excepted, which are many and change nothing."""
    problems: list[str] = []
    for table in KEPT:
        if table is not EVENTS:
            deque(scan(connection, table, problems), maxlen=0)
    if problems:
        raise JournalDamaged("; ".join(problems))


def scan(connection: sqlite3.Connection, table: Table, problems: list[str]) -> Iterator[Row]:
    """Every row of a table with a right sum, as far as the file can be read: from the front, and from where that
    ends, from the back. Values without the sum; what was not readable is told in ``problems``."""
    key = ", ".join(table.key)
    last: Any = None
    read = _Sieve(table)
    try:
        for row in read.sift(connection.execute(f"{table.select} ORDER BY {key}"), forward=True):
            last = read.last
            yield row
    except sqlite3.DatabaseError as fault:
        problems.append(f"{table.name}: {fault}")
        where = "" if last is None else f" WHERE ({key}) > ({', '.join('?' * len(table.key))})"
        values = last if isinstance(last, tuple) else (last,)
        down = ", ".join(f"{name} DESC" for name in table.key)
        read.last = None
        with contextlib.suppress(sqlite3.DatabaseError):
            rows = connection.execute(f"{table.select}{where} ORDER BY {down}", values if where else ())
            yield from read.sift(rows, forward=False)
    if read.bad:
        problems.append(f"{table.name}: {read.bad} rows with a wrong checksum or out of order")


class _Sieve:
    """Lets rows pass whose sum is right and whose key goes on in one direction: a damaged tree can come back to a
    row."""

    def __init__(self, table: Table) -> None:
        self.bad = 0
        self.last: Any = None
        """key of the row that passed last: a value, or a tuple of them"""
        self._name = table.name
        self._key = itemgetter(*(table.names.index(name) for name in table.key))

    def sift(self, rows: Iterable[Row], *, forward: bool) -> Iterator[Row]:
        for row in rows:
            if not intact(self._name, row):
                self.bad += 1
                continue
            key = self._key(row)
            if self.last is not None and (key <= self.last if forward else key >= self.last):
                self.bad += 1
                continue
            self.last = key
            yield row[:-1]


def _set_version(connection: sqlite3.Connection, version: int) -> None:
    for values in (("schema", str(version)), ("tables", _tables_sum(connection))):
        connection.execute(META.insert("REPLACE"), sealed("meta", *values))
    connection.execute(f"PRAGMA user_version = {version}")


def _meta(connection: sqlite3.Connection, key: str) -> str | None:
    row = connection.execute(META.select + " WHERE key = ?", (key,)).fetchone()
    return row[1] if row is not None and intact("meta", row) and row[0] == key else None


def _tables_sum(connection: sqlite3.Connection) -> str:
    """Of the declarations: one flipped letter in a column's type would change what is stored there."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()
    return str(checksum("sqlite_master", [value for row in rows for value in row]))


def _connect(path: str, mode: str, busy: float = 0.5) -> sqlite3.Connection:
    """``mode``: rw or ro, never one that makes a file."""
    address = f"file:{quote(os.path.abspath(path))}?mode={mode}"
    connection = sqlite3.connect(address, timeout=busy, uri=True, isolation_level=None)
    connection.text_factory = _lenient
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, CELL_MAX)
    connection.create_function("row_sum", -1, _row_sum, deterministic=True)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


_lenient = partial(str, encoding="utf-8", errors="replace")
"""Damaged text must not raise in the middle of a scan: its sum is wrong anyway."""


def _row_sum(table: str, *values: int | float | str | bytes | None) -> int:
    return checksum(table, values)
