"""How a watchdog is fed: its gaps, its rate, and whether a feed ends the incident that is open.

Most feeds are known by their bytes and only store a time (engine.py). A watchdog with ``min_interval`` or a learnt
timeout needs more: it is never known by its bytes, so that each of its feeds is decoded and looked at here. Of all
other watchdogs one gap per timeout is measured: when the deadline queue re-arms a watchdog, its next feed is
decoded. That is one decoded feed in a timeout. Long gaps have a better chance to be the one that is measured, so
the sample errs towards longer timeouts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from banken.protocol.incidents import Cause
from banken_supervisor.engine import adaptive_timeout, rate_limit
from banken_supervisor.engine.adaptive_timeout import Gaps
from banken_supervisor.engine.declarations import Declarations, decoded_always
from banken_supervisor.engine.effects import Effect
from banken_supervisor.engine.feed_history import FeedHistory
from banken_supervisor.engine.record import Record
from banken_supervisor.engine.states import State
from banken_supervisor.engine.table import Table

OBSERVED_MAX = 10_000
"""With more watchdogs than this, gaps are seen of those with a learnt timeout only: a summary has 400 bytes."""


@dataclass(eq=False)
class FeedObserver:
    """``uncredited`` and ``behind`` are the caller's to set before feeds are taken."""

    _table: Table
    _history: FeedHistory
    _declarations: Declarations
    uncredited: float = 0.0
    """seconds by which deadline time is behind real time since the start"""
    behind: float = 0.0
    """how late a feed that is taken now may be, seconds (rate_limit.Backlog)"""

    def sample(self, record: Record) -> None:
        """It was fed since it was armed: have its next feed looked at, and measure the gap."""
        few = len(self._table) <= OBSERVED_MAX
        if few and record.state is State.ALIVE and not decoded_always(record):
            details = record.detailed()
            if details.extended_until is None and details.work_due is None and not details.frames:
                details.sampled = True
                self._table.forget_frames(record)

    def observe(self, record: Record, now: float, out: list[Effect]) -> None:
        """A feed has come; the last one is still in ``fed_at``."""
        details = record.details
        sampled = details is not None and details.sampled and not details.new_feeder
        self._history.note_decoded(record, now, sampled=sampled)
        auto = None if record.policy is None else record.policy.auto
        if auto is None and (details is None or not details.sampled):
            return
        details = record.detailed()
        usable = details.extended_until is None and not details.new_feeder
        details.sampled = details.new_feeder = False
        gap = now - record.fed_at
        if record.state is State.EXPIRED and details.cause is Cause.TIMEOUT:
            gap = min(gap, adaptive_timeout.HANG_SHARE * record.declaration.timeout)
        elif record.state is not State.ALIVE:
            return
        if not usable:
            return
        if details.gaps is None:
            details.gaps = Gaps()
        details.gaps.add(gap)
        if auto is not None:
            self._declarations.apply_learnt(record, out)

    def too_fast(self, record: Record, now: float) -> bool:
        """Whether this feed came too soon after the others."""
        policy = record.policy
        if policy is None or policy.min_interval is None or record.state is State.PAUSED:
            return False
        details = record.detailed()
        real = now + self.uncredited
        details.bucket = rate_limit.fed(details.bucket, real, self.behind, policy.min_interval)
        return details.bucket.fast

    @staticmethod
    def new_feeder(record: Record) -> None:
        """Another process feeds it: the former one's rate, and the gap since its last feed, mean nothing."""
        if record.feed_times is not None:
            record.feed_times.clear()
        if record.details is not None:
            record.details.bucket = None
            record.details.new_feeder = True

    @staticmethod
    def keeps_incident(record: Record, now: float) -> bool:
        """Whether a feed leaves the incident open: it is still fed too fast, its progress still stands still, or
        what it was to do has still not happened."""
        details = record.details
        if details is None or details.open_incident is None:
            return False
        if details.demand is not None and details.demand.due <= now:
            return True
        if details.cause is Cause.TOO_FAST and details.bucket is not None:
            if details.bucket.calm < rate_limit.CALM:
                return True
            details.bucket = None  # the next incident needs as much evidence as this one
        if details.cause is Cause.NO_PROGRESS and details.progress_at is not None:
            return details.progress_at != now
        return False

    @staticmethod
    def keeps_failure(record: Record, began: float | None) -> bool:
        """Whether what is said of work leaves an incident open: the worker said that it failed, and its work is
        over, or is the same as then. ``began``: when it began; None: there is none."""
        details = record.details
        incident = None if details is None else details.open_incident
        if incident is None or incident.failed_at is None:
            return False
        return began is None or began <= incident.failed_at


def suggestion(record: Record) -> dict[str, Any]:
    """One watchdog as ``banken suggest`` shows it; seconds. ``proposed``: None while too little was seen."""
    policy = record.policy
    auto = None if policy is None else policy.auto
    gaps = None if record.details is None else record.details.gaps
    needed = adaptive_timeout.FEW if auto is None else auto.warm_up
    return {
        "name": record.name,
        "timeout": record.declaration.timeout,
        "auto": None if auto is None else [auto.least, auto.most],
        "gaps": 0 if gaps is None else gaps.count,
        "needed": needed,
        "longest": None if gaps is None else gaps.longest,
        "proposed": (None if gaps is None or gaps.count < needed else round(adaptive_timeout.proposal(gaps), 3)),
    }
