"""The tables: their columns, how an entry becomes a row and back, and the checksum that each row carries.

A row is its columns and their checksum: the CRC-32 of the table's name and the values, as msgpack. SQLite takes
inserts into damaged files and its quick_check misses some damage, so only rows with the right checksum are used.
The checksum is of what SQLite gives back: a NaN would come back as NULL and -0.0 as 0.0, so they are written so.

The columns stand in the order of the entry's fields. Every table is WITHOUT ROWID and has no further index: a row
is found through its own tree only, so a damaged index cannot hide a row or show it twice. Searches by other columns
scan the table; retention bounds that.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple

import msgpack

from banken.protocol.incidents import Cause
from banken.protocol.limits import NAME_MAX, REASON_MAX, STATUS_MAX
from banken_supervisor.engine.states import State
from banken_supervisor.journal.entries import Declared, EventSeen, EvidenceTaken, IncidentRecord, StepRun
from banken_supervisor.journal.values import (
    ID_MAX,
    TEXT_MAX,
    Row,
    Value,
    bounded_json,
    checked_blob,
    declaration_text,
    integer,
    optional,
    owner_text,
    parse_declaration,
    parse_owner,
    progress,
    real,
    text,
)


class Column(NamedTuple):
    """One column; ``to_value`` and ``from_value`` turn the entry's field into the row's value and back."""

    name: str
    type: str
    to_value: Callable[[Any], Value]
    from_value: Callable[[Any], Any] | None = None
    """ValueError, KeyError: this version does not know the value. None: the value is the field"""


class Table:
    """One table, of entries of one class."""

    def __init__(self, name: str, entry: type[Any], key: tuple[str, ...], *columns: Column) -> None:
        assert [each.name for each in fields(entry)] == [column.name for column in columns]
        self.name = name
        self._entry = entry
        self._key = key
        self._columns = columns
        self._fields = attrgetter(*[column.name for column in columns])
        self._to_values = tuple(column.to_value for column in columns)
        self._from_values = tuple(
            (index, column.from_value) for index, column in enumerate(columns) if column.from_value is not None
        )

    @cached_property
    def create(self) -> str:
        """Makes the table."""
        columns = [f"{column.name} {column.type}".rstrip() for column in self._columns]
        inside = [*columns, "sum INTEGER NOT NULL", f"PRIMARY KEY ({', '.join(self._key)})"]
        return f"CREATE TABLE {self.name} ({', '.join(inside)}) WITHOUT ROWID"

    @cached_property
    def select(self) -> str:
        """Reads whole rows, the sum last; a WHERE or ORDER BY may follow."""
        return f"SELECT {', '.join(column.name for column in self._columns)}, sum FROM {self.name}"  # noqa: S608

    def insert(self, conflict: str) -> str:
        """Writes a whole row; ``conflict``: IGNORE or REPLACE."""
        marks = ", ".join("?" * (len(self._columns) + 1))
        return f"INSERT OR {conflict} INTO {self.name} VALUES ({marks})"  # noqa: S608

    def row(self, entry: object) -> Row:
        """The entry's row, too long texts cut. TypeError, ValueError, AttributeError: it is not such an entry."""
        return self.row_of(self._fields(entry))

    def row_of(self, values: Sequence[Any]) -> Row:
        """The row of an entry with these values in its fields."""
        written = [to_value(value) for to_value, value in zip(self._to_values, values)]  # noqa: B905
        return (*written, checksum(self.name, written))

    def entry(self, row: Row) -> Any:
        """The entry of a row, without its sum. ValueError, TypeError, KeyError: this version cannot read it."""
        values: list[Any] = list(row)
        for index, from_value in self._from_values:
            values[index] = from_value(values[index])
        return self._entry(*values)

    def intact(self, row: Sequence[Any]) -> bool:
        """Whether a row that was read, its sum last, is what was written."""
        try:
            return bool(row[-1] == checksum(self.name, row[:-1]))
        except (TypeError, ValueError, OverflowError):  # damage can put anything there
            return False


def checksum(table: str, values: Sequence[Value]) -> int:
    """The sum that a row of ``table`` with these values carries."""
    return zlib.crc32(msgpack.packb((table, *values)))


_ID = text(ID_MAX)
_NAME = text(NAME_MAX)
_STATES = {state.value: state for state in State}

REGISTRY = Table(
    "registry",
    Declared,
    ("name",),
    Column("name", "TEXT NOT NULL", _NAME),
    Column("declaration", "TEXT NOT NULL", declaration_text, parse_declaration),
    Column("resolution", "REAL NOT NULL", real),
    Column("owner", "TEXT", optional(owner_text), optional(parse_owner)),
    Column("state", "TEXT NOT NULL", lambda state: state.value, _STATES.__getitem__),
    Column("paused_until", "REAL", optional(real)),
    Column("operator", "INTEGER NOT NULL", int, bool),
    Column("incidents", "INTEGER NOT NULL", integer),
    Column("changed", "REAL NOT NULL", real),
)

INCIDENTS = Table(
    "incidents",
    IncidentRecord,
    ("id",),
    Column("id", "TEXT NOT NULL", _ID),
    Column("name", "TEXT NOT NULL", _NAME),
    Column("cause", "TEXT NOT NULL", str, Cause),
    Column("opened", "REAL NOT NULL", real),
    Column("silence", "REAL NOT NULL", real),
    Column("timeout", "REAL NOT NULL", real),
    Column("reason", "TEXT", optional(text(REASON_MAX))),
    Column("status", "TEXT", optional(text(STATUS_MAX))),
    Column("progress", "", progress),  # no type: an int stays an int, a float a float
    Column("pid", "INTEGER", optional(integer)),
    Column("level", "TEXT", optional(_ID)),
    Column("closed", "REAL", optional(real)),
    Column("how", "TEXT", optional(_ID)),
    Column("runs", "INTEGER NOT NULL", integer),
)

STEPS = Table(
    "steps",
    StepRun,
    ("incident", "step", "run"),
    Column("incident", "TEXT NOT NULL", _ID),
    Column("step", "INTEGER NOT NULL", integer),
    Column("run", "INTEGER NOT NULL", integer),
    Column("action", "TEXT NOT NULL", _ID),
    Column("started", "REAL NOT NULL", real),
    Column("ok", "INTEGER", optional(int), optional(bool)),
    Column("text", "TEXT NOT NULL", text(TEXT_MAX)),
)

EVIDENCE = Table(
    "evidence",
    EvidenceTaken,
    ("incident", "taken"),
    Column("incident", "TEXT NOT NULL", _ID),
    Column("taken", "REAL NOT NULL", real),
    Column("blob", "BLOB NOT NULL", checked_blob),
)

EVENTS = Table(
    "events",
    EventSeen,
    ("run", "seq"),
    Column("seq", "INTEGER NOT NULL", integer),
    Column("time", "REAL NOT NULL", real),
    Column("type", "TEXT NOT NULL", _ID),
    Column("name", "TEXT", optional(_NAME)),
    Column("data", "TEXT NOT NULL", bounded_json, json.loads),
    Column("run", "TEXT NOT NULL", _ID),
    Column("incident", "TEXT", optional(_ID)),
)

KEPT = (REGISTRY, INCIDENTS, STEPS, EVIDENCE, EVENTS)
"""The tables that hold entries, the most important first."""
