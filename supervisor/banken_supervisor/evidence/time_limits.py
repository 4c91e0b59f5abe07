"""Waiting no longer than allowed: for a part of the work, and for a program's output."""

from __future__ import annotations

import os
import select
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import TypeVar

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
    """(exit code, stdout, stderr) of a program; TooLate, having killed it, when it takes or writes too much.

    OSError: it cannot be started. stderr is cut to its first ``ERRORS_MAX`` bytes.
    """
    deadline = Deadline(seconds)
    with subprocess.Popen(  # noqa: S603  # a list, no shell; what is run is found by stacks.find
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            out, errors = _drain(process.stdout.fileno(), process.stderr.fileno(), deadline, bytes_max)
            return process.wait(deadline.left() + 0.1), out, errors.decode(errors="replace")
        except subprocess.TimeoutExpired:
            raise TooLate(f"not done within {seconds:.1f} s") from None
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError, PermissionError):
                    process.kill()


def _drain(out: int, errors: int, deadline: Deadline, bytes_max: int) -> tuple[bytes, bytes]:
    """Everything from two pipes until both are closed."""
    taken: dict[int, bytearray] = {out: bytearray(), errors: bytearray()}
    poll = select.poll()
    for fd in taken:
        poll.register(fd, select.POLLIN)
    open_fds = set(taken)
    while open_fds:
        left = deadline.left()
        ready = poll.poll(left * 1000) if left else []
        if not ready:
            raise TooLate("its output did not end in time")
        for fd, _ in ready:
            some = os.read(fd, 65536)
            if not some:
                poll.unregister(fd)
                open_fds.discard(fd)
            elif fd == out:
                taken[out] += some
            elif len(taken[errors]) < ERRORS_MAX:
                taken[errors] += some[: ERRORS_MAX - len(taken[errors])]
        if len(taken[out]) > bytes_max:
            raise TooLate(f"more than {bytes_max} bytes of output")
    return bytes(taken[out]), bytes(taken[errors])
