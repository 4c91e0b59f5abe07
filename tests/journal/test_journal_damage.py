"""A damaged journal: what is not sound is never returned, what is sound is kept, and recording goes on."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from journal_kit import NOW, WAIT, Opening, dump, load, opened, until, write

from banken.protocol.messages import Declaration
from banken_supervisor.journal import (
    Condition,
    Declared,
    IncidentRecord,
    Journal,
    JournalDamaged,
    JournalError,
    checking,
    reading,
    restore,
    schema,
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, set[str]]:
    """A closed journal, one that was left with everything still in its log, as kill -9 leaves it, and all rows."""
    folder = tmp_path_factory.mktemp("sound")
    closed, left = str(folder / "closed.db"), str(folder / "left.db")
    journal = Journal(closed, "run-1")
    for entry in load(400):
        journal.record(entry)
    assert journal.flush(WAIT)
    for suffix in ("", "-wal"):
        shutil.copy(closed + suffix, left + suffix)
    assert journal.close(WAIT)
    return closed, left, {json.dumps(row, sort_keys=True) for row in dump(closed)}


def harm(path: str, chance: random.Random) -> str:
    """Do to a file what disks do: flip bits, zero or overwrite a stretch, cut it short."""
    size = os.path.getsize(path)
    how = chance.choice(["flip", "flips", "zero", "garbage", "cut", "head"])
    with open(path, "r+b") as file:
        if how == "cut":
            file.truncate(chance.randrange(size))
        elif how in ("zero", "garbage"):
            at = chance.randrange(size)
            length = min(size - at, chance.choice([1, 64, 4096, 20_000]))
            file.seek(at)
            file.write(bytes(length) if how == "zero" else chance.randbytes(length))
        else:
            for _ in range(8 if how == "flips" else 1):
                at = chance.randrange(100 if how == "head" else size)
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 1 << chance.randrange(8)]))
    return how


SEEDS = range(200 if os.environ.get("BANKEN_LONG") else 32)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_journal_yields_nothing_wrong_and_takes_what_comes(
    seed: int, sound: tuple[str, str, set[str]], path: str
) -> None:
    """No exception, no row that was not written, and everything recorded from now on is there."""
    closed, left, written = sound
    chance = random.Random(seed)
    log_too = chance.random() < 0.3
    shutil.copy(left if log_too else closed, path)
    if log_too:
        shutil.copy(left + "-wal", path + "-wal")
    target = path + "-wal" if log_too and chance.random() < 0.8 else path
    how = harm(target, chance)

    def believe(found: list[Any]) -> int:
        """Every row is one that was written; one that the log had may be there as it was before its end."""
        for row in found:
            if "problem" in row:
                continue
            end = (
                {}
                if row.get("closed")
                else {"closed": NOW + int(row.get("id", "-0")[2:] or 0) + 5, "how": "fed", "runs": 2}
            )
            later = {**row, **end} if row["table"] == "incidents" and log_too else row
            same = {json.dumps(each, sort_keys=True) for each in (row, later)}
            assert same & written, (how, row)
        return len(found)

    restore(path)
    checking.check(path)
    try:
        believe(dump(path))
    except JournalError:
        pass  # it says so, and returns nothing
    journal = Journal(path, "run-2")
    new = load(40, start=10_000)
    for entry in new:
        assert journal.record(entry) is not None
    assert journal.flush(WAIT), (how, journal.state())
    state = journal.state()
    assert state["state"] in ("ok", "moved-aside")
    assert journal.close(WAIT)
    after = dump(path)
    # The sums of events are not looked at when it is opened; those that are wrong stay, and are told.
    assert all(row["problem"].startswith("events:") for row in after if "problem" in row)
    after = [row for row in after if "problem" not in row]
    recorded = {"run-2", *(entry.id for entry in new if isinstance(entry, IncidentRecord))}
    fresh = [
        row
        for row in after
        if {row.get("run"), row.get("incident"), row.get("id")} & recorded
        or (row["table"] == "registry" and int(row["name"][2:]) >= 10_000)
    ]
    assert len(fresh) == 5 * 40
    believe([row for row in after if row not in fresh])
    if state["state"] == "moved-aside":
        assert os.path.exists(state["moved_aside"])  # as damaged, or as of the schema that its header now names
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_damaged_journal_is_moved_aside_and_told(path: str, opening: Opening) -> None:
    """One page of one table overwritten: what can be read is what the next supervisor begins with; it is asked for
    all that is watched, for the new file; and the old one is left as it is, to be looked into."""
    write(path, *load(400))
    connection = sqlite3.connect(path)
    leaf = connection.execute(
        "SELECT max(pageno) FROM dbstat WHERE name = 'registry' AND pagetype = 'leaf'"
    ).fetchone()[0]
    connection.close()
    with open(path, "r+b") as file:
        file.seek((leaf - 1) * 4096)
        file.write(b"\xa5" * 4096)
    damaged = Path(path).read_bytes()
    left = restore(path)
    assert len(left.open) == 266
    assert 100 < len(left.registry) < 400
    assert any(each.startswith("registry:") for each in left.problems)
    conditions: list[Condition] = []
    journal = opening(changed=conditions.append)
    until(lambda: journal.condition.state == "moved-aside", "it is moved aside")
    assert conditions[-1].resync
    (old,) = schema.files_aside(path)
    assert journal.state()["moved_aside"] == old
    assert old in journal.state()["reason"]
    assert "Page" in journal.state()["reason"], "and what SQLite says of it"
    assert dump(path) == []
    assert Path(old).read_bytes() == damaged
    rows = dump(old)
    assert len([row for row in rows if row.get("table") == "incidents"]) == 400
    assert "problem" in rows[-1]


def test_a_journal_that_was_cut_short_is_moved_aside(path: str, opening: Opening) -> None:
    """SQLite itself refuses a file that is shorter than its header says; nobody else takes it for an empty one."""
    write(path, *load(400))
    os.truncate(path, os.path.getsize(path) * 3 // 4)
    assert restore(path).problems
    with pytest.raises(JournalError, match="malformed"):
        reading.incidents(path)
    with pytest.raises(JournalError, match="malformed"):
        reading.events(path, lambda kind, name: True)
    journal = opening()
    until(lambda: journal.condition.state == "moved-aside", "it is moved aside")
    assert restore(path).problems == []


def test_one_flipped_bit_in_a_row_is_noticed(path: str, opening: Opening) -> None:
    """SQLite's own checks say that such a file is fine."""
    write(path, Declared("first", Declaration()), Declared("second", Declaration(), changed=NOW), opened(1))
    raw = bytearray(Path(path).read_bytes())
    at = raw.index(b"second")
    raw[at] ^= 1
    Path(path).write_bytes(raw)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    assert [each.name for each in restore(path).registry] == ["first"]
    assert reading.history(path, "recond").registered is None
    assert any("checksum" in each for each in checking.check(path))
    journal = opening()
    until(lambda: journal.condition.state == "moved-aside", "it is moved aside")
    assert checking.check(path) == []
    with pytest.raises(JournalDamaged, match="moves it aside"):
        checking.vacuum(journal.state()["moved_aside"])


