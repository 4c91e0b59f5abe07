"""What another process did to the files of an open journal: one of two things, not both."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from banken_supervisor.journal.open_files import OpenFiles


def test_a_file_that_was_moved_is_not_altered(tmp_path: Path) -> None:
    """Also where it is moved between the two questions: whoever closes the altered file leaves its log there."""
    path = tmp_path / "journal.db"
    path.write_bytes(b"1")
    files = OpenFiles(str(path), os.stat(path))
    assert (files.moved(), files.altered()) == (False, False)
    path.write_bytes(b"12")
    assert (files.moved(), files.altered()) == (False, True)
    shutil.copy(path, f"{path}.backup")
    os.rename(f"{path}.backup", path)
    assert (files.moved(), files.altered()) == (True, False)
    path.unlink()
    assert (files.moved(), files.altered()) == (True, False)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_was_moved_while_it_was_opened_is_moved(tmp_path: Path, replaced: bool) -> None:
    """To open and check a large one takes seconds."""
    path = tmp_path / "journal.db"
    path.write_bytes(b"1")
    before = os.stat(path)
    path.rename(tmp_path / "elsewhere")
    if replaced:
        path.write_bytes(b"1")
    assert OpenFiles(str(path), before).moved()
