"""Checkpoints: writes each changed watchdog to the journal's registry, and restores the registry at the start.

The engine marks changed records (``Table.changed``). They are written here in portions, so that ten thousand
declarations at once do not block the loop. A feed changes nothing that is written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import inf
from time import monotonic

from banken.clock import wall
from banken.process_identity import boot_id
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import Effect, Event, EventType, WatchProcess
from banken_supervisor.engine.last_feeds import is_long
from banken_supervisor.engine.policy import Window
from banken_supervisor.engine.record import Record
from banken_supervisor.engine.snapshot import (
    Checkpoint,
    PastFeed,
    PastIncident,
    PastRun,
    Snapshot,
    checkpoint,
    last_feed,
)
from banken_supervisor.engine.states import State
from banken_supervisor.journal import (
    GIVEN_UP,
    Cleared,
    ClockHistory,
    Condition,
    Declared,
    Entry,
    IncidentRecord,
    LastFeed,
    Reading,
    Released,
    Restored,
    StepRun,
)
from banken_supervisor.journal.store import CLOCK_S
from banken_supervisor.outbox.outbox import Outbox
from banken_supervisor.processes.process_watcher import ProcessWatcher

PORTION_S = 0.005
"""Seconds of one turn of the loop for writing; the rest follows in the next turns."""

CHECK_EVERY = 32
"""Records between two checks of the clock."""

QUEUED_MAX = 20_000
"""While more entries wait for the disk, no checkpoint is written: incidents come first."""

WAIT_S = 0.05
"""Seconds until the next attempt in that case."""


class Checkpoints:
    """The checkpoints of one run. Belongs to the loop's thread."""

    def __init__(self, driver: Driver, outbox: Outbox) -> None:
        self._engine = driver.engine
        self._driver = driver
        self._outbox = outbox
        self._journal = outbox.journal
        self._names: deque[str] = deque()
        """a copy of ``changed``: finding the first key of a dict again and again is slow after many deletions"""
        self._to_rewrite: deque[Record] = deque()
        """records whose open incidents must be written again, to a new file"""
        self._boot = boot_id().hex()
        self._recorded_since: float | None = None
        """when all began to be recorded anew, monotonic time; None: that is done"""
        self._was_read = True
        self.waits: Callable[[str], bool] = lambda name: False
        """whether an event about this name is not recorded yet: its checkpoint comes after that"""
        self.is_proved: Callable[[ProcessIdentity], bool] = lambda process: True
        """whether a process said itself that it is this one"""
        self._condition = Condition("opening")
        """the journal's condition that was published last"""
        self._engine.table.tracks_changes = True
        outbox.clock = lambda: driver.now
        outbox.checkpoint_of = self._entry
        outbox.flush_checkpoints = self._flush
        outbox.journal_changed = self._journal_changed

    def restore(
        self,
        process_watcher: ProcessWatcher,
        trust: Callable[[ProcessIdentity], None],
        windows_ended: Callable[[float], Mapping[Window, float]] = lambda seconds: {},
    ) -> tuple[int, int]:
        """Restore the state of the earlier supervisor. Call once, before the first turn.

        ``windows_ended``: the maintenance windows that ended within so many seconds before now, and how long ago.

        Returns the number of watchdogs and of open incidents. A process that has ended since is judged for that.
        The others are passed to ``trust``: a process in SIGSTOP cannot connect to the new supervisor, and the
        earlier one has verified it. (Not what was only named by others.)
        """
        left, self._outbox.left = self._outbox.left, None
        if left is None:
            return 0, 0
        self._was_read = left.was_read
        driver, found = self._driver, list[Effect]()
        history = ClockHistory(left.clocks, Reading.now())
        snapshot = snapshot_from(left, history)
        if left.clocks:
            last = left.clocks[-1]
            away = history.age_of_ticks(last.boot, last.until) + CLOCK_S
            snapshot = replace(snapshot, window_ends=windows_ended(away), host_up=monotonic())
        counts = self._engine.restore(snapshot, driver.now, found)
        proved = {process for each in snapshot.watchdogs if each.proved for process in each.processes}
        for effect in found:
            if isinstance(effect, WatchProcess) and effect.process.boot != boot_id():
                self._engine.on_purpose.rebooted(effect.process, driver.now, driver.out)
            if isinstance(effect, WatchProcess) and process_watcher.ended(effect.process):
                self._engine.processes.gone(effect.process, driver.now)
            else:
                if isinstance(effect, WatchProcess) and effect.process in proved:
                    trust(effect.process)
                driver.out.append(effect)
        return counts

    def patience(self) -> float | None:
        """Seconds until ``turn`` has something to do; None: nothing."""
        table = self._engine.table
        if not table.changed and not table.fed and not self._to_rewrite:
            return self._engine.last_feeds.patience(self._driver.now)
        all_wait = (
            not self._names
            and not table.fed
            and all(self.waits(each.name) for each in self._to_rewrite)
            and all(map(self.waits, table.changed))
        )
        return WAIT_S if all_wait or self._journal.queued >= QUEUED_MAX else 0.0

    def turn(self) -> None:
        """Write the changes, or a portion of them."""
        self._engine.last_feeds.turn(self._driver.now)
        self._write(monotonic() + PORTION_S, QUEUED_MAX)

    def _flush(self, until: float) -> None:
        """Write all changes, until ``until``: monotonic time. All there is, if the file is new or was taken away:
        no turn comes after this, in which that is heard of."""
        condition = self._journal.condition
        if self._journal.has_moved() or (condition.resync and condition is not self._condition):
            self._write_all()
        self._names.clear()
        self._write(until, inf)

    def _write(self, until: float, queued_max: float) -> None:
        changed = self._engine.table.changed
        count = 0
        fed = self._engine.table.fed
        later = list[Record]()
        if not self._names:
            self._names.extend(changed)
        while (self._names or fed or self._to_rewrite) and self._journal.queued < queued_max:
            if self._to_rewrite:
                record = self._to_rewrite.popleft()
                if self.waits(record.name):
                    later.append(record)  # its verdict, which says more of it, is not recorded yet
                else:
                    self._rewrite_incident(record)
            elif self._names:
                self._next(changed)
            else:
                self._write_last_feed(fed.popitem()[0])
            count += 1
            if count % CHECK_EVERY == 0 and monotonic() >= until:
                break
        self._to_rewrite.extend(later)
        if self._recorded_since is not None and not (changed or fed or self._to_rewrite):
            if self._was_read:
                self._journal.record(Cleared(self._boot, self._recorded_since))
            self._recorded_since = None

    def _next(self, changed: dict[str, None]) -> None:
        name = self._names.popleft()
        if self.waits(name):
            return
        entry = self._entry(name)
        if entry is not None:
            self._journal.record(entry)
        if not changed:
            self._names.clear()
            changed.clear()  # a dict that was emptied key by key keeps its size

    def _write_last_feed(self, name: str) -> None:
        record = self._engine.get(name)
        if record is not None and record.is_judged and is_long(record):
            found = last_feed(record, self._driver.now)
            self._journal.record(
                LastFeed(name, self._boot, monotonic(), found.silent, found.held, found.progress, found.still)
            )

    def _journal_changed(self, condition: Condition) -> None:
        """Publish a change of the journal's condition. If entries were lost or the file is new, write all again."""
        before, self._condition = self._condition.state, condition
        if condition.state != before and not (before == "opening" and condition.state == "ok"):
            data = {"state": condition.state, "reason": condition.reason}
            self._driver.out.append(Event(EventType.JOURNAL, None, data))
        if condition.resync:
            self._write_all()

    def _write_all(self) -> None:
        self._recorded_since = monotonic()
        for record in self._engine.table:
            self._engine.table.changed[record.name] = None
            if record.details is not None and record.details.open_incident is not None:
                self._to_rewrite.append(record)

    def _entry(self, name: str) -> Entry | None:
        """The entry to write for a name, or None. It then counts as written."""
        if name not in self._engine.table.changed:
            return None
        del self._engine.table.changed[name]
        record = self._engine.get(name)
        if record is None:
            return Released(name)
        saved = checkpoint(record, self._engine.table.program_of, self._driver.now)
        if saved is None:
            return Released(name)
        if is_long(record):
            self._engine.table.fed[name] = None
        saved = saved._replace(proved=all(map(self.is_proved, saved.processes)))
        at = wall()
        # The same fields in the same order; only the end of a pause is an age there and wall clock here.
        until = None if saved.left is None else at + saved.left
        return Declared(*saved._replace(left=until), changed=at, boot=self._boot, ticks=monotonic())

    def _rewrite_incident(self, record: Record) -> None:
        incident = None if record.details is None else record.details.open_incident
        if incident is None:
            return
        at, now = wall(), self._driver.now
        opened = at - (now - incident.opened)
        silence = max(0.0, incident.opened - record.fed_at)
        timeout = record.declaration.timeout
        self._journal.record(
            IncidentRecord(
                incident.id, record.name, incident.cause, opened, silence, timeout, incident.reason,
                how=None if record.incident else GIVEN_UP,
            )
        )  # fmt: skip
        steps = () if record.policy is None else (*record.policy.ladder.steps, *record.policy.ladder.on_give_up)
        for number, count in incident.step_counts.items():
            if number < len(steps):
                self._journal.record(StepRun(incident.id, number, count, steps[number].do, at))


