"""What a daemon says of itself as for systemd (sd_notify), and no message of a worker's says.

It comes in by a socket that is the name's own, so nobody's identity is in it. What is a feed, a failure or a
progress value goes to ``Engine.tell`` as a message; this is the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from banken.protocol.incidents import Cause
from banken_supervisor.engine import members
from banken_supervisor.engine.demand import Demand
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.lifecycle import Lifecycle
from banken_supervisor.engine.occurrence import Occurrence
from banken_supervisor.engine.record import Record
from banken_supervisor.engine.states import READY, Trigger
from banken_supervisor.engine.table import Table


@dataclass(eq=False)
class Notified:
    """Times are deadline time, seconds. A name that is not watched is passed over."""

    _table: Table
    _lifecycle: Lifecycle
    get: Callable[[str], Record | None]
    _keeps_incident: Callable[[Record, float], bool]

    def ready(self, name: str, now: float, out: list[Effect]) -> None:
        """It says that it is up: its grace is over, and its timeout runs, if it was given one. Where nobody gave
        one, that is no feed: a daemon that never feeds is not to be judged by the default."""
        record = self.get(name)
        if record is None:
            return
        if record.is_ending:  # it has thought better of it
            record.detailed().demand = None
        self._table.await_feeds(record)
        self._table.end_extension(record)
        members.extend(record, None)
        if not self._keeps_incident(record, now):
            self._lifecycle.apply(record, Occurrence(Trigger.FEED, how=READY), now, out)

    def begun(self, name: str, ready_within: float | None, now: float) -> None:
        """A new process of its program runs, which is to be ready within so many seconds; None: nobody waits for
        that."""
        record = self.get(name)
        if record is None:
            return
        if record.details is not None:
            record.details.status = record.details.demand = None
            if (incident := record.details.open_incident) is not None:
                incident.death = None  # it is another process's
        if ready_within is not None:
            reason = f"it did not become ready within {ready_within:g} s"
            self._demand(record, Demand(now + ready_within, Cause.GRACE, reason))

    def met(self, name: str, now: float, out: list[Effect]) -> None:
        """Its program is ready."""
        record = self.get(name)
        if record is not None and record.details is not None:
            record.details.demand = None
            self.ready(name, now, out)
            self._table.arm(record)

    def stopping(self, name: str, within: float, now: float) -> None:
        """It says that it ends. Its silence is no matter any more, and its end no incident; that it does not end
        within so many seconds is."""
        record = self.get(name)
        if record is not None and record.is_judged:
            reason = f"it said STOPPING=1, and has not ended within {within:g} s"
            self._demand(record, Demand(now + within, Cause.FAILED, reason, alone=True))

    def _demand(self, record: Record, demand: Demand) -> None:
        self._table.forget_frames(record)
        record.detailed().demand = demand
        self._table.arm(record)

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
        members.extend(record, now + seconds, shortens=False)
        self._table.mark_changed(record)
        out.append(Event(EventType.EXTENDED, name, {"seconds": seconds}))
