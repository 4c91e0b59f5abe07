"""Watches the programs' log files: keeps them within their bounds, and brings back what was moved away.

A log that was moved or removed while its program runs is noticed: the program goes on writing to the old file, for
only the program could open another one. So the log is made anew, and what comes into the old file from then on is
moved over into the new one. A moved file keeps what it had; a removed one is emptied.

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
from dataclasses import dataclass, field

from banken_supervisor.engine.policy import ProgramSpec
from banken_supervisor.files.trusted_files import open_file
from banken_supervisor.programs.log_files import copy, open_log, rotate, user_ids
from banken_supervisor.programs.run_records import file_name

LOOK_FAST = 0.05
LOOK_SLOW = 1.0
"""Seconds between two looks at the files: while one grows by an eighth of its bound or more per look, and else."""

_log = logging.getLogger("banken.programs")


@dataclass(slots=True)
class _Old:
    """A file that was moved or removed, and may still be written to."""

    fd: int
    kept: int
    """bytes at its beginning that stay: what it had when it was moved"""


@dataclass(slots=True)
class _Log:
    """One file, by its path without links."""

    path: str
    bytes_max: int
    files_max: int
    fd: int = -1
    """the file that the programs were given; -1: it is not known"""
    owner: tuple[int, int] | None = None
    """user and group id of its program; None: it runs as this user"""
    size: int = 0
    is_missing: bool = False
    """it was not there at the last look: who moves a log makes a new one at once"""
    old: list[_Old] = field(default_factory=list)
    writers: dict[str, tuple[int, int]] = field(default_factory=dict)
    """by program: device and inode that it writes to"""

    def close(self) -> None:
        for fd in (self.fd, *(each.fd for each in self.old)):
            if fd >= 0:
                os.close(fd)


def with_log(spec: ProgramSpec, directory: str) -> ProgramSpec:
    """What it writes must not depend on who reads this process's stderr: one without a log gets one in here."""
    if spec.log is not None or spec.terminal:
        return spec
    return spec._replace(log=os.path.join(directory, file_name(spec.name) + ".log"))


class Logs:
    """Watches the files on a thread, which is asked for when there is a first file.

    ``start``: has a function run on a thread, now or when there is one. ``moved``: called on that thread with the
    names of the programs and a sentence, when a log was moved or removed.
    """

    def __init__(
        self, start: Callable[[Callable[[], None]], None], moved: Callable[[list[str], str], None]
    ) -> None:
        self._start = start
        self._moved = moved
        self._new: list[ProgramSpec] = []
        """the thread finds the real paths of their logs: that may take long"""
        self._logs: dict[str, _Log] = {}
        """by real path; the thread's own"""
        self._broken: set[str] = set()
        """whose fault was logged; once each until it goes well again"""
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._started = False

    def keep(self, spec: ProgramSpec) -> None:
        """Keep the program's log within its bounds from now on: a process of it has begun to write.

        Two programs may share one.
        """
        with self._lock:
            self._new.append(spec)
            first, self._started = not self._started, True
        if first:
            self._start(self._work)
        else:
            self._wake.set()

    def close(self) -> None:
        """Look at nothing more."""
        self._closing = True
        self._wake.set()

    def _work(self) -> None:
        wait = LOOK_FAST
        try:
            while not self._closing:
                with self._lock:
                    new, self._new = self._new, []
                for each in new:
                    self._take(each)
                fast = [self._guarded(log) for log in self._logs.values()]
                wait = LOOK_FAST if any(fast) else min(LOOK_SLOW, 2 * wait)
                if self._wake.wait(wait):
                    self._wake.clear()
        finally:
            for log in self._logs.values():
                log.close()

    def _take(self, spec: ProgramSpec) -> None:
        assert spec.log is not None
        real = os.path.realpath(spec.log)
        log = self._logs.setdefault(real, _Log(real, spec.log_bytes_max, spec.log_files_max))
        log.bytes_max, log.files_max = spec.log_bytes_max, spec.log_files_max
        log.owner = None if spec.user is None else user_ids(spec.user)
        try:
            fd, _ = open_file(real, os.O_RDWR | os.O_NONBLOCK, owners=() if log.owner is None else log.owner)
        except OSError:  # its look will say so
            return
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            del self._logs[real]
            log.close()
            return
        log.writers[spec.name] = found.st_dev, found.st_ino
        if log.fd >= 0 and _is_same(os.fstat(log.fd), found):
            os.close(fd)
        else:
            if log.fd >= 0:
                log.old.append(_Old(log.fd, os.fstat(log.fd).st_size))
            log.fd = fd

    def _guarded(self, log: _Log) -> bool:
        try:
            fast = self._look(log)
        except OSError as fault:
            if log.path not in self._broken:
                self._broken.add(log.path)
                _log.error("the log %s cannot be rotated: %s", log.path, fault.strerror)
            return False
        self._broken.discard(log.path)
        return fast

    def _look(self, log: _Log) -> bool:
        """Make it anew if it was moved, rotate it if it is too large; whether it grows fast."""
        try:
            found = os.stat(log.path, follow_symlinks=False)
        except FileNotFoundError:
            found = None
        if log.fd < 0:
            return False
        if found is None and not log.is_missing:
            log.is_missing = True
            return True
        if found is None or not _is_same(found, os.fstat(log.fd)):
            self._make_anew(log)
        log.is_missing = False
        for old in list(log.old):
            self._bring_back(log, old)
            status = os.fstat(old.fd)
            if (status.st_dev, status.st_ino) not in log.writers.values():  # nothing writes to it any more
                log.old.remove(old)
                os.close(old.fd)
        size, before = os.fstat(log.fd).st_size, log.size
        log.size = size
        if size > log.bytes_max:
            log.size = 0
            rotate(log.path, log.bytes_max, log.files_max, log.owner or ())
            return True
        return size - before >= log.bytes_max / 8

    def _make_anew(self, log: _Log) -> None:
        """It was moved or removed: another file takes its place; a new one with the same owner, group and mode."""
        before = os.fstat(log.fd)
        is_new = not os.path.lexists(log.path)
        fd = open_log(log.path, log.owner)
        try:
            if is_new:
                with contextlib.suppress(PermissionError):
                    os.fchown(fd, before.st_uid, before.st_gid)
                    os.fchmod(fd, stat.S_IMODE(before.st_mode))
            new, _ = open_file(log.path, os.O_RDWR, owners=(before.st_uid,))
        finally:
            os.close(fd)
        log.old.append(_Old(log.fd, before.st_size))
        log.fd, log.size = new, 0
        text = (
            f"its log {log.path} was moved or removed: until it is restarted, what it writes to the old file is "
            "moved into a new one of that name"
        )
        self._moved(sorted(log.writers), text)

    def _bring_back(self, log: _Log, old: _Old) -> None:
        """Move what has come into an old file over into the log."""
        found = os.fstat(old.fd)
        begin = old.kept = min(old.kept, found.st_size)
        if found.st_nlink == 0:  # removed, with all that it had: only its descriptors keep it on the disk
            old.kept = 0
        if found.st_size > begin:
            target = os.open(f"/proc/self/fd/{log.fd}", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                copy(old.fd, target, begin, log.bytes_max)
            finally:
                os.close(target)
        if found.st_size > old.kept:
            os.ftruncate(old.fd, old.kept)


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
