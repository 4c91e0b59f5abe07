"""A command that runs, with a limit on its time and on what is kept of its output."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from time import monotonic, sleep

READ = 64 * 1024

NAP_S = 0.002
"""Seconds between two reads once more has come than is kept: endless output must not use a whole core."""

TICK_S = 0.02
"""Seconds between two checks whether the command has ended; the end of its output is noticed at once."""

TERM_S = 1.0
"""Seconds between SIGTERM and SIGKILL for a command that took too long."""


class HeadAndTail:
    """Keeps at most ``limit`` bytes of an output that may have no end: the first half and the last."""

    def __init__(self, limit: int) -> None:
        self.total = 0
        """bytes that were given"""
        self._limit = limit
        self._kept = bytearray()

    def add(self, some: bytes) -> None:
        self.total += len(some)
        self._kept += some
        if len(self._kept) > 2 * self._limit:
            self._trim()

    def text(self) -> str:
        """What was kept; where something is missing, a line says how much."""
        self._trim()
        kept, half, missing = bytes(self._kept), self._limit // 2, self.total - len(self._kept)
        if missing:
            kept = b"%b\n[%d bytes left out]\n%b" % (kept[:half], missing, kept[half:])
        return kept.decode("utf-8", "backslashreplace")

    def _trim(self) -> None:
        half = self._limit // 2
        del self._kept[half : half + max(0, len(self._kept) - self._limit)]


class RunningCommand:
    """One command in a session of its own, and its output. It is not reaped before ``reap``: until then its
    number names no other process group."""

    def __init__(self, process: subprocess.Popen[bytes], output_max: int) -> None:
        assert process.stdout is not None
        self.output = HeadAndTail(output_max)
        self._output_max = output_max
        self._process = process
        self._stdout = process.stdout
        self._open = True
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)

    def __enter__(self) -> RunningCommand:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.returncode is None:  # something failed here: it must not run on unwatched
            self._signal(signal.SIGKILL)
            self.reap()
        self._stdout.close()

    def wait(self, seconds: float) -> bool:
        """Read its output for at most so long; whether it has ended."""
        deadline = monotonic() + seconds
        while not self._has_ended():
            if (left := deadline - monotonic()) <= 0:
                return False
            self._read(min(left, TICK_S))
        return True

    def drain(self, seconds: float) -> None:
        """Read what is left, for at most so long."""
        deadline = monotonic() + seconds
        while self._open and (left := deadline - monotonic()) > 0:
            self._read(left)

    def kill(self) -> None:
        """End it and what it forked, also where it has ended itself."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._signal(number)
            self.wait(TERM_S)

    def reap(self) -> int | None:
        """Its exit status; negative: the signal that ended it. None: it does not end."""
        try:
            return self._process.wait(5)
        except subprocess.TimeoutExpired:
            return None

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _has_ended(self) -> bool:
        if not hasattr(os, "waitid"):
            return self._process.poll() is not None
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _read(self, seconds: float) -> None:
        if not self._open:
            sleep(seconds)
        elif self._poll.poll(seconds * 1000):
            some = os.read(self._stdout.fileno(), READ)
            self._open = bool(some)
            self.output.add(some)
            if self.output.total > self._output_max:
                sleep(NAP_S)
