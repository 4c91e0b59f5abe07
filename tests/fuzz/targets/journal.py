"""A journal that is damaged, or that others wrote: it is read as far as it can be, and nothing is invented."""

from __future__ import annotations

import io
import os
import sqlite3
import sys
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any

import msgpack

from banken.protocol.messages import Declaration, ProcessIdentity
from banken_supervisor.engine.effects import Effect
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.states import State
from banken_supervisor.journal import (
    ClockHistory,
    Declared,
    EvidenceTaken,
    IncidentClosed,
    IncidentRecord,
    Journal,
    JournalError,
    LastFeed,
    Reading,
    Restored,
    StepRun,
    checking,
    reading,
    restore,
    schema,
    squeeze,
)
from banken_supervisor.journal.tables import KEPT, checksum
from banken_supervisor.outbox.checkpoints import snapshot_from
from fuzz.mutation import EDGES, changed
from fuzz.targets import Own, directory
from fuzz.targets.engine import _check_effects, _check_table

sys.path.append(str(Path(__file__).parents[2] / "journal"))
from journal_kit import NOW, WAIT, opened

WATCHDOGS = 12
WHO = ProcessIdentity(b"bootboot", 2**30, 5, b"nnnn")
OPEN = {f"r-{number:05}" for number in range(0, WATCHDOGS, 3)}
"""The incidents that are open in the journal."""


class JournalFile(Own):
    """The first byte: 0 damages the file as it was left in order, 1 the file and its log as kill -9 left them, 2
    puts in rows with a right checksum. What follows says where and with what."""

    SECONDS = 2.0
    QUICK = 150

    def __init__(self) -> None:
        super().__init__()
        self._place = directory()
        self._path = os.path.join(self._place.name, "journal.db")
        journal = Journal(self._path, "run-1")
        for entry in _entries():
            assert journal.record(entry) is not None
            assert journal.flush(WAIT)  # a transaction each, so that the older rows leave their traces
        self._killed = Path(self._path).read_bytes(), Path(f"{self._path}-wal").read_bytes()
        assert journal.close(WAIT)
        self._whole = Path(self._path).read_bytes(), b""
        self._rows = {table.name: self._rows_of(table) for table in KEPT}
        self._known = _facts(restore(self._path))
        assert {each[1].id for each in self._known if each[0] == "open"} == OPEN
        self._ever = self._known | _ever()

    def fresh(self, chance: Random) -> bytes:
        how = chance.randrange(3)
        if how == 2:
            made = b"\2"
            for _ in range(chance.randint(1, 3)):
                number = chance.randrange(len(KEPT))
                rows = self._rows[KEPT[number].name]
                row: Any = list(chance.choice(rows)) if rows else [chance.choice(EDGES)]
                for _ in range(chance.choice((1, 1, 2))):
                    row = changed(chance, row)
                packed = msgpack.packb(row)
                made += bytes((number,)) + len(packed).to_bytes(2, "big") + packed
            return made
        size = sum(map(len, self._killed if how else self._whole))
        made = bytes((how,))
        for _ in range(chance.choice((1, 1, 2, 5, 20))):
            made += bytes((chance.randrange(5),)) + chance.randrange(size).to_bytes(4, "big") + chance.randbytes(8)
        return made

    def check(self, data: bytes) -> None:
        how = data[0] % 3 if data else 0
        if how == 2:
            self._write(self._whole)
            self._put(data[1:])
        else:
            self._write(_damaged(self._killed if how else self._whole, data[1:]))
        restored = restore(self._path)
        if how != 2:
            invented = _facts(restored) - (self._ever if how else self._known)
            assert not invented, invented
        for problem in restored.problems:
            assert isinstance(problem, str)
        _check_restored(restored)
        self._check_readers()
        if how != 2 and data[-1:] < b"\x10":  # a sixteenth of them: it takes as long as all the rest
            self._check_writer()

    def close(self) -> None:
        self._place.cleanup()

    def _check_readers(self) -> None:
        """All that read raise nothing but what they say."""
        problems: list[str] = []
        for read in (
            lambda: checking.check(self._path),
            lambda: checking.export(self._path, io.StringIO(), problems),
            lambda: reading.incidents(self._path),
            lambda: reading.history(self._path, "w-1"),
            lambda: reading.events(self._path, lambda kind, name: True),
        ):
            with suppress(JournalError):
                read()
        for each in sorted(OPEN)[:1]:
            with suppress(JournalError):
                story = reading.incident(self._path, each)
                if story is not None:
                    reading.whole(story)

    def _check_writer(self) -> None:
        """A new supervisor goes on with the file, or sets it aside and begins another."""
        Path(f"{self._path}.lock").touch()  # its former writer left it
        journal = Journal(self._path, "run-2")
        try:
            assert journal.record(opened(99, "w-99")) is not None
            if journal.flush(WAIT):
                assert journal.condition.state in ("ok", "moved-aside"), journal.state()
                assert "r-00099" in {each.opened.id for each in restore(self._path).open}
            else:
                assert "another program's" in journal.state()["reason"], journal.state()
        finally:
            journal.close(WAIT)
            for left in Path(self._place.name).iterdir():
                left.unlink()

    def _write(self, content: tuple[bytes, bytes]) -> None:
        for ending, data in zip(("", "-wal"), content, strict=True):
            Path(self._path + ending).write_bytes(data)
        with suppress(FileNotFoundError):
            os.unlink(f"{self._path}-shm")

    def _put(self, data: bytes) -> None:
        """Rows of any content, each with its checksum."""
        with closing(schema.open_writing(self._path)) as connection:
            while len(data) >= 3:
                table, size = KEPT[data[0] % len(KEPT)], int.from_bytes(data[1:3], "big")
                packed, data = data[3 : 3 + size], data[3 + size :]
                with suppress(ValueError, TypeError, OverflowError, msgpack.UnpackException, sqlite3.Error):
                    row = msgpack.unpackb(packed)
                    connection.execute(table.insert("REPLACE"), [*row, checksum(table.name, row)])

    def _rows_of(self, table: Any) -> list[Any]:
        with closing(sqlite3.connect(self._path)) as connection:
            return list(schema.scan(connection, table, None))


