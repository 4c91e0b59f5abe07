"""Maintenance windows: watchdogs are paused while a window that concerns them is open.

The clock on the wall is the shell's: it says which windows are open, and for how long yet. Here the watchdogs that
a window concerns are paused until its end, in deadline time, so that the end needs no message. What the operator
says meanwhile stands: a watchdog that is resumed stays so until the next window opens; one that was paused for
longer stays paused. A watchdog that is declared while a window is open is paused from the beginning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from banken_supervisor.engine.effects import Effect
from banken_supervisor.engine.lifecycle import MAINTENANCE, Lifecycle
from banken_supervisor.engine.occurrence import Occurrence
from banken_supervisor.engine.policy import Policy, Window
from banken_supervisor.engine.record import Record
from banken_supervisor.engine.states import State, Trigger
from banken_supervisor.engine.table import Table

LEFT_S = 1.0
"""With less left, a window whose pauses are over by deadline time is the same one still, and not open again."""

PORTION = 1000
"""Watchdogs that are paused or resumed in one turn of the loop."""


@dataclass(eq=False)
class Maintenance:
    """``open_windows`` says which windows are open; ``go_on`` then carries that out in portions."""

    _table: Table
    _lifecycle: Lifecycle
    _open: dict[Window, float] = field(default_factory=dict)
    """until when, deadline time"""
    _waiting: deque[tuple[Record, bool]] = field(default_factory=deque)
    """watchdogs to look at, and whether a window has just opened for each"""

    def open_windows(self, left: Mapping[Window, float], now: float) -> None:
        """These windows are open, each for so many seconds yet."""
        # One that begins again as it ends, or whose end the clock moved then, is told of when that has come.
        fresh = left.keys() - self._open.keys()
        fresh |= {window for window, until in self._open.items() if until <= now and left.get(window, 0.0) > LEFT_S}
        self._open = {window: now + seconds for window, seconds in left.items()}
        for record in self._table:
            windows = () if record.policy is None else record.policy.maintenance
            if windows or (record.details is not None and record.details.maintained):
                self._waiting.append((record, not fresh.isdisjoint(windows)))

    def go_on(self, now: float, out: list[Effect], limit: int = PORTION) -> bool:
        """Carry out the next portion. True: some are left."""
        for _ in range(min(limit, len(self._waiting))):
            record, opened = self._waiting.popleft()
            if self._table.by_name.get(record.name) is record:
                self._apply(record, now, out, opened=opened)
        return bool(self._waiting)

    def apply_to_new(self, record: Record, now: float, out: list[Effect]) -> None:
        """It has been declared just now."""
        if self._open and record.policy is not None and record.policy.maintenance:
            self._apply(record, now, out, opened=True)

    def follow_policy(self, record: Record, before: Policy | None) -> None:
        """The operator's policy has changed: to be looked at with the next portion."""
        old: Iterable[Window] = () if before is None else before.maintenance
        new = () if record.policy is None else record.policy.maintenance
        if old != new:
            self._waiting.append((record, bool(self._open.keys() & set(new) - set(old))))

    def _apply(self, record: Record, now: float, out: list[Effect], *, opened: bool) -> None:
        windows = () if record.policy is None else record.policy.maintenance
        until = max((self._open.get(window, now) for window in windows), default=now)
        details = record.detailed()
        if details.maintained:
            if until > now:
                if details.paused_until != until:
                    details.paused_until = until
                    self._table.mark_changed(record)
                self._table.arm(record)
            elif record.state is State.PAUSED and details.allowed.until > now:
                details.paused_until = min(details.paused_until, now)  # feeds have to come first
                self._table.arm(record)
            elif record.state is State.PAUSED:
                self._lifecycle.apply(record, Occurrence(Trigger.RESUME), now, out)
        elif opened and until > now:
            if record.state is State.PAUSED:
                details.paused_until = max(details.paused_until, until)
                self._table.mark_changed(record)
            else:
                pause = Occurrence(Trigger.PAUSE, until=until, seconds=until - now, by=MAINTENANCE)
                self._lifecycle.apply(record, pause, now, out)
