"""The events of one supervisor, and whether a connection to one exists."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import zmq

from banken.control import Events

BATCH_MAX = 1_000
"""Events returned at once."""


class EventFollower:
    """The events of one supervisor, and whether it is connected. A context manager; belongs to one thread.

    ``names``: only these watchdogs' events; None: all, the supervisor's own included.
    """

    def __init__(self, address: str, names: list[str] | None = None) -> None:
        self.events = Events(address, names)
        self.connected = False
        # The monitor starts before the connection: a connection that is made at once would otherwise be missed.
        socket = self.events.socket
        socket.disconnect(self.events.address.events)
        self._monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        socket.connect(self.events.address.events)

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
            what, _ = struct.unpack("=HI", self._monitor.recv_multipart()[0])
            self.connected = what == zmq.EVENT_HANDSHAKE_SUCCEEDED
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
