"""From a deadline to a verdict: what has come up is swept, the fed are armed again, the rest are judged.

When a verdict may fall is decided by barrier.py; what it does, by the table in states.py.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from banken_supervisor.engine.checks import Checks
from banken_supervisor.engine.effects import Effect, Fault
from banken_supervisor.engine.fair_queue import FairQueue
from banken_supervisor.engine.feed_observer import FeedObserver
from banken_supervisor.engine.incidents import cause_of
from banken_supervisor.engine.lifecycle import Lifecycle
from banken_supervisor.engine.long_reads import LongReads
from banken_supervisor.engine.members import show_first
from banken_supervisor.engine.occurrence import Occurrence
from banken_supervisor.engine.on_purpose import OnPurpose
from banken_supervisor.engine.process_lifecycle import ProcessLifecycle
from banken_supervisor.engine.quorum import Quorums, settle
from banken_supervisor.engine.record import Record, deadline
from banken_supervisor.engine.states import State, Trigger
from banken_supervisor.engine.table import Table
from banken_supervisor.engine.waiting import Waiting

BEHIND_TIMES = 10
"""While messages of a watchdog's process wait to be taken (waiting.py), it may be silent so many times as long."""

LOOK_AGAIN_S, LOOK_EACH_S = 0.05, 0.0005
"""Seconds until it is looked at again whether what a process sent is taken, and so many more for each message that
waits."""

DEFERRED_S = 0.05
"""Seconds until an incident is looked at again that a leader may not go on with (claim_gate.py)."""

RETRY_S = 1.0
"""Seconds until a watchdog is looked at again whose verdict raised an exception."""


@dataclass(eq=False)
class Verdicts:
    """Times are deadline time, seconds."""

    _table: Table
    _observer: FeedObserver
    _lifecycle: Lifecycle
    _processes: ProcessLifecycle
    _on_purpose: OnPurpose
    _quorums: Quorums
    _waiting: Waiting
    _checks: Checks
    _suspects: FairQueue[Hashable, Record] = field(default_factory=FairQueue)
    """in turn (turns.py): a process with ten thousand watchdogs delays no other's verdict"""
    _long_reads: LongReads = field(default_factory=LongReads)

    def read_long(self, stamp: float, seconds: float) -> None:
        """What was stamped ``stamp`` may have arrived so much later: reading it all took that long."""
        self._long_reads.add(stamp, seconds)

    def sweep(self, now: float, out: list[Effect]) -> int:
        """Arm again what was fed meanwhile. Returns how many are left, for ``judge``."""
        for record in self._table.deadlines.pop_due(now):
            try:
                self._look_at(record, now)
            except Exception as error:  # noqa: BLE001  # one watchdog's fault is not the others'
                self._failed(record, error, now, out)
        return len(self._suspects)

    def judge(self, horizon: float, now: float, out: list[Effect], limit: int = 1000) -> bool:
        """Verdicts on all suspects that were due by ``horizon``, at most ``limit``. True: some are left."""
        for _ in range(min(limit, len(self._suspects))):
            record = self._suspects.take()
            try:
                self._judge_one(record, horizon, now, out)
            except Exception as error:  # noqa: BLE001  # one watchdog's fault is not the others'
                self._failed(record, error, now, out)
        return bool(self._suspects)

    def _look_at(self, record: Record, now: float) -> None:
        settle(record, now)
        show_first(record)
        due = self._due(record, now)
        if due is None:
            return
        if due > now:
            self._table.deadlines.arm(record, due)
            self._observer.sample(record)
        else:
            self._suspects.put(self._table.turns.of(record.name), record)

    def _judge_one(self, record: Record, horizon: float, now: float, out: list[Effect]) -> None:
        show_first(record)
        due, later = deadline(record), self._due(record, now)
        if due is None or later is None:
            return
        if later > horizon:
            self._table.deadlines.arm(record, later)
        elif (quorum := record.quorum) is not None and record.state is not State.PAUSED:
            self._quorums.judge(record, quorum, due, now, out)
        elif record.is_down and self._lifecycle.gate.defers(record):
            self._table.deadlines.arm(record, now + DEFERRED_S)
        elif _is_excused(record) and self._on_purpose.excuses(record, now, out):
            pass  # what it was blamed on is stopped on purpose by now
        elif record.is_down and record.exited:
            self._processes.judge_end(record, due, now, out)
        elif not record.is_judged:
            self._lifecycle.apply(record, Occurrence(Trigger.DEADLINE, due=due), now, out)
        elif record.is_check:
            self._checks.judge(record, due, now, out)
        elif record.exited:
            self._processes.judge_end(record, due, now, out)
        elif self._checks.is_unseen(record, due):
            self._table.deadlines.arm(record, now + DEFERRED_S)
        elif not self._processes.outlived(record, now, out) and not self._on_purpose.excuses(record, now, out):
            cause, reason = cause_of(record, due)
            what = Occurrence(Trigger.DEADLINE, due=due, cause=cause, reason=reason)
            self._lifecycle.apply(record, what, now, out)

    def _due(self, record: Record, now: float) -> float | None:
        """When it is to be judged; None: never, unless something happens. Its last feed may have arrived later than
        its stamp says, or wait to be taken."""
        due = deadline(record)
        if due is None:
            return None
        later = self._long_reads.delay_of(record.fed_at)
        waiting = self._waiting.elsewhere(record.name)
        if not self._waiting.is_calm:
            details = record.details
            feeding = (record.owner, *(() if details is None or details.members is None else details.members))
            waiting += sum(self._waiting.holds(record.name, process) for process in feeding)
        if not waiting or not record.is_judged or record.is_group:
            return due + later
        # It is judged when all that its process sent is taken; its silence also if it lasts ten times as long.
        again = now + LOOK_AGAIN_S + waiting * LOOK_EACH_S
        return again if record.exited else min(again, due + later + (BEHIND_TIMES - 1) * (due - record.fed_at))

    def _failed(self, record: Record, error: Exception, now: float, out: list[Effect]) -> None:
        """The record is looked at again after a while: it is not lost, and does not hold up the others."""
        out.append(Fault(record.name, error))
        self._table.deadlines.arm(record, now + RETRY_S)


def _is_excused(record: Record) -> bool:
    """Whether it has an incident that is not held against it, and would be from now on."""
    return record.incident is not None and (record.incident.recovering or record.incident.presumed)
