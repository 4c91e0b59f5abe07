"""What /proc tells of processes: by which marks a child of an earlier supervisor is found again.

A child carries ``BANKEN_RUN`` in its environment, a random number of this one run; so do its own children. The
kernel shows the environment of a process to its owner and to root. A process may overwrite it (a changed title
does), so a mark that is missing proves nothing, while another mark proves that it is another process.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from banken.process_identity import process_start

RUN = "BANKEN_RUN"

ENVIRON_MAX = 4 * 1024 * 1024
"""Bytes of one process's environment that are looked at; the kernel allows about as much."""

_MARK = f"{RUN}=".encode()


class Marks(NamedTuple):
    """What a process's environment tells of where it comes from; empty texts where it does not."""

    run: str
    name: str
    address: str


class Seen(NamedTuple):
    """One process."""

    pid: int
    start: int
    """ticks since boot"""
    group: int
    session: int
    marks: Marks | None

    @property
    def leads(self) -> bool:
        """Whether it is what a supervisor started: the first of a session of its own."""
        return self.pid == self.group == self.session


def marks_of(pid: int) -> Marks | None:
    """The marks in a process's environment; None: it has none, or it cannot be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read(ENVIRON_MAX)
    except OSError:
        return None
    if _MARK not in environ:
        return None
    entries = dict(entry.partition(b"=")[::2] for entry in reversed(environ.split(b"\0")))
    run, name, address = (
        os.fsdecode(entries.get(key, b"")) for key in (b"BANKEN_RUN", b"BANKEN_NAME", b"BANKEN_ADDRESS")
    )
    return Marks(run, name, address) if run else None


def marked() -> list[Seen]:
    """All processes that carry marks, the oldest first. Costs about 20 µs a process."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        marks = marks_of(int(entry))
        if marks is None:
            continue
        seen = look(int(entry))
        if seen is not None:
            found.append(seen._replace(marks=marks))
    return sorted(found, key=lambda each: (each.start, each.pid))


def look(pid: int) -> Seen | None:
    """What the kernel tells of one process; None: it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The second field, the command's name, may hold anything but ends with the last ')'.
            fields = file.read().rpartition(b")")[2].split()
        return Seen(pid, int(fields[19]), int(fields[2]), int(fields[3]), None)
    except (OSError, ValueError, IndexError):
        return None


def open_pidfd(pid: int, start: int) -> int | None:
    """A descriptor that means this process and no other; None: it is gone, or its number is another's now."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    if process_start(pid) != start:  # read after the descriptor was opened: from then on the number is not reused
        os.close(fd)
        return None
    return fd
