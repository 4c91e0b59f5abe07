"""An export that could not read everything does not end as if it had."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from banken_supervisor.journal import Journal
from process.kit import until


@pytest.mark.parametrize("to_file", [False, True], ids=["stdout", "file"])
def test_an_export_of_a_damaged_journal_says_so(tmp_path: Path, to_file: bool) -> None:
    """Exit code 1, on stderr why, and in the output a line for what is missing."""
    path = tmp_path / "journal.db"
    journal = Journal(str(path), "run-1")
    until(lambda: journal.condition.state == "ok", "it is open")
    journal.close(5.0)
    sound = _export(path, to_file)
    assert (sound.returncode, sound.stderr) == (0, "")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    torn = _export(path, to_file)
    assert torn.returncode == 1
    assert "banken journal check" in torn.stderr
    assert len(torn.stderr.splitlines()) == 1


def _export(path: Path, to_file: bool) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as place:
        more = ["-o", f"{place}/out.jsonl"] if to_file else []
        return subprocess.run(
            [sys.executable, "-m", "banken_supervisor", "journal", "export", "--journal", str(path), *more],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
