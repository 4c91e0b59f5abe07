"""What an operator does to a journal: check it, export it, make it small. All of it works beside a supervisor."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import deque
from collections.abc import Iterator
from typing import Any, TextIO

from banken_supervisor.journal import schema
from banken_supervisor.journal.reading import look, plain
from banken_supervisor.journal.schema import JournalDamaged, JournalError, JournalUnreadable
from banken_supervisor.journal.tables import KEPT, Table
from banken_supervisor.journal.values import plain_json
from banken_supervisor.text.sanitize import ODD

PROBLEMS_MAX = 100
"""Problems that are reported at most."""


def check(path: str) -> list[str]:
    """All problems of the journal; empty: it is whole. Reads all of it. Never raises JournalError."""
    problems: list[str] = []
    try:
        with look(path) as connection:
            try:
                schema.check_version(connection)
                found = connection.execute(f"PRAGMA integrity_check({PROBLEMS_MAX})").fetchall()
                problems += [row[0] for row in found if row[0] != "ok"]
            except (JournalError, sqlite3.Error) as fault:
                problems.append(str(fault))
            for table in KEPT:
                deque(_contents(connection, table, problems), maxlen=0)
            for part in ("steps", "evidence"):  # whose incident was dropped while the disk was full, or lost
                with contextlib.suppress(sqlite3.DatabaseError):  # reported already
                    (count,) = connection.execute(
                        f"SELECT count(*) FROM {part} WHERE incident NOT IN (SELECT id FROM incidents)"  # noqa: S608
                    ).fetchone()
                    if count:
                        problems.append(f"{part}: {count} rows belong to no incident that is kept")
    except JournalError as fault:
        problems.append(str(fault))
    return problems[:PROBLEMS_MAX]


def export(path: str, out: TextIO, problems: list[str]) -> int:
    """Write every row as one line of JSON, with ``table``; how many. A row that cannot be read becomes a line with
    ``problem``, and is appended to ``problems``.

    JournalUnreadable, JournalRefused; OSError from ``out``.
    """
    count = 0
    with look(path) as connection:
        for table in KEPT:
            for fields in _contents(connection, table, problems):
                out.write(plain_json({"table": table.name, **fields}) + "\n")
                count += 1
    for problem in problems:
        out.write(json.dumps({"problem": problem}) + "\n")
    return count


def vacuum(path: str) -> tuple[int, int]:
    """Give the space of deleted rows back to the disk: bytes (before, after). The file's size is needed once more
    meanwhile.

    A supervisor that writes waits for it. JournalUnreadable, JournalRefused; JournalDamaged: see ``check``.
    """
    before = schema.size(path)
    try:
        with contextlib.closing(schema.open_writing(path, busy=10.0)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except JournalDamaged as fault:
        raise JournalDamaged(
            f"{path} is damaged ({fault}): the supervisor moves it aside when it opens it"
        ) from None
    except (OSError, sqlite3.Error) as fault:
        raise JournalUnreadable(f"{path} cannot be made smaller now: {fault}") from None
    return before, schema.size(path)


def _contents(connection: sqlite3.Connection, table: Table, problems: list[str]) -> Iterator[dict[str, Any]]:
    """The table's entries as plain data; a row that cannot be read is a problem."""
    for row in schema.scan(connection, table, problems):
        try:
            fields = plain(table.entry(row))
        except ODD as fault:
            problems.append(f"{table.name} {row[0]!r}: {fault}")
        else:
            yield fields
