"""Which processes are connected to the feed socket, by the kernel's word (SO_PEERCRED).

A feed names its process itself. To ask the kernel at each feed would cost more than the feed does, so it is asked
once for each connection, on a thread that reads libzmq's monitor. This keeps a feed from naming a process that has
nothing to do with this supervisor; it does not prove which of its workers a feed came from.

Linux; elsewhere the kernel cannot be asked, and every feed is believed.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import zmq

from banken.process_identity import process_start
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.processes.namespaces import note, pid_here

PEERS_MAX = 100_000
"""Processes that are remembered, the newest: as many as process_watcher.py watches at once."""

CONNECT_WAIT_S = 0.5
"""How long to wait for a process that has not connected: its first feed may arrive before the monitor's event."""

_EVENT = struct.Struct("=HI")
_CREDENTIALS = struct.Struct("3i")
_able = hasattr(socket, "SO_PEERCRED") and hasattr(os, "pidfd_open")


class PeerCredentials:
    """``monitor``: the feed socket's monitor. ``met`` and ``trust`` are for any thread. RuntimeError: no thread."""

    def __init__(self, monitor: zmq.Socket[bytes]) -> None:
        self._monitor = monitor
        self._known: dict[tuple[int, int], None] = {}
        """pid and start time"""
        self._news = threading.Condition(threading.Lock())
        self._thread = threading.Thread(target=self._listen, name="banken-peers", daemon=True)
        self._thread.start()

    def close(self, stop: Callable[[], None]) -> None:
        """End the thread; ``stop`` ends the monitor."""
        stop()
        self._thread.join(1.0)

    def met(self, who: ProcessIdentity) -> bool:
        """Whether this process has connected, or is trusted; waits for it at most ``CONNECT_WAIT_S``."""
        if not _able:
            return True
        with self._news:
            return self._news.wait_for(lambda: (pid_here(who), who.start) in self._known, CONNECT_WAIT_S)

    def trust(self, who: ProcessIdentity) -> None:
        """Take it for connected: the supervisor started it itself."""
        self._add(pid_here(who), who.start)

    def _add(self, pid: int, start: int) -> None:
        with self._news:
            self._known.pop((pid, start), None)
            if len(self._known) >= PEERS_MAX:
                del self._known[next(iter(self._known))]
            self._known[pid, start] = None
            self._news.notify_all()

    def _listen(self) -> None:
        try:
            while True:
                parts: list[Any] = self._monitor.recv_multipart()
                kind, descriptor = _EVENT.unpack(parts[0])
                if kind == zmq.EVENT_MONITOR_STOPPED:
                    return
                pid = _peer(descriptor) if _able else 0
                start = process_start(pid) if pid > 0 else 0
                if start:
                    note(pid)
                    self._add(pid, start)
        except zmq.ZMQError:
            return  # the context is closed


def _peer(descriptor: int) -> int:
    """The process that made this connection; 0: the connection is closed already.

    The descriptor is libzmq's, which may have closed it meanwhile. Then it is no socket, or another connection's:
    to count that one's process as connected does no harm.
    """
    with contextlib.suppress(OSError):
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor)
        try:
            said = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        finally:
            peer.detach()
        pid: int = _CREDENTIALS.unpack(said)[0]
        return pid
    return 0
