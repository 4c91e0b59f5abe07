"""The three sockets of one address, polled together."""

from __future__ import annotations

import os
from time import monotonic, sleep
from typing import Any, NamedTuple

import zmq

from banken.address import Address
from banken.threads import NO_THREAD, ZMQ_THREADS, available
from banken_supervisor.sources.zmq_control import ControlSocket
from banken_supervisor.sources.zmq_events import EventSocket
from banken_supervisor.sources.zmq_feeds import FeedSource

REST_MIN = 0.00005
"""Seconds below which no sleep is worth its own cost."""

_POLLIN = int(zmq.POLLIN)


class Ready(NamedTuple):
    """What has something to read."""

    feeds: bool
    control: bool
    subscriptions: bool
    mailbox: bool
    others: bool
    """any descriptor given to ``watch``"""


NOTHING = Ready(False, False, False, False, False)
FEEDS = Ready(True, False, False, False, False)
EVERYTHING = Ready(True, True, True, True, True)
"""Taken for true where waiting failed: everything is tried, and nothing waits for it."""


class Sockets:
    """Binds ``address`` (a directory that is already locked) at construction.

    RuntimeError: the system gives no threads.
    """

    def __init__(self, address: Address, mailbox: int) -> None:
        if not available(ZMQ_THREADS):
            raise RuntimeError(f"the sockets need threads: {NO_THREAD}")
        # One I/O thread: the barrier proves that everything sent before it has been read only if both take the
        # same thread (engine/barrier.py).
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        before = os.umask(0o077)  # the sockets' own mode follows it
        try:
            self.feeds = FeedSource(self._context, address.feed)
            self.control = ControlSocket(self._context, address.control)
            self.events = EventSocket(self._context, address.events)
        except BaseException:
            self._context.destroy(0)
            raise
        finally:
            os.umask(before)
        self._mailbox = mailbox
        rest: list[tuple[Any, int]] = [
            (self.control.socket, _POLLIN), (self.events.socket, _POLLIN), (mailbox, _POLLIN)
        ]  # fmt: skip
        self._polled = {True: [(self.feeds.socket, _POLLIN), *rest], False: list(rest)}
        self._others: list[int] = []

    def watch(self, descriptor: int) -> None:
        """Wake up for this one too, when it can be read."""
        self._others.append(descriptor)
        for polled in self._polled.values():
            if (descriptor, _POLLIN) not in polled:
                polled.append((descriptor, _POLLIN))

    def wait(self, seconds: float, feeds: bool = True) -> Ready:
        """Sleep until something can be read, at most ``seconds``; without ``feeds``, feeds do not wake it.

        ZeroMQ waits whole milliseconds. The rest of the last one is slept through, so that a deadline in it is not
        met late by half a millisecond on average; what arrives meanwhile waits as long at the most.
        """
        polled = self._polled[feeds]
        whole = int(seconds * 1000)
        end = monotonic() + seconds
        found: list[tuple[Any, int]] = zmq.zmq_poll(polled, whole)
        if not found and (rest := end - monotonic()) > REST_MIN:
            sleep(rest)
            found = zmq.zmq_poll(polled, 0)
        if not found:
            return NOTHING if feeds else FEEDS
        if len(found) == 1 and found[0][0] is self.feeds.socket:
            return FEEDS
        ready = dict(found)
        return Ready(
            not feeds or self.feeds.socket in ready,
            self.control.socket in ready,
            self.events.socket in ready,
            self._mailbox in ready,
            any(each in ready for each in self._others),
        )

    def close(self) -> None:
        """Unbind everything."""
        for each in (self.feeds, self.control, self.events):
            each.close()
        self._context.term()
