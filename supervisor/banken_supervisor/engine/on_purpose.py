"""What is taken down on purpose is no incident: a program that is stopped, restarted or removed by request.

That concerns the watchdog of its name, all watchdogs that its processes feed, and what depends on one of those.
They stay known, have no deadline while the program is down, and a grace from the moment when it is up again: what
does not come back then is an incident. An incident that was open before goes on until its own worker is back; where
the program stays down, it is closed.

Which program a process belongs to is the shell's knowledge (``belongs``), asked once a process. A name with the
number of its process in it (``job-4711``, a section) will not come back, and is released with its process.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from banken.protocol.limits import is_section
from banken.protocol.messages import Feeders, ProcessIdentity
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.lifecycle import Lifecycle
from banken_supervisor.engine.members import take_out
from banken_supervisor.engine.occurrence import Occurrence
from banken_supervisor.engine.policy import NEVER
from banken_supervisor.engine.quorum import Quorums
from banken_supervisor.engine.record import ENDED, Record
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.states import State, Trigger
from banken_supervisor.engine.table import Table

STOPPED = "stopped"
"""How an incident ends when its program is stopped by request."""

PID_MIN = 100
"""A lower number in a name may be anything: in a container, ``worker-7`` may well be pid 7."""

LEFT_MIN = 64
"""With fewer names of watchdogs whose process has ended, it is not looked whether they are watched still."""


@dataclass(eq=False)
class OnPurpose:
    """Times are deadline time, seconds."""

    _table: Table
    _rules: Rules
    _lifecycle: Lifecycle
    _quorums: Quorums
    is_stopping: Callable[[str], bool] = lambda name: False
    """whether a name is a program that is being taken down: however long that takes, its silence is no incident"""
    _until: dict[str, float] = field(default_factory=dict)
    """by program that was taken down: inf, or the end of its grace since it is up again"""
    _up_at: dict[str, float] = field(default_factory=dict)
    """by program that was taken down: when it came up again last"""
    _left: dict[str, dict[str, None]] = field(default_factory=dict)
    """by program: names of watchdogs whose process, one of it, has ended, or that wait for it"""
    _left_max: dict[str, int] = field(default_factory=dict)
    """by program: with so many of those, the ones that are not watched any more are dropped"""

    # -- what the shells report ---------------------------------------------------------------------

    def belongs(self, process: ProcessIdentity, program: str) -> None:
        """This process was started by this program, or is it."""
        for record in self._table.assign(process, program):
            self._table.mark_changed(record)

    def down(self) -> list[str]:
        """Programs that were taken down and are not up again."""
        return [program for program, until in self._until.items() if until == inf]

    def program_down(self, program: str, now: float, out: list[Effect], *, again: bool, removed: bool) -> None:
        """It was taken down, with all that it had started. ``again``: it comes up again by itself. ``removed``: the
        operator's config names it no longer."""
        self._until[program] = inf
        own = self._table.by_name.get(program)
        if own is not None and not removed:  # else the name is a group's now, or another worker's
            self.disown(own)
        self._quorums.count_stopped(program, is_stopped=not again and not removed)
        for record in self._concerned(program):
            if removed and self._live_on(record, program, now, out):
                continue
            if removed and self._table.program_of(record.owner) == program:
                self.disown(record)  # the end of its process may be heard of only now
            else:
                self._disown_if_left(record)
            if removed:
                self._abandon(record, now, out)
            elif record.is_judged or (record.is_down and not again):
                self._take_down(record, (program, None), now, out)
            elif record.state is State.PAUSED:
                self.await_program(record, program)
        if removed:
            del self._until[program]
            self._up_at.pop(program, None)
            self._left.pop(program, None)
            self._left_max.pop(program, None)

    def program_up(self, program: str, now: float) -> None:
        """A new process of it has started, or one that ran before is adopted."""
        self._quorums.count_stopped(program, is_stopped=False)
        concerned = self._concerned(program)
        self._left[program] = {record.name: None for record in concerned if record.is_down}
        if program not in self._until and all(record.stopped_with != program for record in concerned):
            return
        own = self._table.by_name.get(program)
        grace = self._rules.times.grace if own is None else own.declaration.grace
        self._up_at[program] = now
        until = self._until[program] = now + (grace if grace < NEVER else self._rules.times.grace)
        for record in concerned:
            if record.stopped_with == program:
                record.detailed().back_by = max(until, now + record.declaration.grace)
                self._table.arm(record)

    def note_end(self, record: Record, program: str | None) -> None:
        """The process that owned this one has ended; ``program`` had started it."""
        if program is not None:
            self._note_left(record, program)

    def rebooted(self, process: ProcessIdentity, now: float, out: list[Effect]) -> None:
        """The host has started anew since this process fed. What had started it, a program, does so again."""
        program = self._table.program_of(process)
        if program is not None:
            for record in self._table.take_owned(process):
                self.disown(record)
                if record.is_judged:
                    self._take_down(record, (program, None), now, out)

    def await_program(self, record: Record, program: str) -> None:
        """This one is not judged before the program is up again."""
        details = record.detailed()
        details.stopped_with, details.back_by = program, None
        details.exited_at = details.exited_how = details.ended = None  # it would have ended by now anyway
        self._note_left(record, program)
        self._table.mark_changed(record)

    # -- what the engine asks -----------------------------------------------------------------------

    def is_down(self, program: str | None) -> bool:
        """Whether it is being taken down, or is down on purpose."""
        return program is not None and (self.is_stopping(program) or self._until.get(program) == inf)

    def excuses(self, record: Record, now: float, out: list[Effect]) -> bool:
        """Whether silence, failure or end of one that is judged has such a reason: then it is taken down, too.

        So is one whose incident was blamed on another, but not by a program that is up again: it goes on then."""
        reason = self._reason(record, now)
        if reason is not None and reason[1] is not None and record.is_down:
            return False
        if reason is not None:
            self._take_down(record, reason, now, out)
            self._disown_if_left(record)
        return reason is not None

    def ended(
        self, record: Record, process: ProcessIdentity, program: str | None, now: float, out: list[Effect]
    ) -> bool:
        """The process of this one has ended; ``program`` had started it. Whether that is on purpose."""
        self.note_end(record, program)
        if record.stopped_with is not None and record.state is State.WAITING:
            self.disown(record)  # it was taken down already
            return True
        if program is None or not self.is_down(program):
            return False
        self.disown(record)
        if is_section(record.name, process.pid) or _has_number(record.name, process.pid):
            self._lifecycle.apply(record, Occurrence(Trigger.RELEASE, how=STOPPED), now, out)
        elif record.is_judged:
            self._take_down(record, (program, None), now, out)
        elif record.state is State.PAUSED:
            self.await_program(record, program)
        else:
            return False
        return True

    def disown(self, record: Record) -> None:
        """Its process is gone: a message of it that arrives late is not its successor's."""
        self._table.forget_frames(record)
        if record.feed_times is not None:
            record.feed_times.clear()
        if record.owner is not None:
            self._table.set_owner(record, None, [])

    def _has_process(self, record: Record) -> bool:
        return any(map(self._table.watches, processes_of(record)))

    def _disown_if_left(self, record: Record) -> None:
        if not self._has_process(record):
            self.disown(record)

    # -- inside -------------------------------------------------------------------------------------

    def _live_on(self, record: Record, program: str, now: float, out: list[Effect]) -> bool:
        """The processes of a removed program have it no more. Whether others feed it, and are judged on."""
        table, members = self._table, {} if record.details is None else record.details.members or {}
        gone = [each for each in members.values() if table.program_of(each.process) == program]
        if record.stopped_with is not None or sum(map(table.watches, members)) <= len(gone):
            return False
        is_about_gone = record.owner in [each.process for each in gone]
        for member in gone:
            record.detailed().displace(member.process, ENDED)
            take_out(table, record, member, now)
        if record.is_down and is_about_gone and record.declaration.feeders is Feeders.EACH:
            self._lifecycle.await_feed(record, STOPPED, now, out)  # the incident was about one of them
            self._lifecycle.apply(record, Occurrence(Trigger.REBORN), now, out)
        return True

    def _note_left(self, record: Record, program: str) -> None:
        left = self._left.setdefault(program, {})
        left[record.name] = None
        if len(left) >= self._left_max.get(program, LEFT_MIN):
            # A program that runs for months may have had any number of processes, each with a name of its own.
            watched = self._left[program] = {name: None for name in left if name in self._table.by_name}
            self._left_max[program] = LEFT_MIN + 2 * len(watched)

    def _take_down(self, record: Record, reason: tuple[str, float | None], now: float, out: list[Effect]) -> None:
        program, back_by = reason
        if record.name != program and record.stopped_with is None:
            out.append(Event(EventType.TAKEN_DOWN, record.name, {"program": program}))
        self._lifecycle.apply(record, Occurrence(Trigger.TAKE_DOWN, how=STOPPED), now, out)
        self.await_program(record, program)
        record.detailed().back_by = back_by
        self._table.count_member(record)
        self._table.arm(record)

    def _abandon(self, record: Record, now: float, out: list[Effect]) -> None:
        """Its program is no more. What the operator names is waited for, or expected, as before its first feed."""
        if not self._rules.names(record.name):
            self._lifecycle.apply(record, Occurrence(Trigger.RELEASE, how=STOPPED), now, out)
            return
        self._lifecycle.await_feed(record, STOPPED, now, out)
        if record.policy is not None and record.policy.expect:
            self._lifecycle.apply(record, Occurrence(Trigger.REBORN), now, out)

    def _concerned(self, program: str) -> list[Record]:
        """Those that its processes feed, or fed last, and those that wait for it."""
        found = {record.name: record for record in self._table.of_program(program)}
        for name in (program, *self._left.get(program, ())):
            record = self._table.by_name.get(name)
            if record is None or record.is_group:  # a reload may have made a group of the program's name
                continue
            if record.stopped_with == program or not self._has_process(record):
                found[name] = record
        return list(found.values())

    def _reason(self, record: Record, now: float) -> tuple[str, float | None] | None:
        """The program that is down on purpose, or is just up again, for which this one is silent, and until when it
        has time (None: it has no deadline before the program is up). It, or what it depends on, is a part of it."""
        seen, pending = {record.name}, [record]
        while pending:
            one = pending.pop()
            for program in (one.name, *map(self._table.program_of, processes_of(one))):
                if program is not None and self.is_stopping(program):
                    return program, None
            for name in () if one.policy is None else one.policy.depends_on:
                if name in seen:
                    continue
                seen.add(name)
                if self.is_stopping(name):
                    return name, None
                parent = self._table.by_name.get(name)
                until = self._until.get(name, now)
                if until > now and not self._is_back(name, parent):
                    return name, None if until == inf else until
                if parent is None:
                    continue
                if parent.is_judged and (waits_for := parent.stopped_with) and not self._is_back(name, parent):
                    back_by = parent.detailed().back_by
                    if back_by is None or back_by > now:
                        return waits_for, back_by
                if (quorum := parent.quorum) is not None and quorum.stopped and quorum.alive < quorum.at_least:
                    return next(iter(quorum.stopped)), None
                pending.append(parent)
        return None

    def _is_back(self, program: str, record: Record | None) -> bool:
        """Whether it has been fed again, or one of its checks has passed, since it was taken down."""
        if record is not None and record.state is State.ALIVE:
            return True
        since = self._up_at.get(program, inf)
        checks = map(self._table.by_name.get, self._table.checks_of.get(program, ()))
        return any(each is not None and each.state is State.ALIVE and each.fed_at > since for each in checks)


def processes_of(record: Record) -> tuple[ProcessIdentity, ...]:
    """Its owner, and the others that may feed it."""
    members = () if record.details is None else tuple(record.details.members or ())
    return members if record.owner is None else (record.owner, *members)


def _has_number(name: str, pid: int) -> bool:
    return pid >= PID_MIN and re.search(rf"(?<![0-9]){pid}(?![0-9])", name) is not None
