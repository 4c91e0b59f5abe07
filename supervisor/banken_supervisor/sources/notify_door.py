"""One socket of sd_notify, or one pipe: what waits there for the loop, and how much of it may."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from banken_supervisor.processes import descriptor_limit
from banken_supervisor.sources.notify_datagram import Datagram, fitting
from banken_supervisor.sources.notify_fields import Said

RATE, RATE_MIN, BURST = 5_000, 500, 1_000
"""Datagrams of one socket that are read in a second: where several send more than they may, they share the one, but
each has the other; and at once."""

DESCRIPTORS_MAX, DESCRIPTORS_SHARE = 8, 16
"""Descriptors that wait for the loop with the datagrams of one socket, and those of all: a sixteenth of the limit.
Beyond that a socket is not read. One that has none here is read, so that a program waits for itself alone."""

LINE_MAX = 4096
"""Bytes that are read from a pipe at once in search of the end of a line."""


@dataclass(eq=False)
class Door:
    name: str
    path: str
    socket: socket.socket
    queue: deque[Datagram] = field(default_factory=deque)
    tokens: float = BURST
    at: float = 0.0
    """monotonic time of the tokens"""
    rests: bool = False
    """it is not read for a moment"""
    behind: bool = False
    """the kernel may have more of it"""
    descriptors: int = 0
    """that wait with its datagrams"""

    def earn(self, now: float, resting: int) -> float:
        """Datagrams of it that may be read now. ``resting``: how many rest."""
        self.tokens = min(BURST, self.tokens + (now - self.at) * max(RATE_MIN, RATE / max(1, resting)))
        self.at = now
        return self.tokens


@dataclass(eq=False)
class Pipe:
    """To which a program writes a line when it is ready."""

    name: str
    end: int
    """-1: it is closed"""
    line: Datagram | None = None
    """has come, and waits for the loop"""

    def read(self) -> bool:
        """Read a portion. Whether no more is to be read: a line has come, or the writer has closed it."""
        try:
            data = os.read(self.end, LINE_MAX)
        except BlockingIOError:
            return False
        if b"\n" in data:
            self.line = Datagram(self.name, Said(ready=True), monotonic(), len(data), 0, 0, True)
        return b"\n" in data or not data


class WaitingDescriptors:
    """Those that came with datagrams of all doors, and wait for the loop. Whoever calls holds the doors' lock."""

    def __init__(self) -> None:
        self._count = 0

    def leave_room(self, door: Door) -> bool:
        """Whether a datagram of this door may be read, with which more may come."""
        share = descriptor_limit.limit() // DESCRIPTORS_SHARE
        return not door.descriptors or (door.descriptors < DESCRIPTORS_MAX and self._count < share)

    def add(self, door: Door, datagram: Datagram) -> None:
        """Those of this datagram wait now."""
        door.descriptors += datagram.descriptors
        self._count += datagram.descriptors

    def close(self, door: Door, datagram: Datagram) -> None:
        """Close those of this datagram."""
        door.descriptors -= datagram.descriptors
        self._count -= datagram.descriptors
        datagram.close()


def make_pipe() -> tuple[int, int]:
    """The end that is read here, and a program's end. That is open for reading, too, so that one that writes after
    the supervisor has ended does not die of that. OSError."""
    ours, its = os.pipe()
    try:
        os.set_blocking(ours, False)
        return ours, os.open(f"/proc/self/fd/{its}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        os.close(ours)
        raise
    finally:
        os.close(its)


class Awaited:
    """Sockets that could not be bound so far, and are to be. ``open_`` binds one of a name at a path, or raises
    OSError; ``unmade`` is told the path of each, and how to try it again, ``unbound`` that this is over."""

    def __init__(
        self,
        open_: Callable[[str, str], object],
        unmade: Callable[[str, Callable[[], None]], None],
        unbound: Callable[[str], None],
    ) -> None:
        self.paths: dict[str, str] = {}
        """by name"""
        self._open, self._unmade, self._unbound = open_, unmade, unbound

    def open(self, name: str, path: str) -> None:
        """Bind this one. Where that is not possible it is tried again, and this raises OSError all the same."""
        try:
            self._open(name, path)
        except OSError:
            self.drop(name)
            path = self.paths[name] = fitting(path)
            self._unmade(path, lambda: self._try(name, path))
            raise

    def drop(self, name: str) -> None:
        """It is bound, or is not to be any more."""
        path = self.paths.pop(name, None)
        if path is not None:
            self._unbound(path)

    def _try(self, name: str, path: str) -> None:
        if self.paths.get(name) == path:
            self._open(name, path)
