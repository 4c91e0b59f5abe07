"""What the service manager hears of this process: sd_notify(3), without libsystemd.

Never blocks: a manager that does not read gets it later. Belongs to one thread.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import MutableMapping

SOCKET, WATCHDOG_PID, WATCHDOG_USEC = "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"

MESSAGES_MAX = 16
"""Messages that wait for a manager that does not read; beyond this the oldest is dropped."""

NEWEST_ONLY = ("WATCHDOG=", "STATUS=")
"""What begins a message that takes the place of an older one of its kind which still waits."""

LATER = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.EINTR, errno.ECONNREFUSED, errno.ENOENT})
"""Errors after which it is tried again: the manager is slow, or is being replaced."""


class ServiceManager:
    """``address``: as NOTIFY_SOCKET has it, a path or ``@`` and an abstract name. ``watchdog``: seconds within
    which the manager wants to hear WATCHDOG=1; None: it does not. OSError, ValueError: it is no such address.
    """

    def __init__(self, address: str, watchdog: float | None = None) -> None:
        if address[:1] not in ("/", "@") or len(address) < 2:
            raise ValueError(f"{SOCKET} is {address!r}; known are a path, and @NAME of an abstract socket")
        self._address = "\0" + address[1:] if address[0] == "@" else address
        self.watchdog = watchdog
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._waiting: list[str] = []
        self.fault: OSError | None = None
        """why the last message did not go out; None: it did"""

    @classmethod
    def taken_from(cls, environment: MutableMapping[str, str]) -> ServiceManager | None:
        """The manager that started this process; None: none did, or it wants to hear nothing.

        The variables are removed: what this process starts must not speak in its place. OSError, ValueError.
        """
        address = environment.pop(SOCKET, "")
        pid, microseconds = environment.pop(WATCHDOG_PID, ""), environment.pop(WATCHDOG_USEC, "")
        if not address:
            return None
        meant = pid in ("", str(os.getpid()))
        wanted = int(microseconds) if meant and microseconds.isdecimal() else 0
        return cls(address, wanted / 1e6 if 0 < wanted < 2**64 - 1 else None)

    @property
    def waits(self) -> bool:
        """Whether something is left that ``send`` could not send."""
        return bool(self._waiting)

    def say(self, *fields: str) -> None:
        """Send one message of these, NAME=VALUE each, when the manager takes it."""
        message = "\n".join(fields)
        for kind in NEWEST_ONLY:
            if message.startswith(kind):
                self._waiting = [each for each in self._waiting if not each.startswith(kind)]
        self._waiting.append(message)
        del self._waiting[:-MESSAGES_MAX]
        self.send()

    def send(self) -> None:
        """Send what waits, in its order, as far as it is taken."""
        while self._waiting:
            try:
                self._socket.sendto(self._waiting[0].encode("utf-8", "backslashreplace"), self._address)
                self.fault = None
            except OSError as fault:
                self.fault = fault
                if fault.errno in LATER:
                    return
            del self._waiting[0]

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()
