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


class Marked(NamedTuple):
    """One process that carries marks."""

    pid: int
    start: int
    """ticks since boot"""
    group: int
    leads: bool
    """whether a supervisor may have started it: it leads a session of its own"""
    run: str
    name: str
    address: str


def marked() -> list[Marked]:
    """All processes that carry marks, the oldest first. Costs about 20 µs a process."""
    found = filter(None, map(_look, psutil.pids()))
    return sorted(found, key=lambda each: (each.start, each.pid))


def _look(pid: int) -> Marked | None:
    """What its environment and the kernel say about it; None: it has no mark, cannot be read, or has ended."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read(ENVIRON_MAX)
        if b"BANKEN_RUN=" not in environ:
            return None
        # Not by psutil, which rounds the start time.
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The second field, the command's name, may hold anything but ends with the last ')'.
            fields = file.read().rpartition(b")")[2].split()
        group, session, start = int(fields[2]), int(fields[3]), int(fields[19])
    except (OSError, ValueError, IndexError):
        return None
    entries = dict(entry.partition(b"=")[::2] for entry in reversed(environ.split(b"\0")))
    run, name, address = (
        os.fsdecode(entries.get(key, b"")) for key in (b"BANKEN_RUN", b"BANKEN_NAME", b"BANKEN_ADDRESS")
    )
    return Marked(pid, start, group, pid == group == session, run, name, address) if run else None
