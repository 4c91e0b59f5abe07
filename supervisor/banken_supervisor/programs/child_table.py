"""The processes of programs, each held by a handle: its end is noticed, and a signal reaches it alone.

What a process has started is found and ended elsewhere (processes/run_processes.py).
"""

from __future__ import annotations

import contextlib

from banken_supervisor.processes.end_watcher import EndWatcher
from banken_supervisor.programs.spawn import Child


class ChildTable:
    """By program. Owned by the loop's thread."""

    def __init__(self) -> None:
        self._children: dict[str, Child] = {}
        self.by_pid: dict[int, str] = {}
        """program by the pid of its process"""
        self._ends = EndWatcher[str]()
        self.fileno = self._ends.fileno
        self.get = self._children.get

    def add(self, child: Child) -> None:
        """Watch it from now on. Its handle now belongs to this table."""
        self._ends.add(child.name, child.handle)
        self._children[child.name] = child
        self.by_pid[child.handle.pid] = child.name

    def gone(self) -> list[tuple[Child, int | None]]:
        """Those that have ended since the last call, each with its status (negative: signal; None: unknown)."""
        ended: list[tuple[Child, int | None]] = []
        for name, handle in self._ends.ended():
            child, status = self._children.pop(name), None
            del self.by_pid[handle.pid]
            with handle:
                if child.own:
                    status = handle.exit_status()
                if status is None:
                    status = handle.ended_with()
            ended.append((child, status))
        return ended

    def signal(self, name: str, number: int) -> bool:
        """Send a signal to the process itself; False: it has ended, or is another user's."""
        child = self.get(name)
        if child is None:
            return False
        with contextlib.suppress(PermissionError):
            return child.handle.signal(number)
        return False

    def close(self) -> None:
        """Give the descriptors back. The processes run on."""
        self._ends.close()
        self._children.clear()
        self.by_pid.clear()
