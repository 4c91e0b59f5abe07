"""Finds the processes that a supervisor has started by what the kernel shows of them.

A child carries ``BANKEN_RUN`` in its environment, a random number of this one run; so do its own children. The
kernel shows the environment of a process to its owner and to root. A process may overwrite it (a changed title
does), so a missing mark proves nothing, while another mark proves that it is another process. Where a control
group was delegated, each run has one of its own below it, whose name is a mark that no process can remove.

Any user can set such a variable. The run is a secret of the processes that have it, unless it names a control
group, which all users see: then it counts only in processes of our own user. Where no run is known that it could be
compared with, ``user`` says whose word it is.

psutil's ``environ()`` would do, but decodes and splits every environment; here the bytes are searched for a mark
first.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import psutil

from banken_supervisor.processes.control_groups import delegated, run_of
from banken_supervisor.processes.handle import real_user
from banken_supervisor.text.sanitize import one_line

ENVIRON_MAX = 4 * 1024 * 1024
"""Bytes of one process's environment that are read; the kernel allows about as much."""


NO_RUN = "-"
"""The run of a process whose mark is empty: it wants to belong to none."""

COMMAND_RUN = "exec-"
"""How the mark of a command begins that is no program (actions/exec.py)."""


WITHIN = "/"
"""Ends the run of a program in the mark of a command that one of its processes runs, and ends itself (checks)."""


def is_within(run: str, outer: str) -> bool:
    """Whether what bears the mark ``run`` belongs to the run ``outer``."""
    return run == outer or run.startswith(outer + WITHIN)


class Seen(NamedTuple):
    """One process. ``run``, ``name`` and ``address`` are its marks; empty: none is known."""

    pid: int
    start: int
    """ticks since boot"""
    parent: int
    group: int
    session: int
    run: str = ""
    name: str = ""
    address: str = ""
    user: int | None = None
    """the user id of its process, where the marks are from its environment and so that user's word"""

    @property
    def leads(self) -> bool:
        """Whether a supervisor may have started it: it leads a session of its own."""
        return self.pid == self.group == self.session


def processes(since: int = 0) -> list[Seen]:
    """All that can be seen and have not ended, the oldest first. Costs about 30 µs a process.

    ``since``: no marks are looked for in those that started before this tick, which halves the cost for them.
    """
    return search(since)[0]


def search(since: int = 0) -> tuple[list[Seen], bool]:
    """The same, and whether it is complete. If not, one that started since then has ended meanwhile: what it forked
    may have come after the list of all processes was read. OSError: /proc is not there."""
    try:
        looks = [_look(pid, since) for pid in psutil.pids()]
    except IndexError:  # of psutil, where there is none
        raise FileNotFoundError("/proc lists no process: is it mounted?") from None
    found = sorted((each for each in looks if isinstance(each, Seen)), key=lambda each: (each.start, each.pid))
    return found, all(each is not None for each in looks)


def command_of(pid: int) -> str:
    """The short name of its program, for people; empty: it has ended."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return one_line(file.read(64).decode("utf-8", "backslashreplace").strip())
    except OSError:
        return ""


def look(pid: int) -> Seen | None:
    """What its environment and the kernel say about it; None: it has ended."""
    found = _look(pid, 0)
    return found if isinstance(found, Seen) else None


def _look(pid: int, since: int) -> Seen | int | None:
    """What its environment and the kernel say about it; None: it has ended; its number: before ``since``."""
    try:
        # Not by psutil, which rounds the start time. The second field, the command's name, may hold anything but
        # ends with the last ')'.
        fields = _read(f"/proc/{pid}/stat", 4096).rpartition(b")")[2].split(None, 20)
        state, parent, group, session = fields[:4]
        seen = Seen(pid, int(fields[19]), int(parent), int(group), int(session))
        if state in b"ZX":
            return None if seen.start >= since else pid
        if seen.start < since:
            return seen
        run = run_of(pid)
    except (OSError, ValueError, IndexError):
        return None
    try:
        environ = _read(f"/proc/{pid}/environ", ENVIRON_MAX)
    except OSError:  # another user's
        environ = b""
    if b"BANKEN_" not in environ:
        return seen._replace(run=run) if run else seen
    entries = dict(entry.partition(b"=")[::2] for entry in reversed(environ.split(b"\0")))
    its_run, name, address = (
        os.fsdecode(entries.get(key, b"")) for key in (b"BANKEN_RUN", b"BANKEN_NAME", b"BANKEN_ADDRESS")
    )
    if run:  # by the kernel's word
        return seen._replace(run=run, name=name, address=address)
    user = real_user(pid)
    if delegated() is None or user == os.geteuid():
        run = its_run or (NO_RUN if b"BANKEN_RUN" in entries else "")
    return seen._replace(run=run, name=name, address=address, user=user)


def _read(path: str, size_max: int) -> bytes:
    """By the system's calls: a file object costs as much again, and these are thousands."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(fd, 16384)
        while len(text) % 16384 == 0 and 0 < len(text) < size_max and (more := os.read(fd, 16384)):
            text += more
        return text
    finally:
        os.close(fd)
