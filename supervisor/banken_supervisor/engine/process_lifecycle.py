"""What becomes of the processes behind watchdogs: they end, new ones come, programs are taken down or given up.

A process that ended by itself is an incident; one that was taken down on purpose is not, and what such a process
still had to say is out of date.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from banken.protocol.incidents import Cause
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.lifecycle import Lifecycle, Occurrence
from banken_supervisor.engine.record import Record
from banken_supervisor.engine.snapshot import RETURN_S
from banken_supervisor.engine.states import State, Trigger
from banken_supervisor.engine.table import Table

GONE = "ended while no supervisor ran; how is not known"
"""Reason for a process that is found to be gone. It may have ended well: nothing was there to notice."""


@dataclass(eq=False)
class ProcessLifecycle:
    """Applies what the process watcher and the programs report: a process has ended, or a new one has started."""

    _table: Table
    _lifecycle: Lifecycle
    is_stopping: Callable[[str], bool] = lambda name: False
    """whether a name is a program that is being taken down: however long that takes, its silence is no incident"""

    def exited(self, process: ProcessIdentity, now: float, out: list[Effect]) -> None:
        """A process has ended. What it owns and did not release is judged as soon as all that it sent is read."""
        for record in self._table.take_owned(process):
            if record.is_judged:
                if self.is_stopping(record.name):
                    self.take_down(record.name, now, out)
                else:
                    self._ended(record, None, now)
            elif record.incident is not None:
                data = {"incident": record.incident.id, "pid": process.pid}
                out.append(Event(EventType.EXITED, record.name, data))

    def gone(
        self, process: ProcessIdentity, now: float, is_program: Callable[[str], bool] = lambda name: False
    ) -> None:
        """A process that was brought back as the owner of watchdogs had ended before this supervisor started. It is
        judged when another one has had the time to take its place. What became of a program is said by
        ``program_ended``."""
        for record in self._table.take_owned(process):
            if record.is_judged and not is_program(record.name):
                self._ended(record, GONE, now + RETURN_S)

    def program_ended(self, name: str, how: str, now: float) -> None:
        """The program behind this name has ended, and nobody had asked it to."""
        record = self._table.by_name.get(name)
        if record is not None and record.is_judged:
            self._ended(record, how, now)

    def take_down(self, name: str, now: float, out: list[Effect]) -> None:
        """The program behind this name was taken down, and will come up again by itself (``restarted``).

        An open incident stays open until then.
        """
        record = self._table.by_name.get(name)
        if record is not None:
            self._disown(record)
            if record.is_judged:
                self._lifecycle.apply(record, Occurrence(Trigger.TAKE_DOWN), now, out)

    def restarted(self, name: str, now: float, out: list[Effect]) -> None:
        """A new process of the program behind this name has started."""
        record = self._table.by_name.get(name)
        if record is not None:
            self._disown(record)
            self.reborn(record, now, out)

    def reborn(self, record: Record, now: float, out: list[Effect]) -> None:
        """A new process has the name: its start-up has a grace of its own."""
        if record.details is not None:
            record.details.progress_at = None  # the former process's progress is no measure for this one
        self._lifecycle.apply(record, Occurrence(Trigger.REBORN), now, out)

    def abandon(self, name: str, why: str, now: float, out: list[Effect]) -> None:
        """The program behind this name is not started again by itself: its incident, which is opened if there is
        none, is given up."""
        record = self._table.by_name.get(name)
        if record is not None and record.is_judged:
            cause = Cause.EXITED if record.exited else Cause.FAILED
            how = None if record.details is None else record.details.exited_how
            reason = how or why if record.exited else why
            self._lifecycle.apply(record, Occurrence(Trigger.DEADLINE, cause=cause, reason=reason), now, out)
        if record is not None and record.state is State.EXPIRED:
            self._lifecycle.apply(record, Occurrence(Trigger.GIVE_UP), now, out)

    def _disown(self, record: Record) -> None:
        """Its process is gone: a message of it that arrives late is not its successor's."""
        self._table.forget_frames(record)
        if record.feed_times is not None:
            record.feed_times.clear()
        if record.owner is not None:
            self._table.set_owner(record, None, [])

    def _ended(self, record: Record, how: str | None, at: float) -> None:
        self._table.forget_frames(record)
        details = record.detailed()
        details.exited_at, details.exited_how = at, how
        self._table.arm(record)
