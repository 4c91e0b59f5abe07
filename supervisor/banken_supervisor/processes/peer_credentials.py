"""Who has really connected: the kernel's word on the processes at the other end of the feed socket.

A feed says itself which process it comes from. The kernel knows better (SO_PEERCRED), but to ask it for each feed
costs more than taking the feed does. So it is asked once for each connection, on a thread of its own that libzmq's
monitor tells of them, and remembered is which processes have connected. That is enough to keep a feed from naming a
process that has nothing to do with this supervisor; which of its workers a feed came from, it does not prove.

Linux; elsewhere nobody can be asked, and everybody is taken at their word.
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

PEERS_MAX = 100_000
"""Processes that are remembered, the newest: as many as are watched at once (lives.py)."""

PATIENCE_S = 0.5
"""How long a process is waited for that has not been seen to connect: its first feed may be quicker than the word
of its connection."""

_EVENT = struct.Struct("=HI")
_CREDENTIALS = struct.Struct("3i")
_able = hasattr(socket, "SO_PEERCRED") and hasattr(os, "pidfd_open")


class PeerCredentials:
    """``monitor``: what tells of accepted connections (transport.py). ``met`` and ``trust`` are for any thread.

    RuntimeError: the system gives no thread to read it.
    """

    def __init__(self, monitor: zmq.Socket[bytes]) -> None:
        self._monitor = monitor
        self._known: dict[tuple[int, int], None] = {}
        """pid and start time"""
        self._news = threading.Condition(threading.Lock())
        self._thread = threading.Thread(target=self._listen, name="banken-peers", daemon=True)
        self._thread.start()

    def close(self, stop: Callable[[], None]) -> None:
        """End the thread; ``stop`` has the monitor say that it is the end."""
        stop()
        self._thread.join(1.0)

    def met(self, who: ProcessIdentity) -> bool:
        """Whether this process has connected, or is trusted. One that has not is waited for a little."""
        if not _able:
            return True
        key = who.pid, who.start
        with self._news:
            return self._news.wait_for(lambda: key in self._known, PATIENCE_S)

    def trust(self, who: ProcessIdentity) -> None:
        """Known otherwise: the supervisor started it itself."""
        self._add(who.pid, who.start)

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
                    self._add(pid, start)
        except zmq.ZMQError:
            return  # the context is closed


def _peer(descriptor: int) -> int:
    """The process that made this connection; 0: it is gone already.

    The descriptor is libzmq's, which may have closed it meanwhile. Then it is no socket, or the number of another
    connection: to name that one's process is no harm.
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
