"""The worker processes of this host whose end is watched."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from itertools import islice

from banken.process_identity import process_start
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.processes.end_watcher import EndWatcher
from banken_supervisor.processes.handle import (
    STATUS_KNOWN,
    ProcessError,
    ProcessGone,
    ProcessHandle,
    ProcessUnheld,
)
from banken_supervisor.processes.namespaces import SPACE

PROCESSES_MAX = 100_000
"""Processes watched at once; of further ones only the silence is noticed."""

LOOKS_MAX = 100
"""Processes of which a handle is tried again at once."""


def ticks_now() -> int:
    """The time since boot as the kernel counts it for starts of processes, rounded up."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")) + 1


class ProcessWatcher:
    """Owned by the loop's thread. One handle a process, however many identities it has given (the random part of
    each is that of one copy of banken, or of one program after another in the same process)."""

    def __init__(self) -> None:
        self._ends = EndWatcher[tuple[bytes, int, int]]()
        self._first: dict[tuple[bytes, int, int], ProcessIdentity] = {}
        """of each handle, the identity for which it was opened"""
        self.same: Callable[[ProcessIdentity], Iterable[ProcessIdentity]] = lambda who: (who,)
        """the identities of a process that matter"""
        self.fileno = self._ends.fileno
        self.close = self._ends.close
        self.unseen: dict[ProcessIdentity, None] = {}
        """those whose end would be noticed if there were a descriptor for it"""

    def __len__(self) -> int:
        return len(self._ends.handles)

    def watch(self, who: ProcessIdentity) -> bool:
        """Notice the end of ``who`` from now on; False: it has ended, or cannot be identified here or now."""
        if self.holds(who):
            return True
        if self.fileno() is None or len(self) >= PROCESSES_MAX:
            return False
        try:
            self._ends.add(who[:3], ProcessHandle.open(who))
        except ProcessUnheld:
            if len(self.unseen) < PROCESSES_MAX:
                self.unseen[who] = None
            return False
        except ProcessError:  # its silence will be noticed
            return False
        self._first[who[:3]] = who
        self.unseen.pop(who, None)
        return True

    def let_go(self, count: int) -> None:
        """Give back the handles of the ``count`` processes that are watched for the shortest time."""
        for key in list(islice(reversed(self._ends.handles), count)):
            self._ends.remove(key).close()
            self.unseen.update(dict.fromkeys(self.same(self._first.pop(key))))

    def look_again(self, most: int, wanted: Callable[[ProcessIdentity], bool]) -> list[ProcessIdentity]:
        """Watch at most ``most`` of those that are unseen, and forget those that are not ``wanted`` any more.

        Returns those that have ended meanwhile.
        """
        gone = []
        for who in list(islice(self.unseen, LOOKS_MAX)):
            del self.unseen[who]
            if not wanted(who):
                continue
            if most <= 0:
                self.unseen[who] = None  # the last from now on
            elif self.watch(who):
                most -= 1
            elif who not in self.unseen and self.ended(who):
                gone.append(who)
        return gone

    def ended(self, who: ProcessIdentity) -> bool:
        """Whether this process has certainly ended. False for one of another boot: it may have started again."""
        try:
            with ProcessHandle.open(who) as handle:
                return not handle.alive
        except ProcessError as fault:
            return isinstance(fault, ProcessGone)

    def is_possible(self, who: ProcessIdentity) -> bool:
        """Whether there is such a process, or was one: a start in the future would make it the newest for ever.
        True where the kernel cannot be asked."""
        if who.boot != SPACE or not who.start:
            return True
        # What has a pid now began before all that had it later.
        return who.start <= (process_start(who.pid) or ticks_now())

    def holds(self, who: ProcessIdentity) -> bool:
        """Whether this process lives, and its end will be noticed."""
        return who[:3] in self._ends.handles

    def tells_end(self, who: ProcessIdentity) -> bool:
        """Whether its end will be noticed, and how it ended: it is watched from now on, if it was not yet."""
        return STATUS_KNOWN and self.watch(who)

    def gone(self) -> list[tuple[ProcessIdentity, int | None]]:
        """Those that have ended since the last call; the status of each, or minus the signal; None: not known."""
        found = []
        for key, handle in self._ends.ended():
            with handle:
                status = handle.ended_with()
            found += [(who, status) for who in self.same(self._first.pop(key))]
        return found
