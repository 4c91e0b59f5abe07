"""A process group that one known worker leads, so that what it forked ends with it.

A group has no descriptor; its number is the pid of its leader. The kernel gives that number to nobody else as long
as one member lives, so a pidfd is kept of every member that was seen while the leader was known for certain: while
one of them lives and is still in the group, the number means this group.

When the last of them is found dead, the group is looked at once more, for one that was forked a moment ago. For
the number to mean another group by then, pids would have had to go round once since the last look, and the leader
of that group would be there: this is checked.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from types import TracebackType

from banken.process_identity import process_start

MEMBERS_MAX = 1024
"""Members whose pidfd is kept; the group is signalled whole, however many it has."""


class ProcessGroup:
    """The group ``number``. Made by ``Processes.group``, which knows that its leader lives. Close it after use."""

    def __init__(self, number: int, start: int) -> None:
        """``start``: the leader's start time, in ticks since boot."""
        self.number = number
        self._start = start
        self._over = False
        self._members: dict[int, int] = {}
        """pid to pidfd"""
        self._look()

    def __enter__(self) -> ProcessGroup:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def signal(self, number: int) -> bool:
        """Send a signal to all members; False: none is left. PermissionError: none of them may be signalled."""
        if not self.left():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.number, number)
        return True

    def left(self) -> int:
        """How many known members live."""
        self._forget_the_dead()
        if not self._over:
            self._look()
            self._over = not self._members
        return len(self._members)

    def wait_gone(self, seconds: float) -> bool:
        """Wait until no member is left, at most so long."""
        deadline = time.monotonic() + seconds
        while self.left():
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            poll = select.poll()
            poll.register(next(iter(self._members.values())), select.POLLIN)
            poll.poll(min(remaining, 0.5) * 1000)
        return True

    def close(self) -> None:
        """Give the descriptors back."""
        for fd in self._members.values():
            os.close(fd)
        self._members.clear()

    def _look(self) -> None:
        if process_start(self.number) not in (0, self._start):
            return  # the number is a stranger's now
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) not in self._members and len(self._members) < MEMBERS_MAX:
                pid = int(entry)
                if pid != os.getpid() and _group_of(pid) == self.number:
                    self._keep(pid)

    def _keep(self, pid: int) -> None:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        if _dead(fd) or _group_of(pid) != self.number:  # asked again: now the descriptor holds the pid
            os.close(fd)
        else:
            self._members[pid] = fd

    def _forget_the_dead(self) -> None:
        for pid, fd in list(self._members.items()):
            if _dead(fd) or _group_of(pid) != self.number:
                os.close(fd)
                del self._members[pid]


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


def _dead(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
