"""Which last feeds are to be written, so that a long deadline outlives the supervisor.

After a restart a watchdog with a timeout up to ``LONG_S`` has its full timeout again. A longer one, restarted more
often than it lasts, would then never be due: of such a watchdog the last feed is kept, and it is due by that.

Not every feed is written: what is kept may be older than the last feed by ``KEEP_EVERY_S``, and a restart allows
for it (``UNSURE_S``). The first feed after a longer silence is written at once, for it moves the deadline by most.
It is known by being decoded: a watchdog that was not fed since it was written is not known by its bytes any more.

Pure; times are deadline time, seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from banken.protocol.limits import SECONDS_MAX
from banken_supervisor.engine.record import Record
from banken_supervisor.engine.states import State
from banken_supervisor.engine.table import Table

LONG_S = 60.0
"""A restart's own allowance: what is longer is due by the wall clock."""

KEEP_EVERY_S = 30.0
"""Seconds between two writings of one watchdog's last feed."""

UNSURE_S = 35.0
"""Seconds by which a last feed may be younger than the one that was kept."""

GRACE_S = 20.0
"""Seconds after a restart in which nothing is judged that was due meanwhile: its worker may want to say so."""

_TURN_S = 1.0
"""Seconds that are gathered, so that ten thousand watchdogs do not wake the loop one by one."""


def is_long(record: Record) -> bool:
    """Whether a present deadline of it outlives a restart."""
    return is_silence_long(record) or (record.declaration.progress_timeout or 0.0) > LONG_S


def is_silence_long(record: Record) -> bool:
    """Whether that for its silence does: what is allowed a long one is not allowed a short one beside it."""
    said = record.declaration
    return LONG_S < (said.grace if record.state is State.WAITING else said.timeout) < SECONDS_MAX


@dataclass(eq=False)
class LastFeeds:
    """``note`` marks a watchdog in ``Table.fed``; the caller writes those and takes them out."""

    _table: Table
    _noted: dict[Record, float] = field(default_factory=dict)
    """when each was marked, the oldest first"""

    def note(self, record: Record, now: float) -> None:
        """It has been fed, or has begun to wait, and the message was looked at."""
        table = self._table
        if table.tracks_changes and record not in self._noted and is_long(record):
            self._noted[record] = now
            table.fed[record.name] = None

    def patience(self, now: float) -> float | None:
        """Seconds until ``turn`` has something to do; None: nothing."""
        for at in self._noted.values():
            return max(0.0, at + KEEP_EVERY_S + _TURN_S - now)
        return None

    def turn(self, now: float) -> None:
        """Have the next feed of those looked at that were marked ``KEEP_EVERY_S`` ago."""
        if self.patience(now) != 0.0:
            return
        for record, at in list(self._noted.items()):
            if at + KEEP_EVERY_S > now:
                break
            del self._noted[record]
            if self._table.by_name.get(record.name) is not record:
                continue
            if record.state is State.ALIVE:
                self._table.forget_frames(record)
            progress_at = None if record.details is None else record.details.progress_at
            if progress_at is not None and progress_at > at:
                self._table.fed[record.name] = None  # its value may stand still from now on
