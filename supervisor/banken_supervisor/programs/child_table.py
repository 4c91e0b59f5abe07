"""The processes of programs, each held by a handle: its end is noticed, and signals reach it alone.

What is left of a process's group is killed when the process has ended. For a child of this process that is done
before it is reaped, while its number cannot be another's. An adopted one is reaped by another process, so the rest
of its group is found by its mark (``sweep``), and each is signalled through a handle.
"""

from __future__ import annotations

import contextlib
import os
import signal

from banken_supervisor.processes.end_watcher import EndWatcher
from banken_supervisor.processes.handle import ProcessError, ProcessHandle
from banken_supervisor.processes.scan import marked
from banken_supervisor.programs.spawn import Child


class ChildTable:
    """By program. Owned by the loop's thread."""

    def __init__(self) -> None:
        self._children: dict[str, Child] = {}
        self._ends = EndWatcher[str]()
        self.fileno = self._ends.fileno
        self.get = self._children.get

    def add(self, child: Child) -> None:
        """Watch it from now on. Its handle now belongs to this table."""
        self._ends.add(child.name, child.handle)
        self._children[child.name] = child

    def gone(self) -> list[tuple[Child, int | None]]:
        """Those that have ended since the last call, each with its status (negative: signal; None: unknown)."""
        ended: list[tuple[Child, int | None]] = []
        for name, handle in self._ends.ended():
            child, status = self._children.pop(name), None
            with handle:
                if child.own:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(handle.pid, signal.SIGKILL)
                    status = handle.exit_status()
            ended.append((child, status))
        return ended

    def signal(self, name: str, number: int, *, group: bool = False) -> bool:
        """Send a signal to the process itself; False: it has ended, or is another user's.

        ``group``: to its whole group, if it is a child of this process.
        """
        child = self.get(name)
        if child is None:
            return False
        try:
            if group and child.own:  # it is not reaped yet: its number is its own
                os.killpg(child.handle.pid, number)
                return True
            return child.handle.signal(number)
        except (ProcessLookupError, PermissionError):
            return False

    def kill_group(self, name: str) -> None:
        """SIGKILL for the process and, if it is a child of this process, for its group; else see ``sweep``."""
        self.signal(name, signal.SIGKILL, group=True)
        self.signal(name, signal.SIGKILL)  # also where the group has others in it that we may not signal

    def close(self) -> None:
        """Give the descriptors back. The processes run on."""
        self._ends.close()
        self._children.clear()


def sweep(run: str, group: int) -> int:
    """SIGKILL for every process that carries this mark and is in this group. How many. Reads all of /proc."""
    killed = 0
    for seen in marked():
        if seen.run == run and seen.group == group:
            with (
                contextlib.suppress(ProcessError, PermissionError),
                ProcessHandle.open_pid(seen.pid, seen.start) as handle,
            ):
                killed += handle.signal(signal.SIGKILL)
    return killed
