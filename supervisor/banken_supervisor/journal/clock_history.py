"""How long ago a wall-clock moment of the journal was, whatever was done to the wall clock since.

The wall clock may be wrong for a while, and be set by years; the monotonic clock may not, but begins anew with each
boot. So the journal keeps how the two went together: one ``ClockSpan`` for each boot, and one more for each step of
the wall clock. An age is then counted along the monotonic clock. The wall clock is needed for one thing only: how
long the host was off between two boots, and that is bounded.

Like the deadlines, an age does not grow while the host sleeps.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from banken.clock import wall
from banken.process_identity import boot_id
from banken_supervisor.journal.entries import ClockSpan

STEP_S = 0.5
"""Seconds by which the two clocks must differ from before for it to be a step of the wall clock."""

UNSEEN_S = 150.0
"""Seconds around a span in which a moment still belongs to it: spans are not written at each moment."""

OFF_MAX_S = 30 * 86_400.0
"""A host that seems to have been off for longer has a wrong clock: that time counts as nothing."""

BELIEVED_AFTER_S = 3600.0
"""Seconds since the boot until the wall clock is believed in what cannot be undone."""


class Reading(NamedTuple):
    """The clocks at one moment."""

    boot: str
    ticks: float
    """monotonic clock, seconds"""
    wall: float
    """seconds since 1970"""

    @classmethod
    def now(cls) -> Reading:
        """The clocks now."""
        return cls(boot_id().hex(), time.monotonic(), wall())


class ClockHistory:
    """``spans``: in the order in which they were written. ``now``: the present reading."""

    def __init__(self, spans: Iterable[ClockSpan], now: Reading) -> None:
        self._now = now
        self._spans = sorted(spans, key=lambda each: each.number)
        last = self._spans[-1] if self._spans else None
        self.current = extend(last, now)
        """the span that holds now, to be written: the last one, extended, or a new one"""
        if last is not None and last.number == self.current.number:
            self._spans.pop()
        self._spans.append(self.current)
        self._since_end = self._elapsed(self._spans)
        self._awake = self._elapsed(self._spans, off_max=0.0)

    def age(self, moment: float, *, off_counts: bool = True) -> float:
        """Seconds since the wall clock said ``moment``; never negative. A moment that fits no span belongs to the
        nearest. ``off_counts``: whether the time counts that the host was off, as far as it is known."""
        index = self._span_of(moment)
        span = self._spans[index]
        return self._age_in(index, moment - span.offset, off_counts=off_counts)

    def age_of_ticks(self, boot: str, ticks: float, *, off_counts: bool = True) -> float:
        """Seconds since the monotonic clock of the boot ``boot`` said ``ticks``; never negative."""
        for index in range(len(self._spans) - 1, -1, -1):
            span = self._spans[index]
            if span.boot == boot and (span.since <= ticks or index == 0 or self._spans[index - 1].boot != boot):
                return self._age_in(index, ticks, off_counts=off_counts)
        return self._age_in(0, self._spans[0].since, off_counts=off_counts)

    def moment_before(self, seconds: float) -> tuple[float, list[tuple[float, float]]] | None:
        """What the wall clock said ``seconds`` ago, and the (from, to) of what it said since then although it is
        less: while it was behind. None: the history does not reach so far.

        For what cannot be undone: the time that the host was off before the present boot counts when that boot has
        lasted ``BELIEVED_AFTER_S``.
        """
        believed = self._now.ticks >= BELIEVED_AFTER_S
        ends = self._elapsed(self._spans, believe_last=believed)
        index = len(self._spans) - 1
        while index >= 0 and ends[index] + _length(self._spans[index]) < seconds:
            index -= 1
        if index < 0:
            return None
        span = self._spans[index]
        cut = min(span.until, span.until - (seconds - ends[index])) + span.offset
        later = ((each.since + each.offset, each.until + each.offset) for each in self._spans[index + 1 :])
        return cut, [(begin, max(end, begin) + UNSEEN_S) for begin, end in later if begin < cut]

    def _span_of(self, moment: float) -> int:
        spans = self._spans
        for pad in (0.001, UNSEEN_S):  # a sum of such numbers is right to a microsecond
            for index in range(len(spans) - 1, -1, -1):
                span = spans[index]
                if span.since - pad <= moment - span.offset <= span.until + pad:
                    return index

        def distance(index: int) -> float:
            span = spans[index]
            ticks = moment - span.offset
            return max(span.since - ticks, ticks - span.until)

        return min(range(len(spans) - 1, -1, -1), key=distance)

    def _age_in(self, index: int, ticks: float, *, off_counts: bool) -> float:
        span = self._spans[index]
        ends = self._since_end if off_counts else self._awake
        before = max(0.0, span.since - ticks) if index == 0 else 0.0  # older than the history
        ticks = min(max(ticks, span.since), span.until + UNSEEN_S)
        return max(0.0, ends[index] + span.until - ticks) + min(before, OFF_MAX_S)

    @staticmethod
    def _elapsed(
        spans: Sequence[ClockSpan], off_max: float = OFF_MAX_S, *, believe_last: bool = True
    ) -> list[float]:
        """For each span the seconds from its end until now."""
        elapsed = [0.0] * len(spans)
        best = spans[-1].offset  # a boot's last is the best known of it
        last_boot = True
        for index in range(len(spans) - 2, -1, -1):
            span, later = spans[index], spans[index + 1]
            if _same_boot(span, later):
                gap = later.since - span.until
            else:
                gap = later.since  # it is up for so long already
                off = later.since + best - (span.until + span.offset) - gap
                if 0.0 < off <= off_max and (believe_last or not last_boot):
                    gap += off
                best, last_boot = span.offset, False
            elapsed[index] = elapsed[index + 1] + _length(later) + max(0.0, gap)
        return elapsed


def _length(span: ClockSpan) -> float:
    return span.until - span.since


def _same_boot(span: ClockSpan, later: ClockSpan) -> bool:
    """The monotonic clock is compared, too: some systems have no boot id."""
    return span.boot == later.boot and later.since >= span.until


def extend(last: ClockSpan | None, now: Reading) -> ClockSpan:
    """The span that holds ``now``: the last one, extended, or a new one."""
    offset = now.wall - now.ticks
    if last is None:
        return ClockSpan(1, now.boot, now.ticks, now.ticks, offset)
    if last.boot != now.boot or now.ticks < last.until:
        return ClockSpan(last.number + 1, now.boot, now.ticks, now.ticks, offset)
    if abs(offset - last.offset) > STEP_S:
        # Nobody knows when exactly it was set: from the last reading on.
        return ClockSpan(last.number + 1, now.boot, last.until, now.ticks, offset)
    return replace(last, until=now.ticks)
