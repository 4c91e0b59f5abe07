"""The registry: what the journal has of each watchdog, as it changes, and what a new supervisor makes of it.

The core notes whose record has changed (``Roll.changed``); here it is written, in portions, so that ten thousand
declarations at once keep nobody from the loop. Feeds change nothing that is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING

from banken.clock import wall
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.engine.effects import Effect, Event, EventType, WatchProcess
from banken_supervisor.engine.record import Record
from banken_supervisor.engine.snapshot import Checkpoint, PastIncident, PastRun, Snapshot, checkpoint
from banken_supervisor.engine.states import State
from banken_supervisor.journal import (
    Cleared,
    Condition,
    Declared,
    Entry,
    IncidentRecord,
    Released,
    Restored,
    StepRun,
)
from banken_supervisor.journal.reading import OpenIncident
from banken_supervisor.outbox.outbox import Outbox

if TYPE_CHECKING:
    from banken_supervisor.engine.driver import Driver
    from banken_supervisor.processes.process_watcher import ProcessWatcher

PORTION_S = 0.005
"""Seconds of one turn of the loop that writing may take; the rest follows in the next turns."""

LOOK_AFTER = 32
"""Records between two looks at the clock."""

QUEUED_MAX = 20_000
"""Entries that wait for the disk, above which the registry waits itself: incidents come first."""

WAIT_S = 0.05
"""Seconds until it looks again, then."""


class Checkpoints:
    """One run's registry. Belongs to the loop's thread."""

    def __init__(self, driver: Driver, outbox: Outbox) -> None:
        self._engine = driver.engine
        self._driver = driver
        self._outbox = outbox
        self._journal = outbox.journal
        self._names: deque[str] = deque()
        """of ``changed``, copied: to look for a dict's first key again and again steps over every deleted one"""
        self._again: deque[Record] = deque()
        """open incidents to be written once more, into a file that is new"""
        self._state = "opening"
        """the journal's, as it was told last"""
        self._engine.table.tracks_changes = True
        outbox.registered = self._entry
        outbox.last_words = self._rest

    def restore(
        self,
        process_watcher: ProcessWatcher,
        is_program: Callable[[str], bool],
        trust: Callable[[ProcessIdentity], None],
    ) -> tuple[int, int]:
        """Bring back what was left: how many watchdogs, and open incidents. Once, before the loop turns.

        Whose process has ended meanwhile is judged for it. The others are given to ``trust``: one that hangs in
        SIGSTOP does not connect to the new supervisor any more, and the former one has known it.
        """
        left, self._outbox.left = self._outbox.left, None
        if left is None:
            return 0, 0
        driver, found = self._driver, list[Effect]()
        counts = self._engine.restore(remembered(left, wall()), driver.now, found, is_program)
        for effect in found:
            if isinstance(effect, WatchProcess) and process_watcher.ended(effect.process):
                self._engine.gone(effect.process, driver.now, is_program)
            else:
                if isinstance(effect, WatchProcess):
                    trust(effect.process)
                driver.out.append(effect)
        return counts

    def patience(self) -> float | None:
        """Seconds until ``turn`` has something to do; None: nothing."""
        if not self._engine.table.changed and not self._again:
            return None
        return WAIT_S if self._journal.queued >= QUEUED_MAX else 0.0

    def turn(self) -> None:
        """Write what has changed, or a portion of it."""
        changed = self._engine.table.changed
        until = monotonic() + PORTION_S
        count = 0
        while (changed or self._again) and self._journal.queued < QUEUED_MAX:
            if self._again:
                self._incident_again(self._again.popleft())
            else:
                self._next(changed)
            count += 1
            if count % LOOK_AFTER == 0 and monotonic() >= until:
                return

    def _next(self, changed: dict[str, None]) -> None:
        if not self._names:
            self._names.extend(changed)
        entry = self._entry(self._names.popleft())
        if entry is not None:
            self._journal.record(entry)
        if not changed:
            self._names.clear()
            changed.clear()  # a dict that was emptied key by key keeps the places of all of them

    def _rest(self, until: float) -> None:
        """Record what ``turn`` has not come to, before the journal is closed. ``until``: monotonic time."""
        while (self._again or self._engine.table.changed) and monotonic() < until:
            if self._again:
                self._incident_again(self._again.popleft())
            else:
                self._next(self._engine.table.changed)

    def conditioned(self, condition: Condition, out: list[Effect]) -> None:
        """Tell of a change. Where entries were lost, or the file is a new one: all once more, in portions."""
        before, self._state = self._state, condition.state
        if condition.state != before and not (before == "opening" and condition.state == "ok"):
            out.append(Event(EventType.JOURNAL, None, {"state": condition.state, "reason": condition.reason}))
        if not condition.resync:
            return
        self._journal.record(Cleared())
        for record in self._engine.table:
            self._engine.table.changed[record.name] = None
            if record.details is not None and record.details.incident is not None:
                self._again.append(record)

    def _entry(self, name: str) -> Entry | None:
        """What is to be written of a name, if something is; it is then taken for written."""
        if name not in self._engine.table.changed:
            return None
        del self._engine.table.changed[name]
        record = self._engine.get(name)
        if record is None:
            return Released(name)
        kept = checkpoint(record, self._driver.now)
        if kept is None:
            return None
        at = wall()
        until = None if kept.left is None else at + kept.left
        return Declared(
            name,
            kept.declaration,
            kept.resolution,
            kept.owner,
            kept.state,
            until,
            kept.operator,
            kept.incidents,
            at,
        )

    def _incident_again(self, record: Record) -> None:
        incident = record.details.incident if record.details is not None else None
        if incident is None:
            return
        at, now = wall(), self._driver.now
        opened = at - (now - incident.opened)
        silence = max(0.0, incident.opened - record.fed_at)
        timeout = record.declaration.timeout
        self._journal.record(
            IncidentRecord(incident.id, record.name, incident.cause, opened, silence, timeout, incident.reason)
        )
        steps = () if record.policy is None else (*record.policy.ladder.steps, *record.policy.ladder.on_give_up)
        for number, count in incident.step_counts.items():
            if number < len(steps):
                self._journal.record(StepRun(incident.id, number, count, steps[number].do, at))


def remembered(left: Restored, wall: float) -> Snapshot:
    """What the journal has, for the core: wall-clock times as ages. ``wall``: the time now."""

    def ran(runs: Iterable[StepRun]) -> tuple[PastRun, ...]:
        return tuple(PastRun(each.step, each.run, each.action, max(0.0, wall - each.started)) for each in runs)

    def begun(incident: OpenIncident) -> PastIncident:
        record = incident.opened
        return PastIncident(
            record.id,
            record.name,
            record.cause,
            max(0.0, wall - record.opened),
            record.silence,
            record.timeout,
            record.reason,
            record.status,
            record.progress,
            steps=ran(incident.steps),
        )

    watched = [each for each in left.registry if each.state is not State.RELEASED]
    return Snapshot(
        [_known(each, left.counts.get(each.name, 0), wall) for each in watched],
        [begun(each) for each in left.open],
        {name: begun(each) for name, each in left.given_up.items()},
        {name: ran(runs) for name, runs in left.ran.items()},
    )


def _known(entry: Declared, incidents: int, wall: float) -> Checkpoint:
    return Checkpoint(
        entry.name,
        entry.declaration,
        entry.resolution,
        entry.owner,
        entry.state,
        None if entry.paused_until is None else entry.paused_until - wall,
        entry.operator,
        max(entry.incidents, incidents),
    )
