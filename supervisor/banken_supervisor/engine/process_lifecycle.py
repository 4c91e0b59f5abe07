"""What becomes of the processes behind watchdogs: they end, new ones come, programs are taken down or given up.

A process that ended by itself is an incident; one that was taken down on purpose is not, and what such a process
still had to say is out of date.
"""

from __future__ import annotations

from collections.abc import Callable

from banken.protocol.incidents import Cause
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.engine import ownership
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.lifecycle import Lifecycle, Occurrence, is_judged
from banken_supervisor.engine.record import Record
from banken_supervisor.engine.states import State, Trigger
from banken_supervisor.engine.table import Table


class ProcessLifecycle:
    """Applies what the process watcher and the programs report: a process has ended, or a new one has started."""

    def __init__(self, table: Table, lifecycle: Lifecycle) -> None:
        self.is_stopping: Callable[[str], bool] = lambda name: False
        """whether a name is a program that is being taken down: however long that takes, its silence is no
        incident"""
        self._table = table
        self._lifecycle = lifecycle

    def exited(self, process: ProcessIdentity, now: float, out: list[Effect]) -> None:
        """A process has ended. What it owns and did not release is judged as soon as all that it sent is read."""
        for record in self._table.take_owned(process):
            if is_judged(record):
                if self.is_stopping(record.name):
                    self.take_down(record, now, out)
                else:
                    self._ended(record, None, now, now)
            elif record.incident is not None:
                data = {"incident": record.incident.id, "pid": process.pid}
                out.append(Event(EventType.EXITED, record.name, data))

    def gone(self, process: ProcessIdentity, how: str, due: float, but: Callable[[str], bool]) -> None:
        """A process that a former supervisor knew had ended before this one started: judged at ``due``, when
        another one has had the time to take its place. ``but``: names that are left out."""
        for record in self._table.take_owned(process):
            if is_judged(record) and not but(record.name):
                self._ended(record, how, due, due)

    def program_ended(self, record: Record, how: str, now: float) -> None:
        """The program behind this watchdog has ended, and nobody had asked it to."""
        if is_judged(record):
            self._ended(record, how, now, now)

    def take_down(self, record: Record, now: float, out: list[Effect]) -> None:
        """The program behind this watchdog was taken down, and will come up again by itself (``reborn``).

        An open incident stays open until then.
        """
        self.disown(record)
        if is_judged(record):
            self._lifecycle.apply(record, Occurrence(Trigger.TAKE_DOWN), now, out)

    def reborn(self, record: Record, now: float, out: list[Effect]) -> None:
        """A new process has the name: its start-up has a grace of its own."""
        if record.details is not None:
            record.details.progress_at = None  # the former process's progress is no measure for this one
        self._lifecycle.apply(record, Occurrence(Trigger.REBORN), now, out)

    def abandon(self, record: Record, why: str, now: float, out: list[Effect]) -> None:
        """The program behind this watchdog is not started again by itself: its incident, which is opened if there
        is none, is given up."""
        if is_judged(record):
            cause = Cause.EXITED if record.exited else Cause.FAILED
            how = None if record.details is None else record.details.exited_how
            reason = how or why if record.exited else why
            self._lifecycle.apply(record, Occurrence(Trigger.DEADLINE, cause=cause, reason=reason), now, out)
        if record.state is State.EXPIRED:
            self._lifecycle.apply(record, Occurrence(Trigger.GIVE_UP), now, out)

    def disown(self, record: Record) -> None:
        """Its process is gone: a message of it that arrives late is not its successor's."""
        self._table.forget_frames(record)
        if record.feed_times is not None:
            record.feed_times.clear()
        if record.owner is not None:
            ownership.displace(record, record.owner)
            self._table.set_owner(record, None, [])
            self._table.mark_changed(record)

    def _ended(self, record: Record, how: str | None, at: float, now: float) -> None:
        self._table.forget_frames(record)
        details = record.detailed()
        details.exited_at, details.exited_how = at, how
        self._table.arm(record)
