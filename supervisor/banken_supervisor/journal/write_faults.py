"""What went wrong with a write, by SQLite's numbers."""

from __future__ import annotations

import sqlite3

from banken_supervisor.journal.schema import JournalDamaged, JournalOfAnotherSchema

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_DAMAGE_EXTENDED = {sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}
_PASSING = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
"""The connection is kept: on a full disk another one could not be opened."""

POISON = (
    sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError,
)  # fmt: skip
"""An entry's fault, not the file's. The tables' conversions leave nothing that SQLite refuses: it costs a batch."""


def kind_of(fault: Exception) -> str:
    """damaged; schema-N; passing: the connection stays; read-only; other."""
    if isinstance(fault, JournalOfAnotherSchema):
        return f"schema-{fault.version}"
    code = getattr(fault, "sqlite_errorcode", sqlite3.SQLITE_OK)
    if isinstance(fault, JournalDamaged) or code in _DAMAGE_EXTENDED or code & 0xFF in _DAMAGE:
        return "damaged"
    if code & 0xFF in _PASSING:
        return "passing"
    return "read-only" if code & 0xFF == sqlite3.SQLITE_READONLY else "other"
