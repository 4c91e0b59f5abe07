"""Matches lines with a regular expression in a process of its own, which no pattern can hold for long.

Python's ``re`` holds the interpreter while it matches, and some patterns take years for a line. The process is
ended by the kernel when it has computed for too long; it is started again for the next pattern.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic

from banken_supervisor.checks.outcome import NotRunError

MATCHER = Path(__file__).with_name("matcher.py")

TRIES = 2
"""How often it is asked: what ended or did not answer without having computed says nothing of the pattern."""

OVER_S = 1.0
"""Seconds beyond the limit that its answer may take, for it may have to be started."""


class TooSlowError(Exception):
    """The pattern takes too long; the text says how."""


class _Matcher:
    """One process for all patterns; one at a time. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, pattern: str, lines: list[str], limit: float) -> int | None:
        """The number of the last line that fits. TooSlowError: it has computed for too long, which ends it by a
        signal of its own (matcher.py). OSError: it cannot be asked; NotRunError: it does not answer."""
        until = monotonic() + limit
        if not self._lock.acquire(timeout=limit):
            raise TimeoutError("other patterns take so long that this one had no turn")
        try:
            question = json.dumps([pattern, lines]).encode() + b"\n"
            for _ in range(TRIES):
                process = self._process
                if process is None or process.poll() is not None:
                    process = self._process = self._start()
                answer = self._exchange(process, question, until)
                if answer:
                    found: int | None = json.loads(answer)
                    return found
                self._end(process)
                if process.returncode == -signal.SIGVTALRM:
                    raise TooSlowError("takes too long for what the program writes")
                until = monotonic() + limit  # it was killed, or stood still as all may have done
            raise NotRunError(errno.EAGAIN, "the process that matches lines did not answer")
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._end(self._process)

    @staticmethod
    def _start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-S", str(MATCHER)]
        return subprocess.Popen(  # noqa: S603  # a file of ours
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/"
        )

    @staticmethod
    def _exchange(process: subprocess.Popen[bytes], question: bytes, until: float) -> bytes:
        """The answer; empty: it ended, or took too long. It reads a whole question before it matches."""
        assert process.stdin is not None
        assert process.stdout is not None
        end, left = process.stdin.fileno(), memoryview(question)
        os.set_blocking(end, False)  # a pipe holds 64 KiB: one that stands still would hold up this thread
        with contextlib.suppress(BrokenPipeError):
            while left and _is_ready(end, select.POLLOUT, until + OVER_S):
                with contextlib.suppress(BlockingIOError):
                    left = left[os.write(end, left) :]
            if not left and _is_ready(process.stdout.fileno(), select.POLLIN, until + OVER_S):
                return process.stdout.readline()
        return b""

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        process.kill()
        with contextlib.suppress(OSError), process:  # closes its pipes, and collects it
            pass


def _is_ready(descriptor: int, event: int, until: float) -> bool:
    """Whether it is, or its other end is closed, by then. Not ``select``: it knows 1,024 descriptors only."""
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(max(0.0, until - monotonic()) * 1000))


_matcher = _Matcher()
atexit.register(_matcher.close)


def newest_fit(pattern: str, lines: list[str], limit: float) -> int | None:
    """The number of the last of these lines that holds the pattern; an empty one is in each. TooSlowError, OSError.

    ``limit``: seconds. Blocks.
    """
    return len(lines) - 1 if not pattern else _matcher.ask(pattern, lines, limit)
