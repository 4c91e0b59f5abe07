"""CI takes a test that failed and then passed for a failure, but for those on a list with a reason and a date."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "flaky.py"
TEST = "tests/test_x.py::test_it[a b]"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the source distribution comes without .ci")


def judged(tmp_path: Path, flaky: str, *runs: list[str]) -> tuple[int, str]:
    """The script's exit code and words; a run without failures leaves no file."""
    (tmp_path / "list").write_text(flaky)
    files = []
    for number, failed in enumerate(runs):
        files.append(tmp_path / f"run-{number}")
        if failed:
            files[-1].write_text(json.dumps(dict.fromkeys(failed, True)))
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path / "list", *files], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def line(days: int, test: str = TEST) -> str:
    """An entry of that age."""
    return f"{date.today() - timedelta(days=days)} {test.replace(' ', '%20')} waits for the kernel\n"


def test_what_failed_once_and_then_passed_is_a_failure(tmp_path: Path) -> None:
    """And is named."""
    assert judged(tmp_path, "", [TEST], []) == (1, f"FLAKY, failed once and then passed: {TEST}\n")


def test_unless_it_is_on_the_list(tmp_path: Path) -> None:
    """That one; another is not excused by it."""
    assert judged(tmp_path, line(59), [TEST], []) == (0, "")
    assert judged(tmp_path, line(59), [TEST, "tests/test_y.py::test_other"], [])[0] == 1


def test_what_fails_twice_is_a_failure_on_the_list_or_not(tmp_path: Path) -> None:
    """The list excuses what passes in the end."""
    assert judged(tmp_path, line(1), [TEST], [TEST]) == (1, f"FAILED twice: {TEST}\n")


def test_an_entry_ends_after_sixty_days(tmp_path: Path) -> None:
    """Also where its test passes; and one from the future would last for ever."""
    assert judged(tmp_path, line(60))[0] == 0
    assert judged(tmp_path, line(61))[0] == 1
    assert judged(tmp_path, line(-2))[0] == 1


@pytest.mark.parametrize("bad", ["tests/test_x.py::test_it", f"{date.today()} tests/test_x.py::test_it"])
def test_an_entry_has_a_date_and_a_reason(tmp_path: Path, bad: str) -> None:
    """A line that has not is no entry."""
    assert "is not DATE TEST REASON" in judged(tmp_path, bad)[1]


def test_a_run_that_failed_without_a_failed_test_is_a_failure(tmp_path: Path) -> None:
    """A plugin, a crash: nothing is known of the tests."""
    assert judged(tmp_path, "", [], []) == (1, "the run failed, but no test did\n")
