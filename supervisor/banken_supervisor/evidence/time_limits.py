"""Waiting no longer than allowed: for a part of the work, and for a program's output."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import BinaryIO, TypeVar

from banken_supervisor.processes.handle import ProcessHandle

T = TypeVar("T")

ABANDONED_MAX = 32
"""Parts that have not come back, of all processes; with so many, no further one is begun."""

ERRORS_MAX = 16_384
"""Bytes kept of what a program writes to stderr."""

_abandoned = 0
_lock = threading.Lock()


class Deadline:
    """One point in time that all parts share."""

    def __init__(self, seconds: float) -> None:
        self._at = monotonic() + seconds

    def left(self, most: float = float("inf")) -> float:
        """Seconds left, at least 0, at most ``most``."""
        return max(0.0, min(most, self._at - monotonic()))


class TooLate(Exception):
    """It was not done in time."""


def attempt(work: Callable[[], T], seconds: float) -> T:
    """What ``work`` returns or raises; TooLate after ``seconds``.

    It runs on a daemon thread that is left behind when it is late: reading a file of /proc can block for as long as
    the process that it tells of hangs in the kernel, and nothing can interrupt it.
    """
    global _abandoned
    with _lock:
        if _abandoned >= ABANDONED_MAX:
            raise TooLate(f"not begun: {_abandoned} earlier attempts have not come back")
    results: list[T] = []
    faults: list[BaseException] = []
    ended = threading.Event()
    late = False

    def run() -> None:
        global _abandoned
        try:
            results.append(work())
        except BaseException as fault:  # noqa: BLE001  # it is raised in the caller's thread
            faults.append(fault)
        finally:
            with _lock:
                ended.set()
                if late:
                    _abandoned -= 1

    threading.Thread(target=run, name="banken-evidence", daemon=True).start()
    if not ended.wait(seconds):
        with _lock:
            if not ended.is_set():
                late = True
                _abandoned += 1
                raise TooLate(f"not done within {seconds:.1f} s")
    if faults:
        raise faults[0]
    return results[0]


def output(argv: Sequence[str], seconds: float, bytes_max: int) -> tuple[int, bytes, str]:
    """(exit code, stdout, stderr) of a program; TooLate, having killed it, when it runs or writes too much.

    OSError: it cannot be started. Its output goes to memory files of limited size: no pipe that a child of its own
    could hold open, and nothing to read while it runs.
    """
    with _memory_file() as out, _memory_file() as errors:
        process = subprocess.Popen(  # noqa: S603  # a list, no shell; stacks.find names the program
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, start_new_session=True
        )
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (bytes_max + 1, bytes_max + 1))
        try:
            with ProcessHandle.open_pid(process.pid) as handle:
                if not handle.wait(seconds):
                    raise TooLate(f"not done within {seconds:.1f} s")
        finally:
            process.kill()
            code = process.wait()
        written, said = out.seek(0, os.SEEK_END), errors.seek(0, os.SEEK_END)
        if max(written, said) > bytes_max:
            raise TooLate(f"more than {bytes_max} bytes of output")
        out.seek(0)
        errors.seek(0)
        return code, out.read(), errors.read(ERRORS_MAX).decode(errors="replace")


def _memory_file() -> BinaryIO:
    return open(os.memfd_create("banken-output"), "w+b", buffering=0)
