"""Finds the children of an earlier supervisor by the marks in their environment.

A child carries ``BANKEN_RUN`` in its environment, a random number of this one run; so do its own children. The
kernel shows the environment of a process to its owner and to root. A process may overwrite it (a changed title
does), so a missing mark proves nothing, while another mark proves that it is another process.

psutil's ``environ()`` would do, but decodes and splits every environment; here the bytes are searched for a mark
first.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import psutil

ENVIRON_MAX = 4 * 1024 * 1024
"""Bytes of one process's environment that are read; the kernel allows about as much."""


class Marks(NamedTuple):
    """What a process's environment says about its origin; empty texts where it says nothing."""

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
        """Whether a supervisor may have started it: it leads a session of its own."""
        return self.pid == self.group == self.session


def marks_of(pid: int) -> Marks | None:
    """The marks in a process's environment; None: it has none, or it cannot be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read(ENVIRON_MAX)
    except OSError:
        return None
    if b"BANKEN_RUN=" not in environ:
        return None
    entries = dict(entry.partition(b"=")[::2] for entry in reversed(environ.split(b"\0")))
    run, name, address = (
        os.fsdecode(entries.get(key, b"")) for key in (b"BANKEN_RUN", b"BANKEN_NAME", b"BANKEN_ADDRESS")
    )
    return Marks(run, name, address) if run else None


def marked() -> list[Seen]:
    """All processes that carry marks, the oldest first. Costs about 20 µs a process."""
    carriers = ((look(pid), marks) for pid in psutil.pids() if (marks := marks_of(pid)) is not None)
    found = [seen._replace(marks=marks) for seen, marks in carriers if seen is not None]
    return sorted(found, key=lambda each: (each.start, each.pid))


def look(pid: int) -> Seen | None:
    """What the kernel says about one process; None: it has ended. Not by psutil, which rounds the start time."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The second field, the command's name, may hold anything but ends with the last ')'.
            fields = file.read().rpartition(b")")[2].split()
        return Seen(pid, int(fields[19]), int(fields[2]), int(fields[3]), None)
    except (OSError, ValueError, IndexError):
        return None
