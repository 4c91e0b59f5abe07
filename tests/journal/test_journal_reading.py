"""Reading the journal: incidents, histories and exports, and what a supervisor begins with after a restart."""

from __future__ import annotations

import io
import json
import math
import sqlite3
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from journal_kit import NOW, load, opened, write

from banken.protocol.messages import Declaration, Feeders
from banken_supervisor.engine.snapshot import DUE_PER_SECOND, SHARE_MAX, rearm_offset
from banken_supervisor.journal import Declared, EventSeen, IncidentClosed, StepRun, checking, reading, restore
from banken_supervisor.journal.tables import REGISTRY, checksum
from banken_supervisor.journal.values import a_progress, parse_declaration


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the journal of one test is."""
    return str(tmp_path / "journal.db")


# -- reading ------------------------------------------------------------------------------------------


def test_incidents_are_found_by_name_time_and_state(path: str) -> None:
    """Newest first, bounded."""
    ends = [IncidentClosed(f"r-{number:05}", NOW + number + 0.5, "fed") for number in range(8)]
    write(path, *(opened(number, f"w-{number % 2}") for number in range(10)), *ends)

    def ids(**wanted: Any) -> list[int]:
        return [int(each.id[2:]) for each in reading.incidents(path, **wanted)]

    assert ids() == list(range(9, -1, -1))
    assert ids(limit=3) == [9, 8, 7]
    assert ids(open_only=True) == [9, 8]
    assert ids(since=NOW + 6) == [9, 8, 7, 6]
    assert ids(name="w-1", since=NOW + 4) == [9, 7, 5]
    assert ids(name="nobody") == []
    assert reading.incident(path, "r-00099") is None


def test_a_history_holds_the_newest_events_of_one_name(path: str) -> None:
    """Across runs, in order."""
    write(path, Declared("w", Declaration()), *(EventSeen(n, NOW + n, "t", "w") for n in range(10)), run="a")
    write(path, *(EventSeen(n, NOW + 50 + n, "t", "w" if n % 2 else "v") for n in range(10)), opened(1), run="b")
    history = reading.history(path, "w", limit=7)
    assert [(each.run, each.seq) for each in history.events] == [
        ("a", 8), ("a", 9), ("b", 1), ("b", 3), ("b", 5), ("b", 7), ("b", 9),
    ]  # fmt: skip
    assert history.registered is not None
    assert [each.id for each in history.incidents] == ["r-00001"]


def test_a_restart_knows_what_was_done_in_open_incidents(path: str) -> None:
    """Steps that ran, and one that was begun and whose end nobody recorded."""
    write(
        path,
        opened(1),
        opened(2),
        StepRun("r-00001", 1, 1, "signal", NOW + 10),
        StepRun("r-00001", 0, 1, "dump", NOW, True),
        StepRun("r-00001", 0, 2, "dump", NOW + 5, False),
        StepRun("r-00002", 0, 1, "dump", NOW, True),
        IncidentClosed("r-00002", NOW, "fed"),
    )
    restored = restore(path)
    assert sum(restored.counts.values()) == 2
    (left,) = restored.open
    assert left.opened == opened(1)
    assert [(each.step, each.run, each.ok) for each in left.steps] == [(0, 1, True), (0, 2, False), (1, 1, None)]


def test_what_a_later_version_adds_to_a_declaration_is_left_out(path: str) -> None:
    """Its fields travel as JSON; unknown ones are skipped, missing ones have their defaults."""
    text = json.dumps({"timeout": 5.0, "tomorrow": [1], "feeders": "any"})
    assert parse_declaration(text) == Declaration(timeout=5.0, feeders=Feeders.ANY)


@pytest.mark.parametrize(
    ("column", "written"),
    [
        ("declaration", "[]"),
        ("declaration", "7"),
        ("declaration", "[" * 50_000),
        ("declaration", '{"timeout": "soon"}'),
        ("declaration", '{"grace": 1e999}'),
        ("declaration", '{"feeders": "nobody"}'),
        ("declaration", '{"clean": [1000]}'),
        ("owner", "b-1-2"),
        ("owner", f"{'ab' * 8}-{2**70}-1-{'cd' * 4}"),
        ("state", "bored"),
        ("incidents", "many"),
        ("incidents", -1),
        ("incidents", 2**60),
        ("resolution", 1e300),
        ("resolution", float("inf")),
        ("name", ""),
        ("name", "\x1b[2J"),
    ],
)
def test_a_row_of_another_kind_costs_that_row_only(path: str, column: str, written: object) -> None:
    """With the right checksum: an engine must not be given a timeout that is none."""
    write(path, *(Declared(f"w-{number}", Declaration(), incidents=1) for number in range(3)))
    names = [each.name for each in fields(Declared)]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        row = list(connection.execute(f"{REGISTRY.select} WHERE name = 'w-1'").fetchone())[:-1]
        row[names.index(column)] = written
        connection.execute("DELETE FROM registry WHERE name = 'w-1'")
        connection.execute(REGISTRY.insert("REPLACE"), [*row, checksum("registry", row)])
    restored = restore(path)
    assert [each.name for each in restored.registry] == ["w-0", "w-2"]
    assert "not know" in restored.problems[0]
    assert checking.check(path)


def test_an_export_is_one_sound_line_for_each_row(path: str) -> None:
    """Strict JSON, with evidence unpacked."""
    write(path, *load(5), replace(opened(77), progress=math.inf))
    out = io.StringIO()
    count = checking.export(path, out, [])

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    lines = [json.loads(line, parse_constant=refuse) for line in out.getvalue().splitlines()]
    assert len(lines) == count == 5 * 5 + 1 + 1
    assert [each["number"] for each in lines if each["table"] == "clocks"] == [1]
    assert [each["data"]["n"] for each in lines if each["table"] == "evidence"] == [0, 1, 2, 3, 4]


# -- after a restart ------------------------------------------------------------------------------------


def test_after_a_restart_everyone_has_a_full_timeout_and_not_all_are_due_at_once() -> None:
    """At most a share of its own timeout later; few fall due together; the same in any order."""
    names = [(f"worker-{number}", 30.0) for number in range(20_000)]
    offsets = [rearm_offset(name, timeout, len(names)) for name, timeout in names]
    assert all(0.0 <= each <= 30.0 * SHARE_MAX for each in offsets)
    per_tenth = [0] * 151
    for each in offsets:
        per_tenth[int(each * 10)] += 1
    assert max(per_tenth) < 2 * 20_000 / (30.0 * SHARE_MAX * 10)
    assert [rearm_offset(name, timeout, len(names)) for name, timeout in names[::-1]] == offsets[::-1]
    assert rearm_offset("w\udc80", 30.0, 1) < 1 / DUE_PER_SECOND
    assert max(rearm_offset(f"w-{number}", 3600.0, 1_000) for number in range(1_000)) <= 1.0


@pytest.mark.parametrize("value", [b"\x00", [], True])
def test_a_progress_is_a_number_or_a_text(value: Any) -> None:
    """A client does not understand a row with anything else."""
    with pytest.raises(ValueError, match="a progress is"):
        a_progress(value)