def snapshot_from(left: Restored, clocks: ClockHistory) -> Snapshot:
    """The content of the journal as a snapshot for the engine, with ages instead of wall-clock times."""
    age = clocks.age

    def runs_from(runs: Iterable[StepRun]) -> tuple[PastRun, ...]:
        return tuple(PastRun(each.step, each.run, each.action, age(each.started)) for each in runs)

    def incident_from(opened: IncidentRecord, runs: Iterable[StepRun]) -> PastIncident:
        return PastIncident(
            opened.id,
            opened.name,
            opened.cause,
            age(opened.opened),
            opened.silence,
            opened.timeout,
            opened.reason,
            opened.status,
            opened.progress,
            steps=runs_from(runs),
            given_up=opened.how == GIVEN_UP,
        )

    return Snapshot(
        [
            _checkpoint_from(each, left.counts.get(each.name, 0), clocks)
            for each in left.registry
            if each.state is not State.RELEASED
        ],
        [incident_from(each.opened, each.steps) for each in left.open],
        {name: runs_from(runs) for name, runs in left.ran.items()},
        {
            name: PastFeed(
                each.silent,
                each.held,
                each.progress,
                each.still,
                clocks.age_of_ticks(each.boot, each.ticks),
                clocks.age_of_ticks(each.boot, each.ticks, off_counts=False),
            )
            for name, each in left.feeds.items()
        },
    )


def _checkpoint_from(entry: Declared, incidents: int, clocks: ClockHistory) -> Checkpoint:
    # A pause has the length that it had, whatever was done to the wall clock since: both times are of one reading.
    until, left = entry.paused_until, None
    if until is not None:
        age = clocks.age_of_ticks(entry.boot, entry.ticks) if entry.boot else clocks.age(entry.changed)
        left = until - entry.changed - age
    return Checkpoint(
        entry.name,
        entry.declaration,
        entry.resolution,
        entry.owner,
        entry.state,
        left,
        entry.by,
        entry.awaited,
        entry.maintained,
        entry.program,
        max(entry.incidents, incidents),
        entry.members,
        entry.proved,
        entry.is_check,
        entry.extended,
        entry.unfed,
        entry.heard,
    )
