"""What a program wrote while nobody rotated its log: cut as soon as a supervisor has adopted it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from process.kit import until
from process.program_kit import Yard, program, yard_at

pytestmark = pytest.mark.process


@pytest.fixture
def yard(address: str) -> Iterator[Yard]:
    """Finds and ends the programs."""
    with yard_at(address) as one:
        yield one


def test_a_log_that_grew_while_no_supervisor_ran_is_cut_at_adoption(yard: Yard, tmp_path: Path) -> None:
    """Ten times its bound; after the adoption it is empty, and its end is in the copy."""
    log = tmp_path / "log"
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGUSR1, lambda *_: (os.write(1, b'x' * 199_000), os.write(1, b'the end')))\n"
        "os.write(1, b'up')\n"
        "while True: time.sleep(1000)\n"
    )
    spec = program("a", code, log=str(log), log_bytes_max=20_000, log_files_max=2)
    keeper = yard.keeper([spec])
    until(lambda: log.exists() and log.read_bytes() == b"up", "it runs")
    [pid] = yard.leaders()["a"]
    keeper.child.kill()
    os.kill(pid, signal.SIGUSR1)
    until(lambda: log.read_bytes().endswith(b"the end"), "it has written")
    assert log.stat().st_size > 199_000
    again = yard.keeper([spec])
    assert again.until("program-adopted", "a")["pid"] == pid
    until(lambda: log.stat().st_size == 0, "it is cut")
    assert (tmp_path / "log.1").read_bytes().endswith(b"the end")
    assert (tmp_path / "log.1").stat().st_size < 2 * 20_000 + 1000
