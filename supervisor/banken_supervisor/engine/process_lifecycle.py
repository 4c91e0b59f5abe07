"""What becomes of the processes behind watchdogs: they end, new ones come, programs are taken down or given up.

A process that ended by itself is an incident; one that was taken down on purpose is not (on_purpose.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from banken.protocol.incidents import Cause
from banken.protocol.messages import CLEAN, Exit, Feeders, ProcessIdentity
from banken_supervisor.engine import members
from banken_supervisor.engine.clean_ends import is_clean_end, word_of
from banken_supervisor.engine.descriptions import exited_event
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.ended_by_ladder import was_ended_by_ladder
from banken_supervisor.engine.exit_status import end_text
from banken_supervisor.engine.heirs import hand_back, heir_of, outlived_by
from banken_supervisor.engine.lifecycle import Lifecycle
from banken_supervisor.engine.members import is_beside, is_part_of, member_of, show, show_first, take_out
from banken_supervisor.engine.occurrence import Occurrence
from banken_supervisor.engine.on_purpose import OnPurpose
from banken_supervisor.engine.record import ENDED, Details, Member, Record
from banken_supervisor.engine.snapshot import RETURN_S
from banken_supervisor.engine.states import State, Trigger
from banken_supervisor.engine.table import Table

LEAVING_S = 10.0
"""Seconds, at least, that a process has from its word that it ends to its end."""

GONE = "ended while no supervisor ran; how is not known"
"""Reason for a process that is found to be gone. It may have ended well: nothing was there to notice."""


@dataclass(eq=False)
class ProcessLifecycle:
    """Applies what the process watcher and the programs report: a process has ended, or a new one has started."""

    _table: Table
    _lifecycle: Lifecycle
    _on_purpose: OnPurpose
    is_program: Callable[[str], bool] = lambda name: False
    """whether a name is a program's: its watchdog ends with the program, not with a process that feeds it"""
    lives: Callable[[ProcessIdentity], bool] = lambda process: False
    """whether a process is known to live"""
    has_ended: Callable[[ProcessIdentity], bool] = lambda process: False
    """whether a process is known to have ended"""
    is_possible: Callable[[ProcessIdentity], bool] = lambda process: True
    """whether there can be such a process, or can have been one"""
    tells_end: Callable[[ProcessIdentity], bool] = lambda process: False
    """whether the end of a process will be noticed, and its status be known"""

    def exited(self, process: ProcessIdentity, now: float, out: list[Effect], status: int | None = None) -> None:
        """A process has ended. What it fed and did not release is judged as soon as all that it sent is read.

        ``status``: its exit status, or minus the signal that ended it; None: not known.
        """
        program = self._table.program_of(process)
        owned = self._table.take_owned(process)
        is_known = any(record.is_judged and not is_part_of(record, process) for record in owned)
        for record in owned:
            details = record.detailed()
            if is_part_of(record, process) and (is_known or not record.is_judged):
                # It is a part of that process's incident; or nobody is left who could end its own.
                details.displace(process, ENDED)
                self._release(record, process, status, now, out)
            elif (
                (member := member_of(record, process)) is not None
                and len(details.members or ()) > 1
                and self._on_purpose.is_down(program)
            ):
                details.displace(process, ENDED)
                take_out(self._table, record, member, now)
            elif self._on_purpose.ended(record, process, program, now, out):
                pass
            elif record.is_judged:
                details.ended = {**(details.ended or {}), process: status}
                details.exited_at = now
                self._table.forget_frames(record)
                self._table.arm(record)
            else:
                self._ended_unjudged(record, process, status, now, out)

    def ended_unseen(self, process: ProcessIdentity, now: float, out: list[Effect]) -> None:
        """A process was gone before its end could be watched: how it ended is not known. What is a part of it is
        judged by that, and what had nothing to do has ended well; the rest by its silence, for it may be a process
        that cannot be seen from here."""
        owned = self._table.owned(process)
        if all(is_part_of(record, process) for record in owned):
            for details in (record.detailed() for record in owned):
                if details.work_due == inf:
                    details.leaving = {process: None}
            self.exited(process, now, out)

    def judge_end(self, record: Record, due: float, now: float, out: list[Effect]) -> None:
        """All that its processes sent before they ended has been read. One of them may have said that it failed."""
        details = record.detailed()
        how, ended = details.exited_how, details.ended or {}
        details.exited_at = details.exited_how = details.ended = None
        if how is not None:
            if record.declaration.exit is Exit.NEVER and not details.abandoned:
                self._release(record, record.owner, None, now, out)
            else:
                self._open(record, Cause.EXITED, how, due, now, out, death=how)
                if details.abandoned and record.state is State.EXPIRED:
                    self._lifecycle.apply(record, Occurrence(Trigger.GIVE_UP), now, out)
            for member in filter(None, [member_of(record, each) for each in ended]):
                details.displace(member.process, ENDED)
                take_out(self._table, record, member, now)
            return
        is_alive = record.is_judged
        for process, status in ended.items():
            if is_alive:
                is_alive = self._judge_one_end(record, details, process, status, due, now, out)
            elif self._table.by_name.get(record.name) is record:  # nothing tells of its end again
                self._ended_unjudged(record, process, status, now, out)
        show_first(record)
        self._table.arm(record)

    def left(
        self, record: Record, process: ProcessIdentity, why: str | None, now: float, out: list[Effect]
    ) -> None:
        """A process says that it ends now. ``why``: the exception that it dies of. Its status decides, if that will
        be known; it has the time to end, however short its timeout is."""
        details = record.detailed()
        details.leaving = {**(details.leaving or {}), process: why}
        self._table.mark_changed(record)
        if self._on_purpose.is_down(self._table.program_of(process)):
            if why is not None:
                out.append(Event(EventType.FAILED, record.name, {"reason": why}))
        elif not self.tells_end(process):
            if record.is_judged:
                self._judge_one_end(record, details, process, None, now, now, out)
            else:
                self._ended_unjudged(record, process, None, now, out)
        elif record.is_judged:
            self._table.forget_frames(record)
            until = now + max(record.declaration.timeout, LEAVING_S)
            member = member_of(record, process)
            others = () if details.members is None else details.members.keys() - details.leaving.keys()
            if member is None or (record.declaration.feeders is Feeders.ANY and not others):
                details.extended_until = until
                self._table.arm(record)
            elif record.declaration.feeders is Feeders.EACH and record.state is State.ALIVE:
                details.work_due, details.extended_until = until, None  # it is this one that the record shows
        elif (member := member_of(record, process)) is not None and is_beside(record, member):
            member.work_due, member.extended_until = now + max(record.declaration.timeout, LEAVING_S), None

    def released(self, record: Record, process: ProcessIdentity | None, now: float, out: list[Effect]) -> None:
        """Watch it no longer; ``process`` says so, None: an operator does.

        Of several processes each releases its own part. A program's watchdog ends with the program: until it is fed
        again only its end is judged. What a step of the ladder has ended is not released by that: its incident
        stays open until another process comes.
        """
        details = record.details
        if process is not None and details is not None:
            member = member_of(record, process)
            if member is not None and len(details.members or ()) > 1:
                self._leave(record, member, "released", now, out)
                return
            if was_ended_by_ladder(record):
                if member is not None:
                    take_out(self._table, record, member, now)
                return
        if process is not None and self.is_program(record.name):
            self._table.forget_frames(record)
            self._table.clear_members(record)
            self._lifecycle.await_feed(record, "released", now, out)
            return
        self._lifecycle.apply(record, Occurrence(Trigger.RELEASE), now, out)
        if process is None and record.name in self._table.released:
            self._table.released_by_operator.add(record.name)

    def gone(self, process: ProcessIdentity, now: float) -> None:
        """A process that was brought back as the owner of watchdogs had ended before this supervisor started. It is
        judged when another one has had the time to take its place. What became of a program is said by
        ``program_ended``."""
        program = self._table.program_of(process)
        for record in self._table.take_owned(process):
            self._on_purpose.note_end(record, program)
            details = record.detailed()
            details.displace(process, ENDED)  # one that had the name before, and lives, may have it again
            if record.is_judged and details.members:
                details.ended = {**(details.ended or {}), process: None}
                details.exited_at = now + RETURN_S
                self._table.arm(record)
            elif details.members and process in details.members:
                take_out(self._table, record, details.members[process], now)
                if record.state is State.PAUSED and not details.members and not self.is_program(record.name):
                    self._ended(record, GONE, now + RETURN_S)
            elif self.is_program(record.name):
                pass
            elif record.is_judged or (record.state is State.PAUSED and not details.members):
                self._ended(record, GONE, now + RETURN_S)  # judged after the pause, if it is paused
            elif not details.members:
                details.note_death(GONE)

    def is_failure(self, name: str, status: int | None) -> bool:
        """Whether a program that ended by itself is to be started again ``on-failure``: unless its exit status is a
        clean one. What a signal, or a step of its ladder, has ended did not end by itself."""
        record = self._table.by_name.get(name)
        clean = CLEAN if record is None else record.declaration.clean
        if status is None or status < 0 or status not in clean:
            return True
        return record is not None and was_ended_by_ladder(record)

    def ended_well(self, name: str, status: int | None, now: float, out: list[Effect]) -> bool:
        """The program behind this name has ended, and nobody had asked it to: it is released, if that was clean.

        False: it was not, or the incident that it has stays open until another process comes.
        """
        record = self._table.by_name.get(name)
        if record is None or not is_clean_end(record, status, False, None):
            return record is None
        if record.incident is not None and self.is_failure(name, status):
            return False
        self._release(record, None, status, now, out)
        return True

    def program_ended(self, name: str, how: str, now: float) -> None:
        """The program behind this name has ended, and nobody had asked it to."""
        record = self._table.by_name.get(name)
        if record is not None and (record.is_judged or record.state is State.PAUSED):  # judged after the pause
            self._ended(record, how, now)
        elif record is not None:
            record.detailed().note_death(how)

    def joins(self, record: Record) -> None:
        """Another process has the name now, beside those that had it: what is known of their end is no matter any
        more. A program's watchdog ends with the program."""
        details = record.details
        if details is None or self.is_program(record.name):
            return
        if details.open_incident is not None:
            details.open_incident.death = None
        if details.exited_how is not None:
            details.exited_how = None
            details.exited_at = details.exited_at if details.ended else None

    def restarted(self, name: str, now: float, out: list[Effect]) -> None:
        """A new process of the program behind this name has started."""
        if (record := self._table.by_name.get(name)) is not None:
            self._on_purpose.disown(record)
            self.reborn(record, now, out)

    def reborn(self, record: Record, now: float, out: list[Effect]) -> None:
        """A new process has the name: its start-up has a grace of its own."""
        details = record.details
        if details is not None:  # the former process's progress is no measure for this one, and its end is over
            details.progress_at = details.exited_at = details.exited_how = details.ended = details.demand = None
            details.abandoned = False
        self._lifecycle.apply(record, Occurrence(Trigger.REBORN), now, out)

    def abandon(self, name: str, why: str, now: float, out: list[Effect]) -> None:
        """The program behind this name is not started again by itself: its incident, which is opened if there is
        none, is given up; after a pause, if it is paused."""
        record = self._table.by_name.get(name)
        if record is None:
            return
        details = record.detailed()
        if record.state is State.PAUSED:
            if not record.exited:
                self._ended(record, why, now)
        elif record.is_judged:
            cause = Cause.EXITED if record.exited else Cause.FAILED
            reason = details.exited_how or why if record.exited else why
            what = Occurrence(Trigger.DEADLINE, cause=cause, reason=reason, death=reason)
            self._lifecycle.apply(record, what, now, out)
        else:
            details.note_death(why)
        details.abandoned = True
        if record.state is State.EXPIRED:
            self._lifecycle.apply(record, Occurrence(Trigger.GIVE_UP), now, out)

    def _judge_one_end(
        self,
        record: Record,
        details: Details,
        process: ProcessIdentity,
        status: int | None,
        due: float,
        now: float,
        out: list[Effect],
    ) -> bool:
        """False: that was a verdict, or the end of the watchdog."""
        member = member_of(record, process)
        is_left, why = word_of(details, process)
        is_clean = is_clean_end(record, status, is_left, why)
        if member is not None:
            details.displace(process, ENDED)
            take_out(self._table, record, member, now)
            alone = not details.members
            if alone and is_left:
                details.extended_until = None  # the time that it had to end
            if self.is_program(record.name) or (is_clean and not alone):
                return True
            if not alone and (record.declaration.feeders is Feeders.ANY or not member.joined):
                return True
            show(record, member)  # the incident is about this one
        elif record.owner != process:
            return True
        else:
            details.displace(process, ENDED)
            if is_left:
                details.extended_until = None  # the time that it had to end
            heir = heir_of(record, details, now, self.lives, self.has_ended)
            if heir is not None:
                hand_back(self._table, record, heir, process, status, out)
                return True
            if is_clean and self.is_program(record.name):
                return True  # it ends with its program; until then another process may feed it
        if is_clean and was_ended_by_ladder(record):
            return True  # whoever leads has an incident of it: it stays silent until another process comes
        if is_clean:
            self._release(record, process, status, now, out)
        else:
            reason = why if why is not None else end_text(status, process.pid)
            # A program is told to have ended by its own keeper; and another process may still prove life.
            death = None if details.members or self.is_program(record.name) else reason
            self._open(record, Cause.EXITED if why is None else Cause.FAILED, reason, due, now, out, death=death)
            if is_part_of(record, process):  # no process will come that could end this
                self._release(record, process, status, now, out)
        return False

    def _ended_unjudged(
        self, record: Record, process: ProcessIdentity, status: int | None, now: float, out: list[Effect]
    ) -> None:
        """Paused: the end is judged after the pause, unless another process comes. With an incident: that stays
        open until another process comes, or a feed, unless the process was only late, and has finished in order."""
        details, incident = record.detailed(), record.incident
        member = member_of(record, process)
        is_left, why = word_of(details, process)
        is_clean = is_clean_end(record, status, is_left, why)
        has_finished = is_clean and record.state is State.PAUSED
        if incident is not None:
            in_order = is_left and incident.failed_at is None and not was_ended_by_ladder(record)
            has_finished = is_clean and status == 0 and in_order
            out.append(exited_event(record, process, status, {"incident": incident.id}))
        heir = None
        if member is not None:
            details.displace(process, ENDED)
            self._leave(record, member, "ended" if has_finished else None, now, out)
        elif record.owner == process:
            details.displace(process, ENDED)
            heir = heir_of(record, details, now, self.lives, self.has_ended)
            if heir is not None and record.state is State.PAUSED:
                hand_back(self._table, record, heir, process, status, out)
                return
        if heir is None and not details.members and record.owner == process and not self.is_program(record.name):
            details.note_death(end_text(status, process.pid) if why is None else why)
        if has_finished and not details.members and not self.is_program(record.name):
            self._release(record, process, status, now, out)
        elif record.state is State.PAUSED and not is_clean and not details.members and record.owner == process:
            details.exited_at, details.ended = now, {process: status}
            details.leaving = {process: why} if is_left else None

    def _leave(self, record: Record, member: Member, how: str | None, now: float, out: list[Effect]) -> None:
        """One of its processes is gone, ``how``, if that was in order: then an incident that is about it is over,
        unless a step of the ladder has ended it."""
        is_each = record.declaration.feeders is Feeders.EACH and len(record.detailed().members or ()) > 1
        is_about = is_each and record.is_down and record.owner == member.process
        if how is not None and is_about and not was_ended_by_ladder(record):
            self._lifecycle.apply(record, Occurrence(Trigger.FEED, how=how), now, out)
            members.begin_progress(record, now)
        take_out(self._table, record, member, now)

    def outlived(self, record: Record, now: float, out: list[Effect]) -> bool:
        """Whether a process that had the name before still feeds it, while nothing but silence is known of the one
        that took it. The name is the former one's again."""
        heir, owner = outlived_by(record, now, self.lives, self.has_ended), record.owner
        if heir is None or owner is None:
            return False
        hand_back(self._table, record, heir, owner, None, out)
        return True

    def _release(
        self, record: Record, process: ProcessIdentity | None, status: int | None, now: float, out: list[Effect]
    ) -> None:
        pid = None if process is None else process.pid
        out.append(Event(EventType.ENDED, record.name, {"pid": pid, "status": status}))
        self._lifecycle.apply(record, Occurrence(Trigger.RELEASE, how="ended"), now, out)

    def _open(
        self, record: Record, cause: Cause, reason: str, due: float, now: float, out: list[Effect],
        *, death: str | None,
    ) -> None:  # fmt: skip
        if not self._on_purpose.excuses(record, now, out):
            what = Occurrence(Trigger.DEADLINE, due=due, cause=cause, reason=reason, death=death)
            self._lifecycle.apply(record, what, now, out)

    def _ended(self, record: Record, how: str, at: float) -> None:
        self._table.forget_frames(record)
        details = record.detailed()
        details.abandoned = False
        details.exited_at, details.exited_how = at, how
        self._table.arm(record)
