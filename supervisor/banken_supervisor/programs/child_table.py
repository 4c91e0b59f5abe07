"""The processes of programs, each held by a handle: its end is noticed, and a signal reaches it alone.

A program has the process that was started, and may have named another one as its *main* process (MAINPID of
sd_notify). What a process has started is found and ended elsewhere (processes/run_processes.py).
"""

from __future__ import annotations

import contextlib
from enum import Enum, auto
from typing import NamedTuple

from banken_supervisor.processes.end_watcher import EndWatcher
from banken_supervisor.processes.handle import ProcessHandle
from banken_supervisor.programs.spawn import Child


class Role(Enum):
    """What a process is to its program."""

    STARTED = auto()
    MAIN = auto()
    """it was named, and what was started lives"""
    LEFT = auto()
    """it was started, and its program has ended with the main one: its status is collected"""


class Gone(NamedTuple):
    """A process that has ended."""

    child: Child
    """its handle is closed"""
    status: int | None
    """negative: signal; None: unknown"""
    role: Role


class ChildTable:
    """By program. Owned by the loop's thread."""

    def __init__(self) -> None:
        self._children: dict[str, Child] = {}
        self.by_pid: dict[int, str] = {}
        """program by the pid of its process"""
        self._ends = EndWatcher[tuple[Role, str]]()
        self._left: dict[str, Child] = {}
        """by run"""
        self.fileno = self._ends.fileno
        self.get = self._children.get

    def add(self, child: Child) -> None:
        """Watch it from now on. Its handle now belongs to this table."""
        self.drop_main(child.name)
        self._ends.add((Role.STARTED, child.name), child.handle)
        self._children[child.name] = child
        self.by_pid[child.handle.pid] = child.name

    def gone(self) -> list[Gone]:
        """Those that have ended since the last call. Of a program of which both have, what was started."""
        ended = self._ends.ended()
        keys = {key for key, _ in ended}
        found = []
        for (role, key), handle in ended:
            if role is Role.MAIN:
                if (Role.STARTED, key) not in keys and (launcher := self.get(key)) is not None:
                    child = Child(key, launcher.run, handle, False)
                    found.append(Gone(child, handle.ended_with(), role))
                handle.close()
                continue
            child = self._left.pop(key) if role is Role.LEFT else self._forget(key)
            with handle:
                status = handle.exit_status() if child.own else None
                status = handle.ended_with() if status is None else status
            found.append(Gone(child, status, role))
        return found

    def leave(self, name: str) -> None:
        """The program has ended, and what was started has not: it is only watched for its status."""
        handle, child = self._ends.remove((Role.STARTED, name)), self._forget(name)
        self._ends.add((Role.LEFT, child.run), handle)
        self._left[child.run] = child

    # -- main processes -------------------------------------------------------------------------------

    def set_main(self, name: str, handle: ProcessHandle) -> None:
        """This one was named. The handle belongs to this table now."""
        self.drop_main(name)
        child = self.get(name)
        if child is None or child.handle.pid == handle.pid:  # what was started names itself
            handle.close()
        else:
            self._ends.add((Role.MAIN, name), handle)

    def main(self, name: str) -> ProcessHandle | None:
        """The one that was named, if it lives."""
        handle = self._ends.handles.get((Role.MAIN, name))
        return handle if handle is not None and handle.alive else None

    def take_main(self, name: str) -> ProcessHandle | None:
        """The one that was named, if it lives; it is the caller's now, and forgotten here."""
        if self.main(name) is not None:
            return self._ends.remove((Role.MAIN, name))
        self.drop_main(name)
        return None

    def drop_main(self, name: str) -> None:
        """Forget what was named."""
        if (Role.MAIN, name) in self._ends.handles:
            self._ends.remove((Role.MAIN, name)).close()

    # -- signals --------------------------------------------------------------------------------------

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
        self._left.clear()
        self.by_pid.clear()

    def _forget(self, name: str) -> Child:
        child = self._children.pop(name)
        del self.by_pid[child.handle.pid]
        return child
