"""The supervisor's events, for asyncio: a thread reads them and hands them over in batches."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import threading
from collections.abc import Callable
from typing import Any

import zmq

from banken.control import Events

BATCH_MAX = 500
"""Events handed over at once."""


class Follower:
    """Calls, in the event loop, ``heard`` with each batch of events, ``linked`` when a supervisor comes or goes."""

    def __init__(
        self, address: str, heard: Callable[[list[dict[str, Any]]], None], linked: Callable[[bool], None]
    ) -> None:
        self._address = address
        self._heard, self._linked = heard, linked
        self._loop = asyncio.get_running_loop()
        self._ending, self._end = os.pipe()
        self._thread = threading.Thread(target=self._work, name="banken-web-follower", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        os.close(self._end)
        self._thread.join(2)
        os.close(self._ending)

    def _work(self) -> None:
        with Events(self._address) as events:
            # Watched from before the connection on: otherwise one that is made at once would be missed.
            socket = events.socket
            socket.disconnect(events.address.events)
            monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
            socket.connect(events.address.events)
            poller = zmq.Poller()
            for each in (socket, monitor, self._ending):
                poller.register(each, zmq.POLLIN)
            try:
                self._read(events, monitor, poller)
            finally:
                socket.disable_monitor()
                monitor.close(0)

    def _read(self, events: Events, monitor: zmq.Socket[bytes], poller: zmq.Poller) -> None:
        while True:
            ready = dict(poller.poll())
            if self._ending in ready:
                return
            if monitor in ready:
                what, _ = struct.unpack("=HI", monitor.recv_multipart()[0])
                self._call(self._linked, what == zmq.EVENT_HANDSHAKE_SUCCEEDED)
            if events.socket in ready:
                batch: list[dict[str, Any]] = []
                while len(batch) < BATCH_MAX and (event := events.next(0)) is not None:
                    batch.append(event)
                if batch:
                    self._call(self._heard, batch)

    def _call(self, what: Callable[[Any], None], argument: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(what, argument)
