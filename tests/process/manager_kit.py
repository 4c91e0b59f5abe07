"""A service manager's socket, as systemd has it, and what came there."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from types import TracebackType

from process.kit import START_S

Said = dict[str, str]


class Manager:
    """``address``: a path, or @ and an abstract name."""

    def __init__(self, address: str, watchdog: float | None = None) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self.watchdog = watchdog
        self.heard: list[tuple[float, int, Said]] = []
        """when each came, monotonic; of which process; its fields"""

    @property
    def under(self) -> tuple[str, ...]:
        """What starts a command as a manager does: with these variables."""
        more = [] if self.watchdog is None else [f"WATCHDOG_USEC={int(self.watchdog * 1e6)}"]
        return ("env", f"NOTIFY_SOCKET={self.address}", *more)

    def hear(self, seconds: float) -> bool:
        """Take the next message within so many seconds; whether one came."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return False
        data, ancillary, _, _ = self.socket.recvmsg(65536, 1024)
        pids = [struct.unpack("3i", each)[0] for _, kind, each in ancillary if kind == socket.SCM_CREDENTIALS]
        fields = dict(part.partition("=")[::2] for part in data.decode().splitlines())
        self.heard.append((time.monotonic(), pids[0], fields))
        return True

    def until(self, field: str, within: float = START_S, after: float = 0.0) -> tuple[float, Said]:
        """The first message with this field that came after a time: when, and all its fields."""
        deadline = time.monotonic() + within
        while True:
            for at, _, fields in self.heard:
                if field in fields and at > after:
                    return at, fields
            left = deadline - time.monotonic()
            assert self.hear(max(0.0, left)), f"no {field} within {within} s; heard {self.heard}"

    def listen(self, seconds: float) -> list[Said]:
        """All that comes within so many seconds."""
        before, deadline = len(self.heard), time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.hear(left)
        return [fields for _, _, fields in self.heard[before:]]

    def drain(self) -> None:
        """Take what has come."""
        while self.hear(0.0):
            pass

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: object, trace: TracebackType | None) -> None:
        self.socket.close()
        if self.address[0] != "@":
            os.unlink(self.address)