def _entries() -> list[Any]:
    made: list[Any] = []
    for number in range(WATCHDOGS):
        name = f"w-{number}"
        verdict = opened(number, name, reason="hung" * number, pid=number or None)
        made += [
            Declared(name, Declaration(), owner=WHO if number % 2 else None, changed=NOW, boot="aa", ticks=1.0),
            verdict,
            Declared(name, Declaration(5.0), 0.1, WHO, State.ALIVE, members=(WHO,), incidents=1, changed=NOW),
            StepRun(verdict.id, 0, 1, "dump", NOW, None),
            StepRun(verdict.id, 0, 1, "dump", NOW, True, "done"),
            EvidenceTaken(verdict.id, NOW + number, squeeze({"headline": "x" * 50 * number})),
            LastFeed(name, "aa", 1.0, 2.0, None, number, 3.0),
        ]
        if verdict.id not in OPEN:
            made.append(IncidentClosed(verdict.id, NOW + number + 5, "fed", 2))
    return made


def _facts(restored: Restored) -> set[tuple[str, Any]]:
    """What a new supervisor would begin with."""
    return {
        *(("open", each.opened) for each in restored.open),
        *(("step", run) for each in restored.open for run in each.steps if run.ok is not None),
        *(("watchdog", each) for each in restored.registry),
        *(("feed", each) for each in restored.feeds.values()),
        *(("ran", run) for runs in restored.ran.values() for run in runs if run.ok is not None),
    }


def _ever() -> set[tuple[str, Any]]:
    """What a new supervisor began with after any transaction: a damaged log ends earlier, and none can tell."""
    kinds = {IncidentRecord: ("open",), StepRun: ("step", "ran"), Declared: ("watchdog",), LastFeed: ("feed",)}
    return {(kind, each) for each in _entries() for kind in kinds.get(type(each), ())}


def _check_restored(restored: Restored) -> None:
    """An engine takes it, and can be shown."""
    engine, out = Engine(Rules(Declaration()), "run-2"), list[Effect]()
    engine.restore(snapshot_from(restored, ClockHistory(restored.clocks, Reading.now())), 1_000.0, out)
    engine.verdicts.sweep(1_000.0, out)
    _check_table(engine, 1_000.0)
    _check_effects(out, {record.name for record in engine.table})


def _damaged(content: tuple[bytes, bytes], changes: bytes) -> tuple[bytes, bytes]:
    """The file and its log, changed: bytes put in place, moved from elsewhere, bits turned, a stretch zeroed, the
    end cut off."""
    data, first = bytearray(b"".join(content)), len(content[0])
    while len(changes) >= 13 and data:
        how, place, more = changes[0] % 5, int.from_bytes(changes[1:5], "big") % len(data), changes[5:13]
        size = 1 + more[0] % 8
        if how == 0:
            data[place : place + size] = more[:size]
        elif how == 1:
            start = int.from_bytes(more[1:5], "big") % len(data)
            data[place : place + 2 * size] = data[start : start + 2 * size]
        elif how == 2:
            data[place] ^= 1 << (more[1] % 8)
        elif how == 3:
            data[place : place + 64 * size] = bytes(len(data[place : place + 64 * size]))
        elif more[1] < 40:
            del data[place:]
        changes = changes[13:]
    return bytes(data[:first]), bytes(data[first:])
