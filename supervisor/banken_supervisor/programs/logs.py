"""The programs' log files: cut by size, without the writer's help and without a pipe.

The child writes to the file itself, so a file that was only renamed would go on growing under its new name. Instead
it is copied to ``NAME.1`` (the older ones move up by one) and then cut to nothing in place. That is safe because
the child's descriptor has O_APPEND: its next write goes to the new end, and leaves no hole. What it writes between
the last read of the copy and the cut is lost; that is the price, and it is a matter of microseconds.

Bounds: a file is looked at every 50 ms while it grows fast and every second while it does not. So on disk there
are at most ``files_max`` copies, each of at most twice ``bytes_max``, and one file of ``bytes_max`` plus what is
written in a second. If a faster writer exceeds that, a copy holds the newest part and a line that says how much was
left out.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
from collections.abc import Callable

LOOK_FAST = 0.05
LOOK_SLOW = 1.0
"""Seconds between two looks at the files: while one grows by an eighth of its bound or more per look, and else."""

_CHUNK = 1024 * 1024

_log = logging.getLogger("banken.programs")


class Logs:
    """Watches the files on a thread, which is asked for when there is a first file.

    ``start``: has a function run on a thread, now or when there is one.
    """

    def __init__(self, start: Callable[[Callable[[], None]], None]) -> None:
        self._start = start
        self._new: dict[str, tuple[int, int]] = {}
        """by path as it was given: bytes_max, files_max; the thread finds the real path, for that may take long"""
        self._files: dict[str, tuple[int, int]] = {}
        """the same by real path; the thread's own"""
        self._sizes: dict[str, int] = {}
        self._broken: set[str] = set()
        """whose fault was logged; once each until it goes well again"""
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._started = False

    def keep(self, path: str, bytes_max: int, files_max: int) -> None:
        """See to it that this file stays within its bounds from now on. Two programs may share one."""
        with self._lock:
            self._new[path] = bytes_max, files_max
            first, self._started = not self._started, True
        if first:
            self._start(self._work)

    def close(self) -> None:
        """Look at nothing more."""
        self._closing.set()

    def _work(self) -> None:
        wait = LOOK_FAST
        while not self._closing.wait(wait):
            with self._lock:
                new, self._new = self._new, {}
            self._files.update({os.path.realpath(path): bounds for path, bounds in new.items()})
            fast = [self._look(path, bytes_max, files_max) for path, (bytes_max, files_max) in self._files.items()]
            wait = LOOK_FAST if any(fast) else min(LOOK_SLOW, 2 * wait)

    def _look(self, path: str, bytes_max: int, files_max: int) -> bool:
        """Rotate it if it is too large; whether it grows fast."""
        try:
            size = os.stat(path).st_size
            before = self._sizes.get(path, 0)
            if size > bytes_max:
                rotate(path, bytes_max, files_max)
                self._sizes[path] = 0
                return True
            self._sizes[path] = size
        except FileNotFoundError:
            return False
        except OSError as fault:
            if path not in self._broken:
                self._broken.add(path)
                _log.error("the log %s cannot be rotated: %s", path, fault.strerror)
            return False
        self._broken.discard(path)
        return size - before >= bytes_max / 8


def rotate(path: str, bytes_max: int, files_max: int) -> None:
    """Copy the file to ``path.1`` and cut it to nothing. Older copies move up, to at most ``path.files_max``.

    Where the copy cannot be made (a full disk) the file is cut all the same once it has twice its bound: the
    newest lines of a runaway program are worth less than the disk. OSError then says so.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return
        try:
            if files_max > 0:
                _copy(fd, f"{path}.new", bytes_max)
                _move_up(path, files_max)
                os.replace(f"{path}.new", f"{path}.1")
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(f"{path}.new")
            if os.fstat(fd).st_size >= 2 * bytes_max:
                os.ftruncate(fd, 0)
            raise
        os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def _copy(source: int, path: str, bytes_max: int) -> None:
    """At most twice ``bytes_max`` bytes; of a larger file the newest, and a line that says how much is missing."""
    status = os.fstat(source)
    at = status.st_size - bytes_max if status.st_size > 2 * bytes_max else 0
    end = at + 2 * bytes_max
    mode = status.st_mode & 0o777
    with open(path, "wb", buffering=0, opener=lambda name, flags: os.open(name, flags, mode)) as target:
        if at:
            target.write(_left_out(at))
        while at < end and (some := os.pread(source, min(_CHUNK, end - at), at)):
            at += target.write(some)
        left = os.fstat(source).st_size - at
        if left > 0:  # it is written to faster than it can be copied
            target.write(_left_out(left))


def _left_out(count: int) -> bytes:
    return f"\n[banken: about {count} bytes were left out here]\n".encode()


def _move_up(path: str, files_max: int) -> None:
    """``path.1`` becomes ``path.2`` and so on; the last one is overwritten."""
    for number in range(files_max - 1, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}.{number}", f"{path}.{number + 1}")
