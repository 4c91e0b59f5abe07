"""Which declaration is in force for a watchdog: the operator's, the worker's, or the learnt timeout."""

from __future__ import annotations

from dataclasses import dataclass

from banken.protocol.messages import Declaration, Message
from banken_supervisor.engine import adaptive_timeout, members
from banken_supervisor.engine.descriptions import declared_event
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.incidents import Incidents
from banken_supervisor.engine.maintenance import Maintenance
from banken_supervisor.engine.policy import By
from banken_supervisor.engine.record import Record
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.states import State
from banken_supervisor.engine.table import Table


@dataclass(eq=False)
class Declarations:
    """Applies what operator and workers declare to the records."""

    _table: Table
    _rules: Rules
    _incidents: Incidents
    _maintenance: Maintenance

    def update(self, record: Record, message: Message, out: list[Effect]) -> None:
        """A worker's message carries its declaration: it is taken, or it conflicts with the operator's."""
        told = message.declaration
        if record.operator:
            self._set_resolution(record, message.resolution)
            if told is not None and told != record.declaration:
                details = record.detailed()
                if not details.conflict_reported:
                    details.conflict_reported = True
                    data = {"operator": list(record.declaration), "worker": list(told)}
                    out.append(Event(EventType.CONFLICT, record.name, data))
        elif told is not None and (told != record.declaration or record.by is not By.WORKER):
            self._follow(record, told, message.resolution, fed=False)
        elif message.identity is not None:
            self._set_resolution(record, message.resolution)

    def first_fed(self, record: Record, out: list[Effect]) -> None:
        """It is fed, and nobody gave it a timeout: the default holds from now on."""
        self._follow(record, None, record.resolution, fed=True)
        out.append(declared_event(record, record.by))

    def follow_rules(self, record: Record) -> None:
        """The operator's policy for it may have changed. Where there is none any more, the declaration stays and
        the ladder goes. No timer is lost."""
        if record.is_group:
            return  # its policy comes with the groups (quorum.py)
        before, policy = record.policy, self._rules.policy_of(record.name)
        record.policy = policy
        self._incidents.follow_reload(record, before)
        self._maintenance.follow_policy(record, before)
        if decoded_always(record):
            self._table.forget_frames(record)
        was_operator = record.operator
        if policy is not None and not policy.worker_declares:
            declaration = in_force(record)
            if declaration != record.declaration:
                self._table.forget_frames(record)
            self._set(record, declaration, By.OPERATOR, record.resolution)
        elif was_operator and record.state is not State.WAITING:
            # What the worker said is in its next feed. Until then it is judged as before: no hang is missed.
            self._set(record, record.declaration, By.WORKER if policy is None else By.NOBODY, record.resolution)
            self._table.forget_frames(record)
        elif not (was_operator and policy is None):
            told = record.declaration if record.by is By.WORKER else None
            self._follow(record, told, record.resolution, fed=record.by is By.DEFAULT)
        else:
            self._set(record, record.declaration, By.WORKER, record.resolution)
        self._table.arm(record)

    def bring_back(self, record: Record, kept: Declaration, by: By, *, fed: bool) -> None:
        """What held before a restart holds on, where the config gives no timeout. ``fed``: it had been."""
        if record.by is not By.NOBODY:
            return
        if by in (By.WORKER, By.DEFAULT):
            self._follow(record, kept if by is By.WORKER else None, record.resolution, fed=True)
        elif fed:
            self._set(record, kept, By.NOBODY, record.resolution)

    def apply_learnt(self, record: Record, out: list[Effect]) -> None:
        """What was seen of its feeds may ask for another timeout."""
        declaration = in_force(record)
        if declaration != record.declaration:
            self._replace(record, declaration, record.resolution)
            out.append(declared_event(record, "learnt"))

    def _set_resolution(self, record: Record, resolution: float) -> None:
        if resolution != record.resolution:
            record.resolution = resolution
            self._table.mark_changed(record)

    def _follow(self, record: Record, told: Declaration | None, resolution: float, *, fed: bool) -> None:
        found = self._rules.in_force(record.policy, told, fed=fed)
        if found is not None:  # else undeclared names are refused since it was declared: it stays as it is
            self._set(record, *found, resolution)

    def _set(self, record: Record, declaration: Declaration, by: By, resolution: float) -> None:
        if declaration != record.declaration:
            self._replace(record, declaration, resolution)
        if by is not record.by:
            record.by = by
            self._table.mark_changed(record)
            self._table.count_member(record)
        self._set_resolution(record, resolution)

    def _replace(self, record: Record, declaration: Declaration, resolution: float) -> None:
        feeders, record.declaration = record.declaration.feeders, self._table.share(declaration)
        record.resolution = resolution
        if declaration.feeders is not feeders:
            members.follow_feeders(self._table, record, feeders)
        members.show_first(record)  # with another timeout that may be another one
        self._table.mark_changed(record)
        self._table.note_timeout(declaration)
        self._table.arm(record)


def in_force(record: Record) -> Declaration:
    """The operator's declaration, with the learnt timeout where that is wanted."""
    policy = record.policy
    assert policy is not None
    if policy.auto is None:
        return policy.declaration
    gaps = None if record.details is None else record.details.gaps
    timeout = adaptive_timeout.in_force(policy.auto, gaps, record.declaration.timeout)
    return policy.declaration._replace(timeout=timeout)


def decoded_always(record: Record) -> bool:
    """Whether each feed must be looked at, because a rate limit or a learnt timeout needs it."""
    policy = record.policy
    return policy is not None and (policy.min_interval is not None or policy.auto is not None)
