"""The processes of programs, each held by a handle: its end is noticed, and signals reach it alone.

What is left of a process's group is killed when the process has ended. For a child of this process that is done
before it is reaped, while its number cannot be another's. An adopted one is reaped by another process, so the rest of
its group is found by its mark (``sweep``), and each is signalled through a handle.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal

from banken_supervisor.processes.handle import ProcessError, ProcessHandle
from banken_supervisor.processes.scan import marked
from banken_supervisor.programs.spawn import Child


class ChildTable:
    """Owned by the loop's thread."""

    def __init__(self) -> None:
        self._by_name: dict[str, Child] = {}
        self._by_fd: dict[int, Child] = {}
        self._epoll = select.epoll() if hasattr(select, "epoll") else None

    def fileno(self) -> int | None:
        """Readable while there is an end to tell; None where the system has no epoll."""
        return None if self._epoll is None else self._epoll.fileno()

    def add(self, child: Child) -> None:
        """Watch it from now on. Its handle now belongs to this table."""
        assert self._epoll is not None
        assert child.name not in self._by_name
        self._by_name[child.name] = child
        self._by_fd[child.handle.fileno()] = child
        self._epoll.register(child.handle, select.EPOLLIN)

    def get(self, name: str) -> Child | None:
        """The process of a program, if it has one."""
        return self._by_name.get(name)

    def __len__(self) -> int:
        return len(self._by_name)

    def gone(self) -> list[tuple[Child, int | None]]:
        """Those that have ended since the last call, each with its status (negative: signal; None: unknown)."""
        ended = []
        if self._epoll is not None:
            for fd, _ in self._epoll.poll(0):
                child = self._by_fd.pop(fd)
                del self._by_name[child.name]
                self._epoll.unregister(fd)
                ended.append((child, bury(child)))
        return ended

    def signal(self, name: str, number: int, *, group: bool = False) -> bool:
        """Send a signal to the process itself; False: it is gone, or not ours to signal.

        ``group``: to its whole group, if it is our own child.
        """
        child = self._by_name.get(name)
        if child is None:
            return False
        try:
            if group and child.own:  # it is not reaped yet: its number is its own
                os.killpg(child.pid, number)
                return True
            return child.handle.signal(number)
        except (ProcessLookupError, PermissionError):
            return False

    def kill_group(self, name: str) -> None:
        """SIGKILL for the process and, if it is our own child, at once for its group; else see ``sweep``."""
        child = self._by_name.get(name)
        if child is None:
            return
        if child.own:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
        self.signal(name, signal.SIGKILL)  # also where the group has others in it that we may not signal

    def close(self) -> None:
        """Give the descriptors back. The processes run on."""
        for child in self._by_name.values():
            child.handle.close()
        self._by_name.clear()
        self._by_fd.clear()
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None


def bury(child: Child) -> int | None:
    """Kill what is left of an ended child's group, reap it, close its handle; its status."""
    with child.handle as handle:
        if not child.own:
            return None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        return handle.exit_status()


def sweep(run: str, group: int) -> int:
    """SIGKILL for every process that carries this mark and is in this group. How many. Reads all of /proc."""
    killed = 0
    for seen in marked():
        if seen.marks is not None and seen.marks.run == run and seen.group == group:
            with (
                contextlib.suppress(ProcessError, PermissionError),
                ProcessHandle.open_pid(seen.pid, seen.start) as handle,
            ):
                killed += handle.signal(signal.SIGKILL)
    return killed
