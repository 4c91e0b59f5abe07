"""Notices the end of worker processes, within a fraction of a millisecond: epoll on one pidfd for each."""

from __future__ import annotations

import select

from banken.model import Incarnation
from banken_supervisor.processes.handle import SUPPORTED, ProcessError, ProcessGone, ProcessHandle

PROCESSES_MAX = 100_000
"""Processes watched at once; of further ones only the silence is noticed."""


class ProcessWatcher:
    """The living workers of this host. Owned by the loop's thread."""

    def __init__(self) -> None:
        self._handles: dict[Incarnation, ProcessHandle] = {}
        self._by_fd: dict[int, Incarnation] = {}
        self._epoll = select.epoll() if SUPPORTED and hasattr(select, "epoll") else None

    def fileno(self) -> int | None:
        """Readable when a process has ended; None where the system has no pidfd."""
        return None if self._epoll is None else self._epoll.fileno()

    def __len__(self) -> int:
        return len(self._handles)

    def watch(self, who: Incarnation) -> bool:
        """Notice the end of ``who`` from now on; False: it has ended, or cannot be identified here."""
        if who in self._handles:
            return True
        if self._epoll is None or len(self._handles) >= PROCESSES_MAX:
            return False
        try:
            handle = ProcessHandle.open(who)
        except ProcessError:  # its silence will be noticed
            return False
        self._epoll.register(handle, select.EPOLLIN)
        self._handles[who] = handle
        self._by_fd[handle.fileno()] = who
        return True

    def ended(self, who: Incarnation) -> bool:
        """Whether this process has certainly ended. False for one of another boot: it may have started again."""
        try:
            with ProcessHandle.open(who) as handle:
                return not handle.alive
        except ProcessError as fault:
            return isinstance(fault, ProcessGone)

    def gone(self) -> set[Incarnation]:
        """Those that have ended since the last call."""
        ended: set[Incarnation] = set()
        if self._epoll is not None:
            for fd, _ in self._epoll.poll(0):
                who = self._by_fd.pop(fd)
                ended.add(who)
                self._epoll.unregister(fd)
                self._handles.pop(who).close()
        return ended

    def signal(self, who: Incarnation, number: int) -> bool:
        """Send a signal to exactly this process; False: it is not watched, has ended, or is another user's."""
        handle = self._handles.get(who)
        try:
            return handle is not None and handle.signal(number)
        except PermissionError:
            return False

    def close(self) -> None:
        """Give the descriptors back."""
        for handle in self._handles.values():
            handle.close()
        self._handles.clear()
        self._by_fd.clear()
        if self._epoll is not None:
            self._epoll.close()
