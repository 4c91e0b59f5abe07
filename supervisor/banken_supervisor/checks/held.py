"""Processes held from one run of a check to the next: the end of one is noticed at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable

from banken_supervisor.processes.handle import ProcessError, ProcessHandle

HELD_MAX = 64
"""Processes that one check holds: the oldest. The end of another is noticed at the next run."""

ENDED_MAX = 5
"""Ends that are remembered until the check passes."""


class Held:
    """Owns their pidfds. For the thread of one loop."""

    def __init__(self, run_now: Callable[[], None]) -> None:
        self._run_now = run_now
        self._handles: dict[tuple[int, int], ProcessHandle] = {}
        self.number = 0
        """how many have ended since the check passed"""
        self._ended: deque[tuple[int, int | None]] = deque(maxlen=ENDED_MAX)
        self._loop: asyncio.AbstractEventLoop | None = None

    def ended(self) -> list[tuple[int, int | None]]:
        """Pid and status (None: not known) of those that have ended since the check passed, the last few."""
        for key, handle in list(self._handles.items()):
            if not handle.alive:
                self._note(handle)
                self._drop(key)
        return self.noticed()

    def noticed(self) -> list[tuple[int, int | None]]:
        """The same, as far as ``ended`` and ``hold`` have noticed."""
        return list(self._ended)

    def passed(self) -> None:
        """What has ended was replaced, or was not needed."""
        self._ended.clear()
        self.number = 0

    def hold(self, processes: Iterable[tuple[int, int]]) -> None:
        """Hold these (pid, start), the first of them, and no others."""
        wanted = list(processes)[:HELD_MAX]
        for key in self._handles.keys() - set(wanted):
            if not self._handles[key].alive:  # between the last look and the list of these
                self._note(self._handles[key])
            self._drop(key)
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # another one has closed
            self._loop = loop
            for handle in self._handles.values():
                loop.add_reader(handle, self._end, handle)
        for pid, start in wanted:
            if (pid, start) not in self._handles:
                with contextlib.suppress(ProcessError):
                    handle = self._handles[pid, start] = ProcessHandle.open_pid(pid, start)
                    loop.add_reader(handle, self._end, handle)

    def close(self) -> None:
        """Give all descriptors back."""
        for key in list(self._handles):
            self._drop(key)

    def _note(self, handle: ProcessHandle) -> None:
        self.number += 1
        self._ended.append((handle.pid, handle.ended_with()))

    def _end(self, handle: ProcessHandle) -> None:
        assert self._loop is not None
        self._loop.remove_reader(handle)  # it stays readable
        self._run_now()

    def _drop(self, key: tuple[int, int]) -> None:
        handle = self._handles.pop(key)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(handle)
        handle.close()
