"""Removes dead workers' files from the directory of announcements (announced_dumps.py), and cuts large ones.

A killed worker leaves its files, which are worth nothing: a dump is read when it is taken. So the directory holds
two files for each living worker and, for ``SWEEP_S`` at most, those of dead ones. After a sweep each has at most
``DUMP_MAX`` bytes (a worker that another program keeps signalling appends a dump each time). Other files stay.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from contextlib import suppress
from itertools import islice

from banken.diagnostics.dumps import DIRECTORY, SOCKET_SUFFIX, TEMPORARY_PREFIX
from banken.process_identity import process_start
from banken_supervisor.evidence import announced_dumps

SWEEP_S = 600.0
"""Seconds between two sweeps."""

SWEPT_MAX = 100_000
"""Names that one sweep reads."""

_name = re.compile(
    rf"(?:{re.escape(TEMPORARY_PREFIX)})?([1-9][0-9]{{0,9}})-([0-9]{{1,19}})(?:{re.escape(SOCKET_SUFFIX)})?"
)


class Sweeper:
    """Sweeps the directory of one address at the start and every ``every`` seconds, on a thread of its own."""

    def __init__(self, address_directory: str, every: float = SWEEP_S) -> None:
        self._directory = address_directory
        self._every = every
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="banken-sweeper", daemon=True)

    def start(self) -> None:
        """Begin. Where no thread can be had nothing is swept by this supervisor: it watches all the same."""
        with suppress(RuntimeError):
            self._thread.start()

    def close(self) -> None:
        """Do not begin another sweep. Returns at once: one that is under way ends with the process."""
        self._closed.set()

    def _work(self) -> None:
        while not self._closed.is_set():
            sweep(self._directory)
            self._closed.wait(self._every)


def sweep(address_directory: str) -> int:
    """Remove what dead processes left in the address's directory, and cut what living ones hold; how many are gone.

    Reads /proc once for each file. Never raises OSError.
    """
    removed = 0
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        directory = os.open(os.path.join(address_directory, DIRECTORY), flags)
    except OSError:  # no worker has announced anything
        return 0
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in islice(entries, SWEPT_MAX)]
        for name in names:
            match = _name.fullmatch(name)
            if match is None:
                continue
            # The name holds pid and start time: a dead process's can never be a living one's.
            if process_start(int(match[1])) != int(match[2]):
                with suppress(OSError):
                    os.unlink(name, dir_fd=directory)
                    removed += 1
            else:
                with suppress(OSError):
                    _cut(name, directory, int(match[1]))
    except OSError:
        pass
    finally:
        os.close(directory)
    return removed


def _cut(name: str, directory: int, pid: int) -> None:
    """Empty a dump that has grown too long, unless it is being read."""
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_size <= announced_dumps.DUMP_MAX:
        return
    with announced_dumps.idle(pid) as idle:
        if idle:
            descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
            try:
                os.ftruncate(descriptor, announced_dumps.header_length(os.pread(descriptor, 64, 0)))
            finally:
                os.close(descriptor)
