"""What the steps of closed incidents have used up of their budgets: in the store, so that a new leader does not
begin them anew. Belongs to the loop's thread.

Of the runs in an open incident its claim knows. When that is dropped, those of its runs that have a budget, or a
backoff, are written in the same transaction. Their times are those of the wall clock, of whichever member led.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from banken.clock import wall
from banken_supervisor.coordination.records import (
    SPENT,
    Claim,
    Foreign,
    SpentRun,
    pack_spent,
    unpack_spent,
)
from banken_supervisor.coordination.store import Snapshot
from banken_supervisor.engine.ladder import Ladder
from banken_supervisor.engine.snapshot import PastRun

AGE_MAX_S = 7 * 24 * 3600.0
"""Seconds for which a run is remembered."""

RUNS_MAX = 200
"""Runs of one watchdog that are remembered, the latest."""


@dataclass(eq=False)
class SpentBudgets:
    """As this member has read or written them last."""

    _runs: dict[str, tuple[SpentRun, ...]] = field(default_factory=dict)
    """by watchdog"""
    _foreign: set[str] = field(default_factory=set)
    """watchdogs of which something is in the store that is not understood: it is left alone"""

    def read(self, answer: Snapshot) -> list[str]:
        """This is in the store. The watchdogs of which nothing counts any more: it can be dropped."""
        self._runs.clear()
        self._foreign.clear()
        over = []
        for key, item in answer.items.items():
            name = key.removeprefix(SPENT)
            try:
                runs = _lately(unpack_spent(item.value))
            except Foreign:
                self._foreign.add(name)
                continue
            if runs:
                self._runs[name] = runs
            else:
                over.append(name)
        return over

    def close(self, name: str, claim: Claim, ladder: Ladder) -> bytes | None:
        """The incident of this claim is closed: what is to be written; None: nothing."""
        if name in self._foreign:
            return None
        steps = ladder.steps
        ran = tuple(
            SpentRun(each.step, each.action, each.at)
            for each in claim.begun
            if each.step < len(steps)
            and steps[each.step].do == each.action
            and (steps[each.step].budget is not None or steps[each.step].backoff is not None)
        )
        if not ran:
            return None
        self._runs[name] = _lately((*self._runs.get(name, ()), *ran))
        return pack_spent(self._runs[name])

    def past(self) -> Mapping[str, list[PastRun]]:
        """Of each watchdog what counts, as a restart would find it."""
        now = wall()
        return {
            name: [PastRun(each.step, 1, each.action, max(0.0, now - each.at)) for each in runs]
            for name, runs in self._runs.items()
        }


def _lately(runs: tuple[SpentRun, ...]) -> tuple[SpentRun, ...]:
    since = wall() - AGE_MAX_S
    return tuple(each for each in runs if each.at >= since)[-RUNS_MAX:]
