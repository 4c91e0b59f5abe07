"""What a daemon says of itself as for systemd (sd_notify), and no message of a worker's says.

It comes in by a socket that is the name's own, so nobody's identity is in it. What is a feed, a failure or a
progress value goes to ``Engine.tell`` as a message; this is the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.lifecycle import Lifecycle
from banken_supervisor.engine.occurrence import Occurrence
from banken_supervisor.engine.record import Record
from banken_supervisor.engine.states import State, Trigger
from banken_supervisor.engine.table import Table


@dataclass(eq=False)
class Notified:
    """Times are deadline time, seconds. A name that is not watched is passed over."""

    _table: Table
    _lifecycle: Lifecycle
    get: Callable[[str], Record | None]

    def ready(self, name: str, now: float, out: list[Effect]) -> None:
        """It says that it is up: its grace is over, and its timeout runs, if it was given one. Where nobody gave
        one, that is no feed: a daemon that never feeds is not to be judged by the default."""
        record = self.get(name)
        if record is None:
            return
        self._table.await_feeds(record)
        self._table.end_extension(record)
        if record.state is State.PAUSED:
            record.fed_at = max(record.fed_at, now)
            return
        self._lifecycle.apply(record, Occurrence(Trigger.FEED), now, out)

    def status(self, name: str, text: str) -> None:
        """What it says that it does. That is no feed."""
        record = self.get(name)
        if record is not None:
            record.detailed().status = text

    def extend(self, name: str, seconds: float, now: float, out: list[Effect]) -> None:
        """It is due no earlier than so many seconds from now, and no earlier than it was."""
        record = self.get(name)
        if record is None or not record.is_judged:
            return
        self._table.forget_frames(record)  # the next feed must be looked at: it ends the extension
        details = record.detailed()
        until = now + seconds
        details.extended_until = until if details.extended_until is None else max(details.extended_until, until)
        self._table.mark_changed(record)
        out.append(Event(EventType.EXTENDED, name, {"seconds": seconds}))
