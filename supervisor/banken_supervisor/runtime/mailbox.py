"""The mailbox: messages from other threads to the loop, with a file descriptor that the loop polls.

It holds messages and feeds, and keeps their order. A message that is a function is called on the loop's thread.
``post`` never refuses a message: most are results of work that
the loop has started, so their number is limited. User code in this process could send without end: ``try_post``
refuses when ``MESSAGES_MAX`` messages wait. Feeds of this process's watchdogs wait in a dict: a newer feed with the
same key replaces the older one.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from banken.protocol.messages import Declaration
from banken_supervisor.actions.target import ActionReport
from banken_supervisor.engine.policy import Policy

MESSAGES_MAX = 100_000
"""Messages that may wait before ``try_post`` refuses."""

FEEDS_MAX = 200_000
"""Different feeds that may wait; further ones are dropped, and the client counts them."""

FEEDS_AT_ONCE = 500
"""Feeds in one ``Feeds``: the loop checks its clock between two messages, and some feeds have to be decoded."""

REPORT_EVERY_S = 10.0
"""Seconds between two log lines about refused messages."""


@dataclass(frozen=True, slots=True)
class Feeds:
    """Message: feeds of watchdogs in the supervisor's own process."""

    frames: list[bytes]


@dataclass(frozen=True, slots=True)
class Declare:
    """Message: the operator declares a name."""

    name: str
    policy: Declaration | Policy


@dataclass(frozen=True, slots=True)
class Forget:
    """Message: the operator withdraws the declaration of a name."""

    name: str


@dataclass(frozen=True, slots=True)
class ActionReported:
    """Message: the result of an action; ``evidence``: of a dump, compressed."""

    report: ActionReport
    evidence: bytes | None = None


class Mailbox:
    """Many threads post, one takes. Everything but ``take`` and ``close`` is safe in a signal handler."""

    def __init__(self) -> None:
        self.refused = 0
        """number of feeds and messages refused because the mailbox was full"""
        self._messages: deque[Any] = deque()
        """messages, and dicts of feeds by key"""
        self._feeds: dict[Hashable, bytes] = {}
        """the newest dict of feeds; it is in the queue as soon as it is not empty"""
        self._lock = threading.RLock()  # re-entrant: a signal handler may interrupt the thread that holds it
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._signalled = False
        self._reported = 0
        self._report_at = 0.0

    def fileno(self) -> int:
        """Readable while there may be messages."""
        return self._reader.fileno()

    def post(self, message: Any) -> None:
        """Add a message and wake the loop."""
        with self._lock:
            self._messages.append(message)
            self._feeds = {}  # later feeds come after this message
        self._wake()

    def try_post(self, message: Any) -> bool:
        """``post`` if there is room; False: the mailbox is full."""
        with self._lock:
            if len(self._messages) >= MESSAGES_MAX:
                self.refused += 1
                return False
        self.post(message)
        return True

    def feed(self, frame: bytes, key: Hashable = None) -> bool:
        """Add a feed and wake the loop; False: the mailbox is full, and the feed is dropped.

        ``key``: a newer feed replaces one with the same key; None: the frame is the key.
        """
        if key is None:
            key = frame
            # No lock is needed: if ``take`` removes it at this moment, it still gets a time later than now.
            if key in self._feeds:
                return True
        with self._lock:
            feeds = self._feeds
            if len(feeds) >= FEEDS_MAX:
                self.refused += 1
                return False
            if not feeds:
                self._messages.append(feeds)
            feeds.pop(key, None)  # the newer one comes after feeds in between
            feeds[key] = frame
        self._wake()
        return True

    def take(self) -> list[Any]:
        """Remove and return all messages, oldest first, with ``Feeds`` among them."""
        # First drain the socket, then reset the flag: a later post writes again, and the message of an earlier post
        # is already queued. In the other order, a write between the two steps would be drained while the flag stays
        # set, and no later post would wake the loop.
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)
        self._signalled = False
        with self._lock:
            # Replaced, not emptied: a signal handler may post between any two steps here.
            messages, self._messages = self._messages, deque()
            self._feeds = {}
        taken: list[Any] = []
        for each in messages:
            if type(each) is dict:
                feeds = list(each.values())
                taken += [Feeds(feeds[at : at + FEEDS_AT_ONCE]) for at in range(0, len(feeds), FEEDS_AT_ONCE)]
            else:
                taken.append(each)
        return taken

    def refusal_report(self, now: float) -> str | None:
        """A log line if messages were refused since the last one, else None. ``now``: monotonic seconds."""
        new = self.refused - self._reported
        if not new or now < self._report_at:
            return None
        self._reported, self._report_at = self.refused, now + REPORT_EVERY_S
        what = "1 message" if new == 1 else f"{new} messages"
        return f"{what} of watchdogs in this process refused: they come faster than the loop reads them"

    def close(self) -> None:
        """Close the descriptors."""
        self._reader.close()
        self._writer.close()

    def _wake(self) -> None:
        if not self._signalled:
            self._signalled = True
            with contextlib.suppress(OSError):  # full: it is readable already; closed: the loop has ended
                self._writer.send(b"!")
