"""Worker processes, known for certain: a pidfd each, so that a reused pid is never taken for its predecessor.

A process is identified by boot id, pid and start time. It is watched only if it runs on this boot and its start
time, read *after* its pidfd was opened, is the one that it told: from then on the descriptor means this process
and no other. Its death makes the descriptor readable within a fraction of a millisecond.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal

from banken.process_identity import boot_id, process_start
from banken.protocol.messages import ProcessIdentity

LIVES_MAX = 100_000
"""Processes watched at once; of further ones only the silence is noticed."""


class ProcessWatcher:
    """The living workers of this host. Owned by the loop's thread."""

    def __init__(self) -> None:
        self._boot = boot_id()
        self._known: dict[ProcessIdentity, int] = {}
        self._by_fd: dict[int, ProcessIdentity] = {}
        self._epoll: select.epoll | None = None
        if hasattr(os, "pidfd_open") and hasattr(select, "epoll") and any(self._boot):
            self._epoll = select.epoll()

    def fileno(self) -> int | None:
        """Readable while there is a death to tell; None where the system has no pidfd."""
        return None if self._epoll is None else self._epoll.fileno()

    def __len__(self) -> int:
        return len(self._known)

    def watch(self, who: ProcessIdentity) -> bool:
        """Notice the death of ``who`` from now on; False if it cannot be known for certain here."""
        if who in self._known:
            return True
        if self._epoll is None or who.boot != self._boot or not who.start or len(self._known) >= LIVES_MAX:
            return False
        try:
            fd = os.pidfd_open(who.pid)
        except (OSError, OverflowError, ValueError):
            # Gone already, not ours to see, no descriptor left, or a number that no process has: its silence
            # will tell.
            return False
        if process_start(who.pid) != who.start:
            os.close(fd)
            return False
        self._epoll.register(fd, select.EPOLLIN)
        self._known[who] = fd
        self._by_fd[fd] = who
        return True

    def ended(self, who: ProcessIdentity) -> bool:
        """Whether this process is certainly no more: of this boot, and its pid is nobody's, or another's.

        One of another boot may have come up again under its name; its silence will tell.
        """
        if self._epoll is None or who.boot != self._boot or not who.start:
            return False
        try:
            fd = os.pidfd_open(who.pid)
        except (ProcessLookupError, OverflowError):
            return True
        except (OSError, ValueError):
            return False
        try:
            start = process_start(who.pid)
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            return start not in (0, who.start) or bool(poll.poll(0))
        finally:
            os.close(fd)

    def gone(self) -> set[ProcessIdentity]:
        """Those that have died since the last call."""
        dead: set[ProcessIdentity] = set()
        if self._epoll is not None:
            for fd, _ in self._epoll.poll(0):
                who = self._by_fd.pop(fd)
                dead.add(who)
                self._known.pop(who, None)
                self._epoll.unregister(fd)
                os.close(fd)
        return dead

    def signal(self, who: ProcessIdentity, number: int) -> bool:
        """Send a signal to exactly this process; False if it is not known for certain, or gone."""
        fd = self._known.get(who)
        if fd is None:
            return False
        try:
            signal.pidfd_send_signal(fd, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def close(self) -> None:
        """Give the descriptors back."""
        for fd in self._by_fd:
            with contextlib.suppress(OSError):
                os.close(fd)
        self._known.clear()
        self._by_fd.clear()
        if self._epoll is not None:
            self._epoll.close()
