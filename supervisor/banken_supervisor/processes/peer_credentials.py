"""Which processes have connected to feed, by the kernel's word (SO_PEERCRED).

A feed names its process itself. What has connected is remembered, so that no feed can name a process that has
nothing to do with this supervisor; it does not prove which of its workers a feed came from.

Linux; elsewhere the kernel cannot be asked, and every feed is believed.
"""

from __future__ import annotations

import os
import socket
import threading

from banken.process_identity import process_start
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.processes.namespaces import note, pid_here

PEERS_MAX = 100_000
"""Processes that are remembered, the newest: as many as process_watcher.py watches at once."""

_able = hasattr(socket, "SO_PEERCRED") and hasattr(os, "pidfd_open")


class PeerCredentials:
    """From any thread."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], None] = {}
        """pid and start time"""
        self._lock = threading.Lock()

    def met(self, who: ProcessIdentity) -> bool:
        """Whether this process has connected, or is trusted."""
        return not _able or (pid_here(who), who.start) in self._known

    def trust(self, who: ProcessIdentity) -> None:
        """Take it for connected: the supervisor started it itself."""
        self._add(pid_here(who), who.start)

    def connected(self, pid: int) -> None:
        """This process has connected, and its connection is open."""
        start = process_start(pid)
        if start:
            note(pid)
            self._add(pid, start)

    def _add(self, pid: int, start: int) -> None:
        with self._lock:
            self._known.pop((pid, start), None)
            if len(self._known) >= PEERS_MAX:
                del self._known[next(iter(self._known))]
            self._known[pid, start] = None
