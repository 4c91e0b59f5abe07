"""The worker processes of this host whose end is watched."""

from __future__ import annotations

from banken.protocol.messages import ProcessIdentity
from banken_supervisor.processes.end_watcher import EndWatcher
from banken_supervisor.processes.handle import STATUS_KNOWN, ProcessError, ProcessGone, ProcessHandle

PROCESSES_MAX = 100_000
"""Processes watched at once; of further ones only the silence is noticed."""


class ProcessWatcher:
    """Owned by the loop's thread."""

    def __init__(self) -> None:
        self._ends = EndWatcher[ProcessIdentity]()
        self.fileno = self._ends.fileno
        self.close = self._ends.close

    def __len__(self) -> int:
        return len(self._ends.handles)

    def watch(self, who: ProcessIdentity) -> bool:
        """Notice the end of ``who`` from now on; False: it has ended, or cannot be identified here."""
        if who in self._ends.handles:
            return True
        if self.fileno() is None or len(self) >= PROCESSES_MAX:
            return False
        try:
            self._ends.add(who, ProcessHandle.open(who))
        except ProcessError:  # its silence will be noticed
            return False
        return True

    def ended(self, who: ProcessIdentity) -> bool:
        """Whether this process has certainly ended. False for one of another boot: it may have started again."""
        try:
            with ProcessHandle.open(who) as handle:
                return not handle.alive
        except ProcessError as fault:
            return isinstance(fault, ProcessGone)

    def holds(self, who: ProcessIdentity) -> bool:
        """Whether this process lives, and its end will be noticed."""
        return who in self._ends.handles

    def tells_end(self, who: ProcessIdentity) -> bool:
        """Whether its end will be noticed, and how it ended: it is watched from now on, if it was not yet."""
        return STATUS_KNOWN and self.watch(who)

    def gone(self) -> list[tuple[ProcessIdentity, int | None]]:
        """Those that have ended since the last call; the status of each, or minus the signal; None: not known."""
        found = []
        for who, handle in self._ends.ended():
            with handle:
                found.append((who, handle.ended_with()))
        return found
