"""Which process of a program is its main one, where it has said so (MAINPID of sd_notify).

Until then it is the one that was started. A launcher that has named another one and ends with status 0 has done its
work: the program goes on.
"""

from __future__ import annotations

from banken_supervisor.processes.handle import ProcessHandle


class MainProcesses:
    """By program. Owns the handles. Owned by the loop's thread."""

    def __init__(self) -> None:
        self._named: dict[str, ProcessHandle] = {}

    def get(self, name: str) -> ProcessHandle | None:
        """The one that was named, if it lives."""
        handle = self._named.get(name)
        return handle if handle is not None and handle.alive else None

    def set(self, name: str, handle: ProcessHandle) -> None:
        """This one was named. The handle belongs to this table now."""
        self.drop(name)
        self._named[name] = handle

    def take(self, name: str) -> ProcessHandle | None:
        """The one that was named, if it lives; it is the caller's now, and forgotten here."""
        handle = self.get(name)
        if handle is None:
            self.drop(name)
        else:
            del self._named[name]
        return handle

    def drop(self, name: str) -> None:
        """Forget what was named."""
        handle = self._named.pop(name, None)
        if handle is not None:
            handle.close()

    def close(self) -> None:
        """Give the descriptors back."""
        for name in list(self._named):
            self.drop(name)
