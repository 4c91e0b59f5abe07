"""A journal's path that names somebody else's file: it costs nobody that file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from banken_supervisor.journal import Journal, JournalError, checking, schema
from process.kit import until


@pytest.mark.parametrize("content", [b"root:x:0:0:root:/root:/bin/bash\n", b"\0" * 8192], ids=["text", "zeros"])
def test_a_file_that_was_never_a_journal_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    """It is not moved aside as a damaged journal would be, and nothing is put beside it."""
    path = tmp_path / "passwd"
    path.write_bytes(content)
    path.chmod(0o644)
    journal = Journal(str(path), "run-1")
    try:
        until(lambda: journal.condition.state == "failing", "it is refused")
        assert "is no journal, and is left alone" in journal.state()["reason"]
    finally:
        journal.close(0.1)
    with pytest.raises((JournalError, sqlite3.Error)):
        checking.vacuum(str(path))
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["passwd"]


def test_a_journal_whose_head_was_damaged_is_still_moved_aside(tmp_path: Path) -> None:
    """The lock that its writer left beside it tells that it was one."""
    path = tmp_path / "journal.db"
    first = Journal(str(path), "run-1")
    until(lambda: first.condition.state == "ok", "it is open")
    first.close(5.0)
    with path.open("r+b") as file:
        file.write(b"\0" * 100)
    second = Journal(str(path), "run-2")
    try:
        until(lambda: second.condition.state == "moved-aside", "a new one is there")
    finally:
        second.close(5.0)
    assert len(schema.files_aside(str(path))) == 1
