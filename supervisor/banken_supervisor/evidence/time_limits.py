"""Limits of time: for a part of the work, and for a program and its output."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from time import monotonic
from typing import BinaryIO, TypeVar

from banken_supervisor.processes.handle import ProcessHandle

T = TypeVar("T")

RUNNING_MAX = 64
"""Parts that run at once, of all processes, those that hang included; with so many, no further one is begun."""

ERRORS_MAX = 16_384
"""Bytes kept of what a program writes to stderr."""

_slots = threading.BoundedSemaphore(RUNNING_MAX)


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
    its process hangs in the kernel, and cannot be interrupted.
    """
    if not _slots.acquire(blocking=False):
        raise TooLate(f"not begun: {RUNNING_MAX} earlier attempts have not come back")
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as fault:  # noqa: BLE001  # it is raised in the caller's thread
            result.set_exception(fault)
        finally:
            _slots.release()

    try:
        threading.Thread(target=run, name="banken-evidence", daemon=True).start()
    except BaseException:
        _slots.release()
        raise
    if not wait([result], seconds).done:
        raise TooLate(f"not done within {seconds:.1f} s")
    return result.result()


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
