"""The log on stderr."""

from __future__ import annotations

import fcntl
import logging
import subprocess
import sys
import termios
import threading
import time
from array import array

from banken_supervisor.observability import log_queue
from banken_supervisor.observability.log_queue import LogQueue

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


def test_the_text_that_waits_for_a_log_that_nobody_reads_is_bounded() -> None:
    """Few long lines are dropped as many short ones are, and that is told; a line that is longer alone is taken."""
    written: list[str] = []
    blocked, free = threading.Event(), threading.Event()

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            blocked.set()
            free.wait(20.0)
            written.append(record.getMessage())

    slow, log = Slow(), logging.getLogger("banken.supervisor")
    log.addHandler(slow)
    queue = LogQueue()
    try:
        queue.line(logging.ERROR, "y" * 2 * log_queue.QUEUE_TEXT_MAX, {})
        assert blocked.wait(20.0)
        for _ in range(log_queue.QUEUE_TEXT_MAX // 100_000 + 50):
            queue.line(logging.ERROR, "x" * 100_000, {})
        assert queue.dropped == 50
        free.set()
        queue.close(20.0)
        assert sum(map(len, written[1:-1])) <= log_queue.QUEUE_TEXT_MAX
        assert len(written) == 1 + log_queue.QUEUE_TEXT_MAX // 100_000 + 1
        assert "50 log lines were dropped: the log is read too slowly" in written
    finally:
        free.set()
        log.removeHandler(slow)
