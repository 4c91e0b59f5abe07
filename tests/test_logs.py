"""The log on stderr."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import termios
import time
from array import array

LINES = 1000

WRITER = f"""
import logging, os
from banken_supervisor.cli import logs
logs.to_stderr("info", as_json=False)
os.set_blocking(2, False)
for number in range({LINES}):
    logging.getLogger("banken").info("%d %s", number, "x" * 300)
os.write(1, b"done")
"""


def test_no_line_is_lost_on_a_stderr_that_another_process_made_non_blocking() -> None:
    """More than the pipe holds; nobody reads until the writer waits."""
    with subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        assert writer.stderr is not None
        deadline = time.monotonic() + 30.0
        waiting = array("i", [0])
        while waiting[0] < 60_000:
            assert time.monotonic() < deadline
            fcntl.ioctl(writer.stderr, termios.FIONREAD, waiting)
            time.sleep(0.01)
        time.sleep(0.1)  # it goes on with the next lines
        numbers = [int(line.split()[4]) for line in writer.stderr]
        assert writer.stdout is not None
        assert writer.stdout.read() == b"done"
    assert numbers == list(range(LINES))


def test_a_reader_that_has_gone_ends_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        assert writer.stderr is not None
        writer.stderr.close()
        assert writer.stdout is not None
        assert writer.stdout.read() == b"done"
