"""The supervisor's events for asyncio: a thread reads them and passes them on in batches."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from typing import Any

from banken_supervisor.operator_client.event_follower import EventFollower


class AsyncEventFollower:
    """Calls ``on_events`` with each batch, ``on_connected`` when a connection comes or goes, in the event loop."""

    def __init__(
        self,
        address: str,
        on_events: Callable[[list[dict[str, Any]]], None],
        on_connected: Callable[[bool], None],
    ) -> None:
        self._address = address
        self._on_events, self._on_connected = on_events, on_connected
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._wake, self._wake_end = os.pipe()
        self._thread = threading.Thread(target=self._work, name="banken-web-events", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing = True
        os.close(self._wake_end)
        self._thread.join(2)
        os.close(self._wake)

    def _work(self) -> None:
        connected = False
        with EventFollower(self._address) as follower:
            while True:
                events = follower.wait(also=[self._wake])
                if self._closing:
                    return
                if follower.connected != connected:
                    connected = follower.connected
                    self._call(self._on_connected, connected)
                if events:
                    self._call(self._on_events, events)

    def _call(self, what: Callable[[Any], None], argument: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(what, argument)
