"""Publishes events: counts them, writes them to the journal, then sends them to subscribers and the log."""

from __future__ import annotations

from banken.clock import wall
from banken.control import topic
from banken.protocol.codec import pack
from banken_supervisor.engine.effects import Event
from banken_supervisor.observability.guard import Guard, Place
from banken_supervisor.observability.log_queue import LogQueue
from banken_supervisor.observability.loop_metrics import LoopMetrics
from banken_supervisor.outbox.outbox import Outbox
from banken_supervisor.sources.event_socket import EventSocket
from banken_supervisor.text.event_text import level as level_of
from banken_supervisor.text.event_text import log_line


class Publisher:
    """Belongs to the loop's thread. ``outbox``: None without a journal."""

    def __init__(
        self, socket: EventSocket, log_queue: LogQueue, outbox: Outbox | None, guard: Guard, metrics: LoopMetrics
    ) -> None:
        self.sequence = 0
        """number of the newest event"""
        self._counts = metrics.events
        self._socket = socket
        self._log_queue = log_queue
        self._outbox = outbox
        self._guard = guard

    def publish(self, event: Event) -> None:
        """Send the event to the journal, subscribers and the log. A fault in one does not affect the others."""
        self.sequence += 1
        self._counts[event.type.value] += 1
        level = level_of(event)
        if self._outbox is None and not self._socket.has_subscribers and not self._log_queue.wants(level):
            return
        at = wall()
        body = {"seq": self.sequence, "time": at, "type": event.type.value, **event.data}
        if event.name is not None:
            body["name"] = event.name

        def announce() -> None:
            self._guard.run(Place.ANNOUNCE, lambda: self._socket.publish(topic(event.name), pack(body)))
            self._guard.run(Place.ANNOUNCE, lambda: self._log_queue.line(level, log_line(event), body))

        if self._outbox is None:
            announce()
            return
        try:
            self._outbox.record(event, self.sequence, at, announce)
        except Exception as fault:  # noqa: BLE001  # an event that cannot be written is still published
            self._guard.fault(Place.JOURNAL, fault, event.type.value)
            announce()
