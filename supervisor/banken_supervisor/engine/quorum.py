"""Groups that want K of their members alive: a watchdog of the group's own, over those of its members.

The group's watchdog bears the group's name (the config allows no second use of it), and has everything a watchdog
has: incidents, a ladder, pause and resume, a row in ``status``. Nothing feeds it; messages in its name are refused.

*Down* is decided by what may still be alive: an incident opens when fewer than K members are alive, paused or in
the grace of a start. *Up* is decided by what has proved it: the incident closes when K members are alive or paused.
So a program in a crash loop, which is in its grace half of the time, does not open and close an incident at each
start. Before K members were ever alive the group has a grace of its own, and then the cause is the same: too-few.

A change of a member's state changes two numbers (table.py) and wakes the sweep; a feed costs nothing. The group is
judged like every watchdog, when all that was sent has been read: members that fall together are one incident.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration
from banken_supervisor.engine.descriptions import declared_event
from banken_supervisor.engine.effects import Effect
from banken_supervisor.engine.incidents import Incidents
from banken_supervisor.engine.lifecycle import Lifecycle
from banken_supervisor.engine.occurrence import Occurrence
from banken_supervisor.engine.patterns import Matcher, is_pattern, matcher
from banken_supervisor.engine.policy import By, Group, Policy
from banken_supervisor.engine.quorum_state import QuorumState
from banken_supervisor.engine.record import Record, deadline
from banken_supervisor.engine.states import ENOUGH, State, Trigger
from banken_supervisor.engine.table import Table

NAMED_MAX = 5
"""Members that are down and that an incident names; the others are counted."""


@dataclass(eq=False)
class Quorums:
    """Keeps the groups' watchdogs. ``set`` says which groups there are."""

    _table: Table
    _lifecycle: Lifecycle
    _incidents: Incidents
    _members: dict[str, list[Record]] = field(default_factory=dict)
    """by the exact name of a member: the groups it is in"""
    _patterns: list[tuple[Matcher, Record]] = field(default_factory=list)
    _stopped: dict[str, None] = field(default_factory=dict)
    """programs that are stopped on purpose, in a group or not: a reload may make a group of them"""

    def set(self, groups: Iterable[Group], declaration: Declaration, now: float, out: list[Effect]) -> None:
        """These groups from now on, those with ``at_least``; incidents of groups that remain stay open.

        ``declaration``: for the interval of the callback and the grace before enough members were ever alive.
        """
        wanted = {group.name: group for group in groups if group.at_least is not None}
        for record in list(self._table):
            if record.details is not None:
                record.details.groups = ()
            if record.is_group != (record.name in wanted):
                # A group that is no more, or a worker's watchdog that has the name of a group.
                self._lifecycle.apply(record, Occurrence(Trigger.RELEASE), now, out)
        self._members, self._patterns = {}, []
        for group in wanted.values():
            record = self._group_record(group, declaration, now, out)
            for member in group.members:
                if is_pattern(member):
                    self._patterns.append((matcher(member), record))
                else:
                    self._members.setdefault(member, []).append(record)
        for program in self._stopped:
            for record in self._groups_of(program):
                assert record.quorum is not None
                record.quorum.stopped[program] = None
        if wanted:
            for record in self._table:
                self.enroll(record)

    def enroll(self, record: Record) -> None:
        """Find the groups that a watchdog is in."""
        if not (self._members or self._patterns) or record.is_group:
            return
        # A pattern for its owner is not meant for a check as well; its own name is.
        groups = tuple(self._members.get(record.name, ())) if record.is_check else self._groups_of(record.name)
        if groups:
            record.detailed().groups = groups
            record.detailed().counted = 0, 0
            self._table.count_member(record)

    def count_stopped(self, program: str, *, is_stopped: bool) -> None:
        """A program is stopped on purpose: its groups do not miss it. Or it is stopped no longer."""
        if is_stopped:
            self._stopped[program] = None
        else:
            self._stopped.pop(program, None)
        for group in self._groups_of(program):
            assert group.quorum is not None
            if is_stopped:
                group.quorum.stopped[program] = None
            elif program in group.quorum.stopped:
                del group.quorum.stopped[program]
            self._table.look_at_group(group)

    def _groups_of(self, name: str) -> tuple[Record, ...]:
        groups = list(self._members.get(name, ()))
        groups += [group for matches, group in self._patterns if matches(name)]
        return tuple(dict.fromkeys(groups))

    def _group_record(self, group: Group, declaration: Declaration, now: float, out: list[Effect]) -> Record:
        assert group.at_least is not None
        record = self._table.by_name.get(group.name)
        if record is None:
            record = Record(group.name, declaration, 0.0, now, by=By.OPERATOR)
            self._table.add(record)
            out.append(declared_event(record, "operator"))
        record.declaration = declaration
        before, record.policy = record.policy, Policy(declaration, group.ladder)
        self._incidents.follow_reload(record, before)
        record.detailed().quorum = QuorumState(group.at_least, group.members)
        self._table.look_at_group(record)
        return record

    def judge(self, record: Record, quorum: QuorumState, due: float, now: float, out: list[Effect]) -> None:
        """The group is due: are enough of its members alive?"""
        verdict = quorum.verdict(record.state)
        quorum.since = None
        # Else there were enough, or too few, when it was swept, and by now one has ended or come.
        is_its_time = due == deadline(record)
        if verdict is None and is_its_time and record.state is State.WAITING:
            verdict = quorum.verdict(State.ALIVE) is None  # its grace is over; are all in a grace of their own?
        if verdict is True:
            self._lifecycle.apply(record, Occurrence(Trigger.FEED, how=ENOUGH), now, out)
        elif verdict is False:
            record.fed_at = due
            what = Occurrence(Trigger.DEADLINE, due=due, cause=Cause.TOO_FEW, reason=_shortage(quorum))
            self._lifecycle.apply(record, what, now, out)
        elif is_its_time and record.state is State.EXPIRED:
            self._lifecycle.apply(record, Occurrence(Trigger.DEADLINE, due=due), now, out)
        else:
            self._table.arm(record)


def settle(record: Record, now: float) -> None:
    """Called in the sweep: note since when the number of living members asks for another state of the group."""
    quorum = None if record.details is None else record.details.quorum  # of each that is swept: no call
    if quorum is not None and quorum.changed:
        quorum.changed = False
        wrong = quorum.verdict(record.state) is not None
        quorum.since = (now if quorum.since is None else quorum.since) if wrong else None


def _shortage(quorum: QuorumState) -> str:
    names = list(quorum.down)
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    down = f"; down: {', '.join(names[:NAMED_MAX])}{more}" if names else ""
    return f"{quorum.alive} alive, at least {quorum.at_least} wanted{down}"
