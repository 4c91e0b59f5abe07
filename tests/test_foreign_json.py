"""JSON that others wrote: a file that was damaged, an answer of a worker. What is none is said to be none."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from banken_supervisor.evidence import stacks
from banken_supervisor.evidence.announced_dumps import NotAnnounced, answer_of
from banken_supervisor.journal import values
from banken_supervisor.operator_client.supervisor_client import lock_holder
from banken_supervisor.programs.run_records import RunRecords
from banken_supervisor.runtime import lock
from banken_supervisor.text.sanitize import from_json

DEEP = b"[" * 50_000
"""What the standard library answers with a RecursionError."""

HUGE = b'{"pid": 1e999, "since": 1e999}'


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (from_json, ValueError),
        (answer_of, NotAnnounced),
        (stacks.threads_of, stacks.StackFault),
        (lambda data: values.unsqueeze(zlib.compress(data)), ValueError),
        (lambda data: values.parse_declaration(data.decode()), ValueError),
    ],
)
def test_what_lies_too_deep_within_itself_is_no_json(read: Callable[[bytes], Any], fault: type[Exception]) -> None:
    with pytest.raises(fault):
        read(DEEP)


@pytest.mark.parametrize("number", [float("inf"), float("nan"), 2**70, -1, None, "7"])
def test_a_number_that_is_none_is_zero(number: Any) -> None:
    """Infinity, which JSON has not and Python reads; what does not fit into an event."""
    frame = {"name": "f", "filename": "x.py", "line": number}
    thread = {
        "thread_id": number,
        "os_thread_id": 5,
        "pid": 5,
        "active": True,
        "owns_gil": False,
        "frames": [frame],
    }
    (found,) = stacks.threads_of(json.dumps([thread]).encode())
    assert (found["thread"], found["tid"], found["main"], found["frames"][0]["line"]) == (0, 5, True, 0)


@pytest.mark.parametrize("note", [DEEP[:4_000], HUGE, b'{"pid": null}', b"[]", b"7", b"\xff", b""])
def test_a_lock_whose_note_is_damaged_is_held_all_the_same(tmp_path: Path, note: bytes) -> None:
    """The kernel knows that it is held; only the pid is unknown."""
    fault = lock._in_use(str(tmp_path), note)
    assert "its pid is unknown" in str(fault)
    assert fault.holder is None
    (tmp_path / "lock").write_bytes(note)
    assert lock_holder(str(tmp_path)) is None


@pytest.mark.parametrize(
    "content",
    [DEEP, b"", b"{}", b'"stop_timeout": 10.0', b"Infinity", b"NaN", b"-1.0", b"1e300", b"999999999999"],
)
def test_a_damaged_record_is_put_aside_and_the_others_are_read(tmp_path: Path, content: bytes) -> None:
    """One file more or less: the other programs are not started twice for it."""
    records = RunRecords(str(tmp_path))
    records.prepare()
    for name in ("a", "b"):
        records.intend(name, "0" * 32)
    file = tmp_path / "programs" / "a.json"
    written = file.read_bytes()
    whole = content in (DEEP, b"", b"{}") or content.startswith(b'"')
    file.write_bytes(content if whole else written.replace(b"10.0", content))
    found, faults = RunRecords(str(tmp_path)).read()
    assert [each.name for each in found] == ["b"]
    assert list(faults) == ["a"]
    assert "is put aside" in faults["a"]
    assert not file.exists()
