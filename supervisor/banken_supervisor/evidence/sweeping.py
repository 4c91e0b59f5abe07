"""Removes dead workers' files from the directory of announcements (announced_dumps.py), and cuts large ones.

A killed worker leaves its files, which are worth nothing: a dump is read when it is taken. So the directory holds
two files for each living worker and, for ``SWEEP_S`` at most, those of dead ones. After a sweep each has at most
``DUMP_MAX`` bytes (a worker that another program keeps signalling appends a dump each time). Other files stay.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
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


def start_sweeping(address_directory: str, every: float = SWEEP_S) -> Callable[[], None]:
    """Sweep the directory of one address now and every ``every`` seconds, on a thread; what ends it, at once.

    Where no thread can be had nothing is swept by this supervisor: it watches all the same.
    """
    closed = threading.Event()

    def work() -> None:
        while not closed.is_set():
            sweep(address_directory)
            closed.wait(every)

    with suppress(RuntimeError):
        threading.Thread(target=work, name="banken-sweeper", daemon=True).start()
    return closed.set


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
            # The name holds pid and start time: a dead process's can never be a living one's.
            with suppress(OSError, announced_dumps.NotAnnounced):
                if (match := _name.fullmatch(name)) and process_start(int(match[1])) != int(match[2]):
                    os.unlink(name, dir_fd=directory)
                    removed += 1
                elif match:
                    _cut(name, directory)
    except OSError:
        pass
    finally:
        os.close(directory)
    return removed


def _cut(name: str, directory: int) -> None:
    """Empty a dump that has grown too long, unless it is being read."""
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if found.st_size > announced_dumps.DUMP_MAX:
        with announced_dumps.opened(name, directory) as fd:
            if announced_dumps.locked(fd):
                os.ftruncate(fd, announced_dumps.header_length(os.pread(fd, 64, 0)))
