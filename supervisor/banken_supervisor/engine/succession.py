"""To lead, and to follow: what becomes of incidents when another supervisor has them, or had.

All members hear every feed, so their timers are the same. Only the leader has open incidents. Whoever begins to
lead takes up those that the store has, over its own timers: a worker that was heard again meanwhile has recovered.
Then it judges what it has held (claim_gate.py). Whoever leads no longer puts its incidents back, without a word:
they are another's. An incident of a watchdog that was released after it opened, while nobody led, is over; where
a step of its ladder had made the process end, only an operator's word releases it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from banken_supervisor.engine.claim_gate import OF_SILENCE, Gate, Held, Role
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.ended_by_ladder import was_ended_by_ladder
from banken_supervisor.engine.hearing import NOTHING, Heard, Timer, heard, vouch
from banken_supervisor.engine.incidents import Incidents
from banken_supervisor.engine.lifecycle import Lifecycle
from banken_supervisor.engine.occurrence import Occurrence
from banken_supervisor.engine.record import Record, deadline
from banken_supervisor.engine.restore import Restore
from banken_supervisor.engine.snapshot import PastIncident, PastRun
from banken_supervisor.engine.states import State, Trigger
from banken_supervisor.engine.table import Table


@dataclass(eq=False)
class Succession:
    """``restore`` makes one that brings incidents back. Times are deadline time, seconds."""

    _table: Table
    _incidents: Incidents
    _lifecycle: Lifecycle
    _restore: Callable[[], Restore]
    _restored: dict[str, float] = field(default_factory=dict)
    """when watchdogs were fed that a former run of this supervisor has left: that is no word of theirs"""

    @property
    def gate(self) -> Gate:
        """Who this supervisor is, and the verdicts that wait."""
        return self._lifecycle.gate

    def lead(
        self,
        left: Iterable[PastIncident],
        now: float,
        out: list[Effect],
        spent: Mapping[str, Sequence[PastRun]] | None = None,
    ) -> list[str]:
        """Lead from now on, and go on with the incidents that are open. Names whose incident is over: their claims
        are void. ``spent``: by watchdog, what ran lately in incidents that are closed."""
        self.gate.role = Role.LEADER
        self._restore().count_spent(spent or {}, self.gate.is_local, now)
        void = [past.name for past in left if not self.adopt(past, now, out)]
        held, self.gate.held = self.gate.held, {}
        for name, each in held.items():
            record = self._table.by_name.get(name)
            if record is None or not record.is_judged:
                continue
            if record.is_group:
                self._table.look_at_group(record)  # its members may be well again: it is judged anew
            elif each.what.cause in OF_SILENCE:
                self._table.arm(record)  # it is due, and is judged like any other
            else:
                self._lifecycle.apply(record, each.what, now, out)
        return void

    def follow(self, now: float) -> list[tuple[str, str]]:
        """Follow from now on. The watchdogs whose incidents were put back, and these: what was not begun for them
        is another's to do."""
        if self.gate.role is Role.FOLLOWER:
            return []
        if self.gate.role is Role.ALONE:
            self._restored = {record.name: record.fed_at for record in self._table}
        self.gate.role = Role.FOLLOWER
        return [
            (record.name, incident)
            for record in list(self._table)
            if record.is_down and not self.gate.is_local(record)
            for incident in self._put_back(record)
        ]

    def open(self, name: str, incident: str, now: float, out: list[Effect]) -> bool:
        """The claim is in the store: open the incident under this id. False: it was withdrawn meanwhile."""
        held, record = self.gate.take(name), self._table.by_name.get(name)
        if held is None or record is None or not record.is_judged:
            return False
        self._lifecycle.apply(record, held.what._replace(incident=incident), now, out)
        if record.is_group:
            self._table.look_at_group(record)
        if held.was_fed:
            self._lifecycle.apply(record, Occurrence(Trigger.FEED), now, out)
        return True

    def heard(self, record: Record, now: float) -> Heard:
        """What was heard of the worker since this supervisor began."""
        return NOTHING if self.is_unheard(record) else heard(record, now)

    def acquit(self, name: str, other: Timer, now: float) -> None:
        """Another member has heard the worker: its timer goes on as it does there."""
        held, record = self.gate.take(name), self._table.by_name.get(name)
        if held is None or record is None:
            return
        if record.is_judged:
            assert held.what.cause is not None
            vouch(record, held.what.cause, other, now)
            if record.state is State.WAITING:
                self._table.await_feeds(record)
        self._table.arm(record)

    def recover(self, name: str, other: Timer, now: float, out: list[Effect]) -> None:
        """Another member hears a worker again that has an open incident: that ends as by a feed, and its timer goes
        on as it does there."""
        record = self._table.by_name.get(name)
        incident = None if record is None else record.detailed().open_incident
        if record is None or incident is None:
            return
        fed_at = record.fed_at
        self._lifecycle.apply(record, Occurrence(Trigger.FEED), now, out)
        record.fed_at = fed_at
        vouch(record, incident.cause, other, now)
        self._table.arm(record)

    def adopt(self, past: PastIncident, now: float, out: list[Effect]) -> bool:
        """Go on with an incident that another member has opened. False: it is over, and nobody has said so yet."""
        record, held = self._table.by_name.get(past.name), self.gate.take(past.name)
        is_well = record is not None and self._is_well(record, held, past, now)
        timers = None if record is None or not is_well else _timers(record)
        released = self._table.released.get(past.name)
        by_operator = past.name in self._table.released_by_operator
        record = self._restore().adopt(past, now, out)
        if record is None:
            return False
        if held is not None and held.what.death is not None:
            record.detailed().note_death(held.what.death)
        if (event := self._incidents.replay(past.name, now)) is not None:
            # Whether its former leader could still tell it is not known. Who hears it twice knows it by its id.
            data = {key: value for key, value in event.data.items() if key != "replay"}
            out.append(Event(EventType.EXPIRED, past.name, {**data, "adopted": True}))
        if timers is not None:
            self._lifecycle.apply(record, Occurrence(Trigger.FEED), now, out)
            record.fed_at = timers[0]
            record.detailed().progress_at = timers[1]
            self._table.arm(record)
        least = past.age if past.age_least is None else past.age_least
        if released is not None and now - released < least and (by_operator or not was_ended_by_ladder(record)):
            self._lifecycle.apply(record, Occurrence(Trigger.RELEASE), now, out)
            self._table.note_released(past.name, released, by_operator=by_operator)
        return True

    def _put_back(self, record: Record) -> list[str]:
        """Its incident is another's: it is a verdict that is held."""
        details = record.detailed()
        incident = details.open_incident
        if incident is None:
            return []
        details.incident = details.given_up = None
        self._table.move(record, State.ALIVE)
        cause = incident.cause
        what = Occurrence(
            Trigger.DEADLINE, due=deadline(record), cause=cause, reason=incident.reason, death=incident.death
        )
        self._lifecycle.apply(record, what, incident.opened, [])
        return [incident.id]

    def is_unheard(self, record: Record) -> bool:
        """Whether all that is known of it is what a former run of this supervisor has left."""
        return self._restored.get(record.name) == record.fed_at

    def _is_well(self, record: Record, held: Held | None, past: PastIncident, now: float) -> bool:
        """Whether what was heard of it ends this incident. A failure that is held was not fed over. One that is not
        was perhaps never heard here: only a feed after it ends it."""
        if held is not None and held.what.cause not in OF_SILENCE:
            return False
        timer = self.heard(record, now).of(past.cause)
        if timer is None or past.cause in OF_SILENCE:
            return timer is not None
        return timer.age < (past.age if past.age_least is None else past.age_least)


def _timers(record: Record) -> tuple[float, float | None]:
    return record.fed_at, None if record.details is None else record.details.progress_at
