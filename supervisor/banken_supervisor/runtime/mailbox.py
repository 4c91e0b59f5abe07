"""What other threads say to the loop: a queue with a file descriptor that the loop polls.

Two kinds of things wait in it. Messages are kept whatever happens: most answer something that the loop asked for,
and are bounded by that. Only what users say in this process (``say``) could be without end: with ``SAID_MAX``
messages waiting it is refused, and the caller is told. Feeds of this process's watchdogs are one dict: of the same
feed, or of two that tell of the same things, only the newer one waits. Feeds and messages keep their order.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

SAID_MAX = 100_000
"""Messages that may wait before what users say is refused."""

FEEDS_MAX = 200_000
"""Different feeds that may wait; others are dropped, which the client counts as dropped."""

COMPLAIN_S = 10.0
"""Seconds between two lines of the log that tell of what was refused."""


@dataclass(frozen=True, slots=True)
class Feeds:
    """Message: feeds of watchdogs that live in the supervisor's own process."""

    frames: list[bytes]


class Mailbox:
    """Many threads post, one takes. Everything but ``take`` and ``close`` is safe in a signal handler."""

    def __init__(self) -> None:
        self.refused = 0
        """feeds and messages that found no room"""
        self._messages: deque[Any] = deque()
        """messages, and dicts of feeds by their key"""
        self._feeds: dict[Hashable, bytes] = {}
        """the newest; once it is not empty, it is in the queue"""
        self._lock = threading.RLock()  # re-entrant: a signal handler may interrupt whoever holds it
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._signalled = False
        self._complained = 0
        self._complain_at = 0.0

    def fileno(self) -> int:
        """Readable while there may be messages."""
        return self._reader.fileno()

    def post(self, message: Any) -> None:
        """Leave a message and wake the loop."""
        with self._lock:
            self._messages.append(message)
            self._feeds = {}  # what is fed from now on comes after this message
        self._ring()

    def say(self, message: Any) -> bool:
        """``post``, if there is room."""
        with self._lock:
            if len(self._messages) >= SAID_MAX:
                self.refused += 1
                return False
        self.post(message)
        return True

    def feed(self, frame: bytes, key: Hashable = None) -> bool:
        """Leave a feed and wake the loop; False: there is no room, and it is dropped.

        ``key``: of two with the same one only the newer is kept; None: the frame itself.
        """
        if key is None:
            key = frame
            # Without the lock: if it waits in what is being taken this moment, it is still stamped later than now.
            if key in self._feeds:
                return True
        with self._lock:
            feeds = self._feeds
            if len(feeds) >= FEEDS_MAX:
                self.refused += 1
                return False
            if not feeds:
                self._messages.append(feeds)
            feeds.pop(key, None)  # the newer one comes after what was fed in between
            feeds[key] = frame
        self._ring()
        return True

    def take(self) -> list[Any]:
        """All messages, oldest first; between them ``Feeds``."""
        # First the bell is emptied, then the flag lowered: whoever posts after that rings again, and the message of
        # whoever posted before is there. The other way round the ring of one who comes between would be swallowed,
        # its flag would stay up, and nobody would ring any more.
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)
        self._signalled = False
        with self._lock:
            # Replaced, not emptied: a signal handler may post between any two steps here.
            messages, self._messages = self._messages, deque()
            self._feeds = {}
        return [Feeds(list(each.values())) if type(each) is dict else each for each in messages]

    def complaint(self, now: float) -> str | None:
        """A line for the log if something was refused since the last one. ``now``: monotonic seconds."""
        new = self.refused - self._complained
        if not new or now < self._complain_at:
            return None
        self._complained, self._complain_at = self.refused, now + COMPLAIN_S
        return f"{new} messages of this process's own watchdogs found no room: they come faster than they are read"

    def close(self) -> None:
        """Give the descriptors back."""
        self._reader.close()
        self._writer.close()

    def _ring(self) -> None:
        if not self._signalled:
            self._signalled = True
            with contextlib.suppress(OSError):  # full: it is readable already; closed: nobody is left to wake
                self._writer.send(b"!")
