"""Which processes have connected to feed, and what each of them says of itself, by the kernel's word (SO_PEERCRED).

A message names its process itself. That counts if it came over a connection of that process, or of one that the
process started. What another one says of a process that has connected is nobody's word. A process that never
connected may be named by others (by a relay, for instance): its end is noticed, but it is never acted upon.

Linux; elsewhere the kernel cannot be asked, and every message is believed.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from dataclasses import dataclass

from banken.process_identity import process_start
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.processes.namespaces import known_pid, note, pid_here

PEERS_MAX = 100_000
"""Processes that are remembered, the newest: as many as process_watcher.py watches at once."""

NONCES_MAX = 16
"""Random parts that are remembered of one process, the newest: one for each copy of banken that is loaded in it."""

ANCESTORS_MAX = 100
"""Parents of parents that are looked at."""

_PEERCRED = getattr(socket, "SO_PEERCRED", None)
"""None: this system does not say who has connected"""

_CREDENTIALS = struct.Struct("3i")
_able = _PEERCRED is not None and hasattr(os, "pidfd_open")


def who_connected(connected: socket.socket) -> tuple[int, int]:
    """pid and uid of the process at the other end of a Unix socket; (0, 0): the system does not say. OSError."""
    if _PEERCRED is None:
        return 0, 0
    pid, uid, _ = _CREDENTIALS.unpack(connected.getsockopt(socket.SOL_SOCKET, _PEERCRED, _CREDENTIALS.size))
    return pid, uid


@dataclass(slots=True)
class _Peer:
    start: int
    """ticks since boot"""
    nonces: tuple[bytes, ...] = ()
    """random parts of its identity that were proved to be its own"""
    is_met: bool = False
    """whether it has connected, or was started by the supervisor: others may not speak for it"""


class PeerCredentials:
    """From any thread."""

    def __init__(self) -> None:
        self._peers: dict[int, _Peer] = {}
        """by pid, here"""
        self._lock = threading.Lock()

    def is_proved(self, who: ProcessIdentity) -> bool:
        """Whether this process said so itself, or is trusted: it may be acted upon."""
        peer = self._peers.get(known_pid(who))
        return not _able or (peer is not None and peer.start == who.start and who.nonce in peer.nonces)

    def trust(self, who: ProcessIdentity) -> None:
        """It may be acted upon: the supervisor started it, or the one before has met it."""
        self.allow(who)
        self._note(pid_here(who), who.start).is_met = True

    def allow(self, who: ProcessIdentity) -> None:
        """It may be acted upon, whoever names it: it is of the same user as what names it."""
        self._prove(self._note(pid_here(who), who.start), who.nonce)

    def connected(self, pid: int) -> None:
        """This process has connected, and its connection is open."""
        start = process_start(pid)
        if start:
            note(pid)
            self._note(pid, start).is_met = True

    def speaks_for(self, pid: int, who: ProcessIdentity) -> bool:
        """Whether a message that came over a connection of the process ``pid`` may name ``who``; pid 0: unknown."""
        named_pid = known_pid(who) if pid and _able else 0
        named = self._peers.get(named_pid)
        if named is None or named.start != who.start or not (named.is_met or pid == named_pid):
            return True
        if pid != named_pid and not _descends(pid, named_pid):
            return False
        self._prove(named, who.nonce)
        return True

    def _note(self, pid: int, start: int) -> _Peer:
        with self._lock:
            peer = self._peers.pop(pid, None)
            if peer is None or peer.start != start:
                peer = _Peer(start)
            if len(self._peers) >= PEERS_MAX:
                del self._peers[next(iter(self._peers))]
            if pid:  # else it is none of this host
                self._peers[pid] = peer
            return peer

    def _prove(self, peer: _Peer, nonce: bytes) -> None:
        if nonce not in peer.nonces:
            with self._lock:
                peer.nonces = (*peer.nonces, nonce)[-NONCES_MAX:]


def _descends(pid: int, ancestor: int) -> bool:
    """Whether a process was started by the other one, or by one that it started, and so on."""
    for _ in range(ANCESTORS_MAX):
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return False
        if pid in (ancestor, 0):
            return pid == ancestor
    return False
