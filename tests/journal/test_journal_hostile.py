"""A journal may come from anywhere: whatever it holds, no command falls over it, and no terminal obeys it."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from journal_kit import NOW, opened, write

from banken_supervisor import cli
from banken_supervisor.engine.effects import EventType
from banken_supervisor.journal import EventSeen, EvidenceTaken, JournalRefused, StepRun, schema, squeeze
from banken_supervisor.journal.tables import EVENTS, INCIDENTS, Table, checksum

ESCAPES = "\x1b[2J\x1b]0;title\x07\u202e\x9b31m\nFORGED\r"

WRONG: tuple[Any, ...] = (
    None, [], {}, -1, 2**70, 1e300, True, ESCAPES, [None], {"a": [ESCAPES]}, "x" * 20_000, [[1]], {"x": {"y": {}}},
)  # fmt: skip

FIELDS = [
    "what",
    "do",
    "text",
    "reason",
    "step",
    "run",
    "how",
    "lasted",
    "silence",
    "late",
    "cause",
    "pid",
    "status",
    "of",
    "count",
    "period",
    "seconds",
    "level",
    "feeds",
    "progress",
    "file",
    "total",
    "why",
    "after",
    "attempt",
    "ran",
    "again",
    "age",
    "timeout",
    "operator",
    "worker",
    "recovered",
]

FRAME = {"function": "wait", "file": "/x/job.py", "line": 5}
THREAD = {
    "thread": 1, "tid": 2, "name": "MainThread", "main": True, "active": None, "gil": None, "frames": [FRAME],
    "frames_left_out": 0, "wait": {"channel": "futex_do_wait", "syscall": "futex"},
}  # fmt: skip
EVIDENCE = {
    "version": 1, "pid": 5, "headline": "MainThread in wait (job.py:5)", "stacks_by": "py-spy", "threads": [THREAD],
    "threads_left_out": 0, "tasks": [], "tasks_left_out": 0, "problems": ["one"], "main_wait": THREAD["wait"],
    "process": {
        "state": "S", "state_words": "sleeping", "cpu_now": 0.1, "cpu_user_s": 1.0, "cpu_system_s": 1.0,
        "rss_bytes": 5_000_000, "threads": 3, "fds": 4, "fds_max": 1024, "cmdline": ["python", "job.py"],
        "children": [6], "cgroup": {"bytes": 1, "bytes_max": 2, "path": "/x"},
    },
    "said": {"silence": 1.0, "status": "busy", "progress": 3, "feeds": [[1.0, 1.0], [2.0, 1.0]]},
    "outputs": [{"of": "w", "lines": ["one", "two"]}],
}  # fmt: skip

COMMANDS = (
    "incidents", "incident r-00001", "history w", "events -n 50", "journal check", "journal export",
    "incident r-00001 --json", "events -n 50 --json",
)  # fmt: skip


def commands(path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Run all that read; what they print."""
    monkeypatch.setenv("BANKEN_ADDRESS", f"{path}.none")
    whole = ""
    for words in COMMANDS:
        monkeypatch.setattr(sys, "argv", ["banken", *words.split(), "--journal", path])
        code = cli._run()
        printed = "".join(capsys.readouterr())
        assert code in (0, 1), (words, printed[-500:])
        assert "fault of banken" not in printed, (words, printed[-500:])
        assert all(c.isprintable() or c == "\n" for c in printed), words
        assert "\nFORGED" not in printed, words
        assert len(printed) < 1_000_000, words
        whole += printed
    return whole


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield from _places(inner, (*path, key))


def _spoilt(value: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    if not path:
        return wrong
    made = copy.copy(value)
    made[path[0]] = _spoilt(value[path[0]], path[1:], wrong)
    return made


@pytest.mark.parametrize("seed", range(3))
def test_rows_of_any_content_are_shown_or_said_not_to_be_understood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Events of every type with fields of every kind, evidence of any shape, escapes in every text."""
    source = random.Random(seed)
    path = str(tmp_path / "journal.db")
    entries: list[Any] = [opened(1, reason=f"{ESCAPES}\nmore", status=ESCAPES, progress=ESCAPES, level=ESCAPES)]
    for number, kind in enumerate([*EventType, ESCAPES], 1):
        data = {key: source.choice(WRONG) for key in source.sample(FIELDS, 12)}
        entries.append(EventSeen(number, NOW + number, str(kind), "w", {**data, "incident": "r-00001"}))
    entries.append(StepRun("r-00001", 0, 1, ESCAPES, NOW, False, f"{ESCAPES}\n{ESCAPES * 50}"))
    places = list(_places(EVIDENCE))
    for number in range(12):
        found = _spoilt(EVIDENCE, source.choice(places), source.choice(WRONG))
        taken = found if isinstance(found, dict) else {"data": found}
        entries.append(EvidenceTaken("r-00001", NOW + number, squeeze(taken)))
    write(path, *entries)
    printed = commands(path, capsys, monkeypatch)
    assert "r-00001" in printed
    assert "FORGED" in printed


def test_evidence_that_is_whole_is_shown_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "journal.db")
    write(path, opened(1), EvidenceTaken("r-00001", NOW, squeeze(EVIDENCE)))
    printed = commands(path, capsys, monkeypatch)
    assert "wait  job.py:5" in printed
    assert "not understood" not in printed


def test_values_of_another_kind_are_a_problem_and_no_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the right checksum: a time that no clock has, a number in the place of a name, JSON without an end."""
    path = str(tmp_path / "journal.db")
    write(path, opened(1), opened(2))
    rows: list[tuple[Table, list[Any]]] = []
    for column, wrong in ((3, 1e300), (3, "soon"), (1, 5), (2, "bored"), (11, "never"), (13, "x"), (6, b"x")):
        values: list[Any] = list(INCIDENTS.row(opened(3)))[:-1]
        values[0], values[column] = f"x-{len(rows)}", wrong
        rows.append((INCIDENTS, values))
    for number, wrong in enumerate(("[" * 50_000, "{", "5", '{"incident": 5}')):
        values = list(EVENTS.row(EventSeen(900 + number, NOW, "expired", "w", {})))[:-1]
        values[4] = wrong
        rows.append((EVENTS, values))
    with closing(schema.open_writing(path)) as connection:
        for table, values in rows:
            connection.execute(table.insert("REPLACE"), [*values, checksum(table.name, values)])
    printed = commands(path, capsys, monkeypatch)
    assert "r-00002" in printed


@pytest.mark.parametrize("seed", range(2))
def test_any_bytes_are_read_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Flipped, cut, filled with noise, and no database at all."""
    source = random.Random(seed)
    path = tmp_path / "journal.db"
    events = [EventSeen(number, NOW, "expired", "w", {"text": "x" * 300}) for number in range(40)]
    write(str(path), opened(1), *events, EvidenceTaken("r-00001", NOW, squeeze(EVIDENCE)))
    whole = path.read_bytes()
    changed = bytearray(whole)
    for _ in range(source.choice((1, 10, 300))):
        changed[source.randrange(len(changed))] = source.randrange(256)
    cut = source.randrange(len(whole))
    for content in (changed, whole[:cut], whole[:100] + source.randbytes(20_000), source.randbytes(5_000), b""):
        path.write_bytes(content)
        commands(str(path), capsys, monkeypatch)
    path.unlink()
    path.mkdir()
    commands(str(path), capsys, monkeypatch)
    with pytest.raises(JournalRefused):
        schema.check_regular(str(path))
