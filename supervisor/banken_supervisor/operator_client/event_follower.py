"""The events of one supervisor, and whether a connection to one exists."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterable
from typing import Any

import zmq

from banken.control import Events

BATCH_MAX = 1_000
"""Events returned at once."""

END_S = 2.0
"""Seconds that ``EventThread.close`` waits for the thread."""


def missed(last: int | None, number: int) -> str:
    """What to say of a gap in the numbers of events; empty: there is none. ``last``: the number before, if any."""
    if last is None or number == last + 1:
        return ""
    if number <= last:
        return "another supervisor runs now; its events are numbered anew"
    return f"{number - last - 1} events were missed (numbers {last + 1} to {number - 1})"


class EventFollower:
    """The events of one supervisor, and whether it is connected. A context manager; belongs to one thread.

    ``names``: only these watchdogs' events; None: all, the supervisor's own included.
    """

    def __init__(self, address: str, names: list[str] | None = None) -> None:
        self.events = Events(address, names)
        self._open: set[bytes] = set()
        """where it is connected"""
        # The monitor starts before the connection: a connection that is made at once would otherwise be missed.
        self.events.disconnect()
        what = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        self._monitor = self.events.socket.get_monitor_socket(what)
        self.events.connect()

    @property
    def connected(self) -> bool:
        """Whether it is connected, to one at least of several supervisors."""
        return bool(self._open)

    def wait(self, seconds: float | None = None, also: Iterable[int] = ()) -> list[dict[str, Any]]:
        """Wait for events or one change of ``connected``, at most ``seconds`` (None: without a limit).

        Returns the events, oldest first; an empty list after a change or the time limit. File descriptors in
        ``also`` end the wait when they are readable.
        """
        poller = zmq.Poller()
        for each in (self.events.socket, self._monitor, *also):
            poller.register(each, zmq.POLLIN)
        ready = dict(poller.poll(None if seconds is None else int(seconds * 1000)))
        if self._monitor in ready:
            said, endpoint = self._monitor.recv_multipart()
            what, _ = struct.unpack("=HI", said)
            (self._open.add if what == zmq.EVENT_HANDSHAKE_SUCCEEDED else self._open.discard)(endpoint)
        found: list[dict[str, Any]] = []
        if self.events.socket in ready:
            while len(found) < BATCH_MAX and (event := self.events.next(0)) is not None:
                found.append(event)
        return found

    def __enter__(self) -> EventFollower:
        return self

    def __exit__(self, *exception: object) -> None:
        self.events.socket.disable_monitor()
        self._monitor.close(0)
        self.events.close()


class EventThread(threading.Thread):
    """Follows the events of one supervisor until ``close``.

    Calls, on this thread, ``on_events`` with each batch and ``on_connected`` when a connection comes or goes.
    """

    def __init__(
        self, address: str, on_events: Callable[[list[dict[str, Any]]], None], on_connected: Callable[[bool], None]
    ) -> None:
        super().__init__(name="banken-events", daemon=True)
        self._address, self._on_events, self._on_connected = address, on_events, on_connected
        self._closing = False
        self._wake, self._wake_end = os.pipe()

    def close(self) -> None:
        """End it."""
        self._closing = True
        os.close(self._wake_end)
        self.join(END_S)
        os.close(self._wake)

    def run(self) -> None:
        connected = False
        with EventFollower(self._address) as follower:
            while True:
                events = follower.wait(also=[self._wake])
                if self._closing:
                    return
                if follower.connected and not connected:
                    self._on_connected(True)
                if events:
                    self._on_events(events)
                if connected and not follower.connected:
                    self._on_connected(False)
                connected = follower.connected
