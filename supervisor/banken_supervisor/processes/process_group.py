"""A process group that one identified worker leads, so that what it forked ends with it.

A group has no descriptor; its number is the pid of its leader. The kernel reuses that number only when no member is
left. So a handle is kept of every member that was seen while the leader was identified: while one of them lives and
is still in the group, the number means this group.

When the last of them has ended, the group is searched once more, for a process that was forked a moment ago. For
the number to mean another group by then, all pids would have to be used since the last search, and the leader of
that group would be there: this is checked.
"""

from __future__ import annotations

import contextlib
import os
import time

import psutil

from banken.process_identity import process_start
from banken_supervisor.processes.handle import ProcessError, ProcessHandle

MEMBERS_MAX = 1024
"""Members that are held; the group is signalled whole, however many it has."""


class ProcessGroup:
    """The group ``number``. Made by ``ProcessHandles.group`` while its leader lives. Close it after use."""

    def __init__(self, number: int, start: int) -> None:
        """``start``: the leader's start time, in ticks since boot."""
        self.number = number
        self._start = start
        self._over = False
        self._members: dict[int, ProcessHandle] = {}
        self._search()

    def signal(self, number: int) -> bool:
        """Send a signal to all members; False: none is left. PermissionError: all are another user's."""
        if not self.left():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.number, number)
        return True

    def left(self) -> int:
        """How many known members live."""
        for pid, member in list(self._members.items()):
            if not self._is_member(member):
                self._members.pop(pid).close()
        if not self._over:
            self._search()
            self._over = not self._members
        return len(self._members)

    def wait_gone(self, seconds: float) -> bool:
        """Wait at most ``seconds`` until no member is left; whether none is."""
        deadline = time.monotonic() + seconds
        while self.left():
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            next(iter(self._members.values())).wait(min(remaining, 0.5))
        return True

    def close(self) -> None:
        """Give the descriptors back."""
        for member in self._members.values():
            member.close()
        self._members.clear()

    def _search(self) -> None:
        if process_start(self.number) not in (0, self._start):
            return  # the number is another process's now
        for pid in psutil.pids():
            if pid in self._members or pid == os.getpid() or _group_of(pid) != self.number:
                continue
            if len(self._members) >= MEMBERS_MAX:
                return
            with contextlib.suppress(ProcessError):
                member = ProcessHandle.open_pid(pid)
                if self._is_member(member):  # asked again: now the handle holds the pid
                    self._members[pid] = member
                else:
                    member.close()

    def _is_member(self, process: ProcessHandle) -> bool:
        return process.alive and _group_of(process.pid) == self.number


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return 0