def test_damage_while_it_is_open_is_noticed_when_it_is_met(path: str, opening: Opening) -> None:
    """The file is overwritten under the writer: it goes on in another one, and loses nothing that waits."""
    conditions: list[Condition] = []
    journal = opening(changed=conditions.append)
    for entry in load(300):
        journal.record(entry)
    assert journal.flush(WAIT)
    other = sqlite3.connect(path)
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    other.close()
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(os.path.getsize(path) - 4096))
    for number in range(20_000, 20_500):
        journal.record(opened(number, f"n-{number}"))
    assert journal.flush(WAIT), journal.state()
    # It is "ok" until it has met the damage.
    until(lambda: journal.condition.state == "moved-aside" and journal.flush(WAIT), "it writes into another one")
    found = {each.id for each in reading.incidents(path, limit=10_000)}
    assert {f"r-{number:05}" for number in range(20_000, 20_500)} <= found
    assert journal.state()["state"] == "moved-aside"
    assert conditions[-1].resync


@pytest.mark.parametrize("killed_after", ["half a new one", "the old one renamed", "its log renamed"])
def test_a_move_that_was_cut_short_costs_no_later_entry(killed_after: str, path: str) -> None:
    """kill -9 between any two steps of moving a damaged journal aside and beginning another."""
    write(path, opened(1))
    if killed_after == "half a new one":
        Path(f"{path}.making").write_bytes(b"half")
    else:
        os.rename(path, f"{path}.damaged-20260101T000000Z")
    if killed_after == "the old one renamed":
        Path(f"{path}-wal").write_bytes(os.urandom(10_000))
    write(path, opened(2))
    kept = ["r-00002", "r-00001"] if killed_after == "half a new one" else ["r-00002"]
    assert [each.id for each in reading.incidents(path)] == kept
    assert checking.check(path) == []


def test_damaged_files_do_not_pile_up(path: str) -> None:
    """The newest few are kept, to be looked into."""
    write(path, opened(0))  # its lock stays: it was a journal once
    for turn in range(schema.ASIDE_MAX + 3):
        Path(path).write_bytes(b"not a database at all" * 100)
        write(path, opened(turn))
    assert len(schema.files_aside(path)) == schema.ASIDE_MAX
