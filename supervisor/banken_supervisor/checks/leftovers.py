"""Ends what the commands of checks leave behind, also what left its session and cleared its environment.

This process is a subreaper (prctl(2)): a process whose parent has ended becomes its child. Such an orphan is in
another session than this process, for each command leads one of its own. What this process starts for itself stays
in the session of this process, and is not touched.

An orphan does not say which command it comes from, but it cannot be older than that. One that is older than all
commands that run was left by one that has ended: it is killed, with its descendants. Another one may belong to a
command that runs; it is looked at again when the next one ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection, Iterator
from time import monotonic, sleep
from typing import NamedTuple

from banken_supervisor.processes.children import children_of
from banken_supervisor.processes.handle import ProcessError, ProcessHandle

END_S = 0.05
"""Seconds that the end of what was killed is awaited. What takes longer is collected later."""

_POLL_S = 0.001


class _Child(NamedTuple):
    pid: int
    start: int
    """ticks since boot"""
    session: int
    is_zombie: bool


class Leftovers:
    """For the thread of one loop."""

    def __init__(self) -> None:
        self._running: dict[int, int] = {}
        """pids of the commands that run, and when each began, in ticks since boot"""
        self._since: int | None = None
        """when the first command began of those that may have left something; None: there is none"""
        self._outlive: set[tuple[int, int]] = set()
        """pid and start of those that were killed and did not end in time"""

    def began(self, pid: int, start: int) -> None:
        """This command runs."""
        self._running[pid] = start
        self._since = start if self._since is None else min(self._since, start)

    def ended(self, pid: int) -> None:
        """This command runs no longer."""
        self._running.pop(pid, None)

    def orphans(self, own: Collection[int]) -> list[_Child]:
        """Those that a command may have left, zombies included. ``own``: children that are collected elsewhere."""
        since, here = self._since, os.getsid(0)
        if since is None:
            return []
        found = [seen for pid in children_of(os.getpid()) if (seen := _look(pid)) is not None]
        return [
            each
            for each in found
            if each.pid not in self._running
            and each.pid not in own
            and each.session != here
            and each.start >= since
        ]

    def kill(self, own: Collection[int]) -> None:
        """Kill and collect what commands have left that have ended. ``own``: as for ``orphans``."""
        until = monotonic() + END_S
        while found := self.orphans(own):
            for each in found:
                if each.is_zombie:
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(each.pid, os.WNOHANG)
            first = min(self._running.values(), default=None)
            alive = [each for each in found if not each.is_zombie]
            doomed = [each for each in alive if first is None or each.start < first]
            self._outlive &= {each[:2] for each in doomed}
            doomed = [each for each in doomed if each[:2] not in self._outlive]
            if alive and not doomed:
                return
            for each in doomed:
                for seen in (each, *_descendants(each.pid)):
                    _kill(seen)
            if doomed and monotonic() > until:
                self._outlive |= {each[:2] for each in doomed}
                return
            if doomed:
                sleep(_POLL_S)
        if not self._running:
            self._since = None


def _kill(seen: _Child) -> None:
    with contextlib.suppress(ProcessError, OSError), ProcessHandle.open_pid(seen.pid, seen.start) as handle:
        handle.signal(signal.SIGKILL)


def _descendants(pid: int) -> Iterator[_Child]:
    for child in children_of(pid):
        if (seen := _look(child)) is not None:
            yield seen
            yield from _descendants(child)


def _look(pid: int) -> _Child | None:
    """None: it has been collected."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read(4096).rpartition(b")")[2].split(None, 20)
        return _Child(pid, int(fields[19]), int(fields[3]), fields[0] in b"ZX")
    except (OSError, ValueError, IndexError):
        return None
