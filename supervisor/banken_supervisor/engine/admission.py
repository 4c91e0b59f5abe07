"""Which messages are taken: names that are watched, and the process that a name belongs to.

What a principal may say at all is asked before (principal.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from banken.protocol.incidents import Cause
from banken.protocol.messages import Feeders, Kind, Message, ProcessIdentity
from banken_supervisor.engine import members
from banken_supervisor.engine.clean_ends import tell_unjudged_end
from banken_supervisor.engine.descriptions import declared_event
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.feed_history import FeedHistory
from banken_supervisor.engine.feed_observer import FeedObserver
from banken_supervisor.engine.maintenance import Maintenance
from banken_supervisor.engine.policy import Quotas
from banken_supervisor.engine.principal import AnyPrincipal, KeyHolder, Principal, Refusal
from banken_supervisor.engine.process_lifecycle import ProcessLifecycle
from banken_supervisor.engine.quorum import Quorums
from banken_supervisor.engine.record import ENDED, Record
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.table import Table

INCARNATIONS_MAX = 16
"""Identities of one process that differ in their random part: one for each copy of banken that is loaded in it."""

REPORT_EVERY_S = 1.0
"""Seconds between two events about the same reason; refusals in between are only counted."""

_TAKES = (*members.PROOFS, Kind.DECLARE)
"""What takes a name over; the rest is taken as an operator's from a process that does not own the name."""

_OWNS = (*_TAKES, Kind.FAIL)
"""What gives a new name its owner."""

_RAISE = "to allow more, raise [supervisor.limits] "


