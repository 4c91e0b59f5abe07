"""The tables: their columns, how an entry becomes a row and back, and the checksum that each row carries.

A row is its columns and their checksum: the CRC-32 of the table's name and the values, as msgpack. SQLite takes
inserts into damaged files and its quick_check misses some damage, so only rows with the right checksum are used.
The checksum is of what SQLite gives back: a NaN would come back as NULL and -0.0 as 0.0, so they are written so.

The columns stand in the order of the entry's fields. Every table is WITHOUT ROWID and has no further index: a row
is found through its own tree only, so a damaged index cannot hide a row or show it twice. Searches by other columns
scan the table; retention bounds that.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cached_property
from operator import attrgetter
from typing import Any

import msgpack

from banken.protocol.incidents import Cause
from banken.protocol.limits import NAME_MAX, REASON_MAX, STATUS_MAX, check_name
from banken_supervisor.engine.policy import By
from banken_supervisor.engine.states import State
from banken_supervisor.journal.entries import (
    ClockSpan,
    Declared,
    EventSeen,
    EvidenceTaken,
    IncidentRecord,
    LastFeed,
    StepRun,
)
from banken_supervisor.journal.values import (
    ID_MAX,
    TEXT_MAX,
    Row,
    Value,
    a,
    a_count,
    a_number,
    a_progress,
    bounded_json,
    checked_blob,
    count,
    declaration_text,
    extensions_text,
    members_text,
    numbers_text,
    optional,
    owner_text,
    parse_declaration,
    parse_extensions,
    parse_members,
    parse_numbers,
    parse_owner,
    progress,
    seconds,
    text,
)
from banken_supervisor.text.sanitize import from_json

_STATES = {state.value: state for state in State}

_KINDS: dict[str, tuple[str, Callable[[Any], Value], Callable[[Any], Any] | None]] = {
    "str": ("TEXT", text(ID_MAX), a(str)),
    "int": ("INTEGER", count, a_count),
    "float": ("REAL", seconds, a_number),
    "bool": ("INTEGER", int, bool),
    "bytes": ("BLOB", checked_blob, None),
    "int | float | str": ("", progress, a_progress),  # no type: an int stays an int, a float a float
    "Mapping[str, Any]": ("TEXT", bounded_json, from_json),
    "Declaration": ("TEXT", declaration_text, parse_declaration),
    "ProcessIdentity": ("TEXT", owner_text, parse_owner),
    "tuple[PastMember, ...]": ("TEXT", members_text, parse_members),
    "Extensions": ("TEXT", extensions_text, parse_extensions),
    "NumbersHeard": ("TEXT", numbers_text, parse_numbers),
    "By": ("TEXT", str, By),
    "State": ("TEXT", lambda state: state.value, _STATES.__getitem__),
    "Cause": ("TEXT", str, Cause),
}
"""By a field's type: its column's, how the field becomes the row's value, and back (ValueError, KeyError: this
version does not know the value; None: the value is the field)."""

_LONGEST = {"name": NAME_MAX, "program": NAME_MAX, "reason": REASON_MAX, "status": STATUS_MAX, "text": TEXT_MAX}
"""Characters of the fields that are longer than others."""


class Table:
    """One table, of entries of one class."""

    def __init__(self, name: str, entry: type[Any], *key: str) -> None:
        self.name = name
        self._entry = entry
        self._names = [each.name for each in fields(entry)]
        self._fields = attrgetter(*self._names)
        self._to_values: list[Callable[[Any], Value]] = []
        self._from_values: list[tuple[int, Callable[[Any], Any]]] = []
        columns = []
        for index, each in enumerate(fields(entry)):
            kind = each.type.removesuffix(" | None")
            sql, to_value, from_value = _KINDS[kind]
            if each.name == "name":
                from_value = check_name
            if each.name in _LONGEST:
                to_value = text(_LONGEST[each.name])
            if kind != each.type:
                to_value, from_value = optional(to_value), from_value and optional(from_value)
            elif sql:
                sql += " NOT NULL"
            columns.append(f"{each.name} {sql}".rstrip())
            self._to_values.append(to_value)
            if from_value is not None:
                self._from_values.append((index, from_value))
        inside = ", ".join([*columns, "sum INTEGER NOT NULL", f"PRIMARY KEY ({', '.join(key)})"])
        self.create = f"CREATE TABLE {name} ({inside}) WITHOUT ROWID"

    @cached_property
    def select(self) -> str:
        """Reads whole rows, the sum last; a WHERE or ORDER BY may follow."""
        return f"SELECT {', '.join(self._names)}, sum FROM {self.name}"  # noqa: S608

    def insert(self, conflict: str) -> str:
        """Writes a whole row; ``conflict``: IGNORE or REPLACE."""
        marks = ", ".join("?" * (len(self._names) + 1))
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


REGISTRY = Table("registry", Declared, "name")
INCIDENTS = Table("incidents", IncidentRecord, "id")
STEPS = Table("steps", StepRun, "incident", "step", "run")
EVIDENCE = Table("evidence", EvidenceTaken, "incident", "taken")
EVENTS = Table("events", EventSeen, "run", "seq")
FEEDS = Table("feeds", LastFeed, "name")
CLOCKS = Table("clocks", ClockSpan, "number")

KEPT = (REGISTRY, INCIDENTS, STEPS, EVIDENCE, EVENTS, FEEDS, CLOCKS)
"""The tables that hold entries, the most important first."""

ADDED = (FEEDS, CLOCKS)
"""Of those, what a journal of this version may lack: it is added when the file is opened for writing."""
