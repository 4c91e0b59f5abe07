"""The kernel's watchdog device: it resets the machine when nobody writes to it in time.

The loop asks for each write, and a thread writes, for some drivers take long: while the loop is held nothing is
written. https://docs.kernel.org/watchdog/watchdog-api.html
At an orderly end the letter V is written before the device is closed ("magic close"), which disarms it.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from banken_supervisor.runtime.asked_thread import AskedThread

FEED_S = 1.0
"""Seconds between two writes while the device does not say its own time."""

FEED_MIN, FEED_MAX = 0.25, 10.0
"""Seconds between two writes: a quarter of the device's time, within these."""

OPEN_AGAIN_S = 2.0
"""Seconds until a device is tried again that cannot be used."""

CLOSE_S = 1.0
"""Seconds that disarming may take."""

GET_TIMEOUT = 0x80045707
"""WDIOC_GETTIMEOUT: an int, seconds."""

FED, DISARM = b"\0", b"V"


class HardwareWatchdog:
    """``report`` is called on the thread, with why the device cannot be used, or with nothing when it can be."""

    def __init__(self, path: str, report: Callable[[str], None]) -> None:
        self.path = path
        self.feeds = 0
        """writes that the device took"""
        self.every = FEED_S
        self._report = report
        self._fd = -1
        self._reported: str | None = None
        self._open_at = self._due = 0.0
        self._thread = AskedThread("banken-hardware_watchdog", self._feed, self._disarm)

    def patience(self, real: float) -> float:
        """Seconds until ``turn`` has something to do. ``real``: monotonic time, seconds."""
        return max(0.0, self._due - real)

    def turn(self, real: float) -> None:
        """The loop has turned."""
        if real >= self._due:
            self._due = real + self.every
            self._thread.ask()

    def close(self) -> None:
        """Disarm it."""
        self._thread.close(CLOSE_S)

    # -- on the thread --------------------------------------------------------------------------------

    def _feed(self) -> None:
        if self._fd < 0 and monotonic() < self._open_at:
            return
        try:
            if self._fd < 0:
                self._open()
            os.write(self._fd, FED)
            self.feeds += 1
        except OSError as fault:
            self._forget()
            self._open_at = monotonic() + OPEN_AGAIN_S
            self._say(fault.strerror or str(fault))
        else:
            self._say("")

    def _say(self, fault: str) -> None:
        if fault != self._reported:
            self._reported = fault
            self._report(fault)

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self.every = FEED_S
        with suppress(OSError):  # it is no such device, or does not say
            (seconds,) = struct.unpack("i", fcntl.ioctl(self._fd, GET_TIMEOUT, struct.pack("i", 0)))
            self.every = max(FEED_MIN, min(FEED_MAX, seconds / 4))

    def _disarm(self) -> None:
        if self._fd >= 0:
            with suppress(OSError):
                os.write(self._fd, DISARM)
            self._forget()

    def _forget(self) -> None:
        if self._fd >= 0:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = -1