@dataclass(eq=False)
class Admission:
    """Makes records for new names, refuses what is not to be taken, and counts the refusals."""

    _table: Table
    _rules: Rules
    _history: FeedHistory
    _quorums: Quorums
    _maintenance: Maintenance
    _observer: FeedObserver
    _processes: ProcessLifecycle
    speaks_for: Callable[[int, ProcessIdentity], bool] = lambda pid, process: True
    """whether the process with this pid, the sender of a message, may name that one as its process"""
    short_of_memory: bool = False
    """new names and texts of workers are not taken"""
    quotas: Quotas = Quotas()  # noqa: RUF009  # an immutable tuple
    _nobodys: dict[str, None] = field(default_factory=dict)
    """names that were new when something without a process fed them"""
    _recount_at: float = -inf
    refused: Counter[str] = field(default_factory=Counter)
    """all refusals, by reason"""
    _reported: dict[str, tuple[float, int]] = field(default_factory=dict)
    """by reason: when the last event was, and how many there had been then"""

    def process_of(
        self, message: Message, by: AnyPrincipal, pid: int, now: float, out: list[Effect]
    ) -> ProcessIdentity | None:
        """The process that a message names. None: it names none, or one that its sender may not speak for; then it
        counts as a message that names none. ``pid``: the sender's; 0: unknown."""
        process = message.identity if isinstance(by, Principal) else by.checked(message.identity)
        if process is None or isinstance(by, KeyHolder) or self.speaks_for(pid, process):
            return process
        text = f"process {pid} named process {process.pid} as its own: what it said counts as nobody's"
        self.refuse(Refusal("identity", text), now, out, message.name)
        return None

    def admit(
        self,
        message: Message,
        now: float,
        out: list[Effect],
        *,
        principal: AnyPrincipal = Principal.LOCAL,
        is_operators: bool = False,
        awaited: bool = True,
    ) -> Record | Refusal:
        """A record for a name that is not watched yet. ``is_operators``: the config asks for it, no message does.
        ``awaited``: False where nobody says that it will be fed."""
        name = message.name
        if message.kind in (Kind.RELEASE, Kind.LEAVING, Kind.RESUME):
            if message.kind is not Kind.RESUME:
                self._table.note_released(name, now, by_operator=message.identity is None)
            return Refusal("unknown", f"no watchdog is called {name!r}")
        if self.short_of_memory and not is_operators:
            return Refusal("memory", f"there is no memory for another name: {name!r} is not watched")
        policy = self._rules.policy_of(name)
        found = self._rules.in_force(policy, message.declaration, fed=message.kind in members.PROOFS)
        if found is None:
            return Refusal("undeclared", f"nobody declared {name!r}, and undeclared names are refused here")
        table = self._table
        if (refusal := self._over_quota(message, principal, now, is_operators=is_operators)) is not None:
            return refusal
        declaration, by = found
        record = Record(name, declaration, message.resolution, now, by=by)
        record.policy = policy
        if not awaited:
            record.detailed().dormant = True
        self.watch(record)
        if message.kind in _OWNS:
            table.set_owner(record, message.identity, out)
        table.arm(record)
        out.append(declared_event(record, by))
        self._maintenance.apply_to_new(record, now, out)
        return record

    def _over_quota(self, message: Message, by: AnyPrincipal, now: float, *, is_operators: bool) -> Refusal | None:
        """Whether there are too many watchdogs already, of all processes, of this one or this key, or of none."""
        quotas, process = self.quotas, message.identity
        if len(self._table) >= quotas.names:
            return Refusal("full", f"{quotas.names} watchdogs are kept already; {_RAISE}names")
        if message.kind not in _OWNS or is_operators:
            return None
        if process is None:
            found, who = self._count_nobodys(message.name, now), "what names no process"
        elif isinstance(by, KeyHolder):
            found, who = self._table.names_by_key[by.key_part], f"the key {by.name!r}"
        else:
            found, who = self._table.names_of(process), f"process {process.pid}"
        if found >= quotas.names_per_process:
            text = f"{who} has {quotas.names_per_process} watchdogs already"
            return Refusal("names", f"{text}; {_RAISE}names_per_process")
        return None if process is None else self._check_identity(process)

    def _count_nobodys(self, name: str, now: float) -> int:
        """How many watchdogs there are that no process owns: those of pings and of commands. This one is added."""
        nobodys = self._nobodys
        if len(nobodys) >= self.quotas.names_per_process:
            if now < self._recount_at:
                return len(nobodys)
            self._recount_at = now + REPORT_EVERY_S
            by_name = self._table.by_name
            for each in [each for each in nobodys if each not in by_name or by_name[each].owner is not None]:
                del nobodys[each]
        found = len(nobodys)
        if found < self.quotas.names_per_process:
            nobodys[name] = None
        return found

    def _check_identity(self, process: ProcessIdentity) -> Refusal | None:
        """Why this cannot be a process; asked when it is to own its first watchdog."""
        if self._table.watches(process):
            return None
        if not self._processes.is_possible(process):
            text = f"no process {process.pid} was started at tick {process.start} of this boot"
            return Refusal("identity", f"{text}; an identity is boot, pid and start time as the kernel has them")
        if len(self._table.incarnations(process)) >= INCARNATIONS_MAX:
            text = f"process {process.pid} has given {INCARNATIONS_MAX} identities that differ in their random part"
            return Refusal("identity", f"{text}; a process has one")
        return None

    def watch(self, record: Record) -> None:
        """Watch a record that is new. It is not armed yet. What it had used up of its budgets before it was
        released is used up, whatever brings it back."""
        if (spent := self._table.spent.pop(record.name, None)) is not None:
            record.detailed().step_runs = spent
        self._table.add(record)
        self._history.resize()
        self._quorums.enroll(record)

    def check_owner(self, record: Record, message: Message, now: float, out: list[Effect]) -> Refusal | None:
        """Whether the sender may speak in this name. A newer process takes the name over."""
        process, owner, kind = message.identity, record.owner, message.kind
        if process is None:
            return None
        if record.declaration.feeders is not Feeders.LATEST:
            return self._check_member(record, process, kind, now, out)
        if process == owner:
            return None
        takes = kind in _TAKES
        former = record.details is not None and process in record.details.displaced
        if (takes or former) and is_displaced(record, process):
            return self._contest(record, process, kind, now, out)
        if takes:
            if (refusal := self._check_identity(process)) is not None:
                return self.refuse(refusal, now, out, record.name)
            self._take_over(record, process, kind, now, out)
        elif kind in (Kind.RELEASE, Kind.LEAVING) and owner is not None and record.owner_lives:
            return self._not_owner(record, process, owner, kind, now, out)
        return None

    def _check_member(
        self, record: Record, process: ProcessIdentity, kind: Kind, now: float, out: list[Effect]
    ) -> Refusal | None:
        details = record.details
        if details is not None and details.displaced.get(process) == ENDED:
            return _taken_down(record, process)
        if kind in _TAKES:
            if (refusal := self._check_identity(process)) is not None:
                return self.refuse(refusal, now, out, record.name)
            if (former := members.rename(record, process)) is not None:
                self._table.pass_on(record, former, process, out)
            is_new = members.member_of(record, process) is None
            if is_new and not members.make_room(record, self.quotas.processes_per_name, self._table.lose):
                text = f"{self.quotas.processes_per_name} processes feed {record.name!r}, each judged by itself"
                refusal = Refusal("members", f"{text}; process {process.pid} is not: {_RAISE}processes_per_name")
                return self.refuse(refusal, now, out, record.name)
            if is_new:
                self._processes.joins(record)
            if members.note(record, process, kind, now):
                self._table.mark_changed(record)
            if is_new and process != record.owner:
                self._table.watch_end(record, process, out)
        elif kind in (Kind.RELEASE, Kind.LEAVING) and details is not None and details.members:
            other = next(iter(details.members))
            return None if process in details.members else self._not_owner(record, process, other, kind, now, out)
        return None

    def _take_over(
        self, record: Record, process: ProcessIdentity, kind: Kind, now: float, out: list[Effect]
    ) -> None:
        former = record.owner
        if former is not None:
            tell_unjudged_end(record, former, out)
        self._table.set_owner(record, process, out)
        self._observer.new_feeder(record)
        if record.details is not None:
            record.details.exited_at = record.details.exited_how = None  # it is another process that has ended
        if former is not None:
            self._table.forget_frames(record)
            if kind is Kind.DECLARE or record.is_down:
                self._processes.reborn(record, now, out)

    def _not_owner(
        self,
        record: Record,
        process: ProcessIdentity,
        owner: ProcessIdentity,
        kind: Kind,
        now: float,
        out: list[Effect],
    ) -> Refusal:
        """What a process says at its end about a name that is not its own is no fault: a child of a fork, say."""
        text = f"{record.name!r} belongs to process {owner.pid}; process {process.pid} cannot release it"
        refusal = Refusal("not-owner", text)
        return refusal if kind is Kind.LEAVING else self.refuse(refusal, now, out, record.name)

    def _contest(
        self, record: Record, process: ProcessIdentity, kind: Kind, now: float, out: list[Effect]
    ) -> Refusal | None:
        """An earlier process speaks: it is refused. If it outlives the owner, the name is its own again: None."""
        details, owner = record.detailed(), record.owner
        if kind is Kind.LEAVING:
            details.displaced = {**details.displaced, process: ENDED}
        elif kind in members.PROOFS or process not in details.displaced:
            details.displace(process, now)
        if owner is None or details.displaced[process] == ENDED:
            return self.refuse(_taken_down(record, process), now, [], record.name)
        is_silent = record.is_down and details.cause in (Cause.TIMEOUT, Cause.GRACE)
        if is_silent and self._processes.outlived(record, now, out) and record.owner == process:
            return None
        if not details.contest_reported and kind in members.PROOFS:
            details.contest_reported = True
            data = {"pid": owner.pid, "refused_pid": process.pid}
            out.append(Event(EventType.CONTEST, record.name, data))
        text = (
            f"{record.name!r} belongs to the newer process {owner.pid}; "
            f"declare feeders='any' to let several processes feed it"
        )
        return self.refuse(Refusal("contest", text), now, out, record.name)

    def refuse(self, refusal: Refusal, now: float, out: list[Effect], name: str | None = None) -> Refusal:
        """Count a refusal, and report it if the last report of this reason is old enough."""
        reason = refusal.reason
        self.refused[reason] += 1
        total = self.refused[reason]
        at, reported = self._reported.get(reason, (-inf, 0))
        if now - at >= REPORT_EVERY_S:
            self._reported[reason] = now, total
            data = {"reason": reason, "text": refusal.text, "count": total - reported, "total": total}
            out.append(Event(EventType.REFUSED, name, data))
        return refusal


def is_displaced(record: Record, process: ProcessIdentity) -> bool:
    """Whether ``process``, which is not the owner, is an earlier one: a newer one took the name from it.

    On one host the later process start is the newer; across hosts, or within one tick, the order of arrival counts.
    """
    owner = record.owner
    if record.details is not None and process in record.details.displaced:
        is_newer = owner is not None and process.boot == owner.boot and 0 < owner.start < process.start
        return (record.owner_lives and not is_newer) or record.details.displaced[process] == ENDED
    return (
        owner is not None and record.owner_lives and process.boot == owner.boot and 0 < process.start < owner.start
    )


def _taken_down(record: Record, process: ProcessIdentity) -> Refusal:
    text = f"the process {process.pid} of {record.name!r} was taken down; its late messages are refused"
    return Refusal("contest", text)
