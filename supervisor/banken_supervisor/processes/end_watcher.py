"""Notices the ends of processes, within a fraction of a millisecond: epoll on the handle of each."""

from __future__ import annotations

import select
from typing import Generic, TypeVar

from banken_supervisor.processes.handle import SUPPORTED, ProcessHandle

K = TypeVar("K")


class EndWatcher(Generic[K]):
    """Handles by key; owns them. For one thread. Where the system has no pidfd, ``fileno`` is None."""

    def __init__(self) -> None:
        self.handles: dict[K, ProcessHandle] = {}
        self._by_fd: dict[int, K] = {}
        self._epoll = select.epoll() if SUPPORTED and hasattr(select, "epoll") else None

    def fileno(self) -> int | None:
        """Readable when a process has ended."""
        return None if self._epoll is None else self._epoll.fileno()

    def add(self, key: K, handle: ProcessHandle) -> None:
        """Watch a process from now on. ``key``: not in use."""
        assert self._epoll is not None
        assert key not in self.handles
        self._epoll.register(handle, select.EPOLLIN)
        self.handles[key] = handle
        self._by_fd[handle.fileno()] = key

    def remove(self, key: K) -> ProcessHandle:
        """Watch a process no longer; its handle, which is the caller's from now on."""
        assert self._epoll is not None
        handle = self.handles.pop(key)
        self._epoll.unregister(handle)
        del self._by_fd[handle.fileno()]
        return handle

    def ended(self) -> list[tuple[K, ProcessHandle]]:
        """Those that have ended since the last call. The caller closes their handles."""
        found = []
        if self._epoll is not None:
            for fd, _ in self._epoll.poll(0):
                self._epoll.unregister(fd)
                key = self._by_fd.pop(fd)
                found.append((key, self.handles.pop(key)))
        return found

    def close(self) -> None:
        """Give the descriptors back. The processes run on."""
        for handle in self.handles.values():
            handle.close()
        self.handles.clear()
        self._by_fd.clear()
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
