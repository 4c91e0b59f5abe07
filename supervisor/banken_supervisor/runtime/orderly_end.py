"""How a member of a cluster ends in order: what it has not begun is given back, to the leader or to the next one.

Belongs to the loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from banken_supervisor.runtime.claimed_steps import ClaimedSteps
from banken_supervisor.runtime.claimed_work import ClaimedWork
from banken_supervisor.runtime.store_answers import StoreAnswers

ASKED_S = 0.4
"""Seconds that the leader has to ask what became of its steps here: it asks ten times a second."""

ANSWER_LOOK_S = 0.05
"""Seconds between two looks, at the end of a leader, whether there is more to be written."""

GIVE_BACK_SHARE = 0.5
"""The part of the time for its end in which a leader writes what it has not begun."""


class ForLeader(Protocol):
    """The steps that are done here for the leader."""

    def stop(self) -> None:
        """Nothing more is begun for it."""

    def is_awaited(self) -> bool:
        """Whether the leader has not heard yet what became of one."""


@dataclass(eq=False)
class OrderlyEnd:
    """``take_reports``: takes what is reported of actions. ``waits_for_others``: whether an action waits for
    another member, which is told at once that this one ends."""

    _work: ClaimedWork
    _steps: ClaimedSteps
    _answers: StoreAnswers
    for_leader: ForLeader | None = None
    take_reports: Callable[[], None] = lambda: None
    waits_for_others: Callable[[], bool] = lambda: False
    _asked_until: float | None = None
    """monotonic time; None: it has not begun"""

    def begin(self) -> None:
        """The loop is to end, and first tells the leader what it does not begin for it."""
        self._asked_until = monotonic() + ASKED_S
        if self.for_leader is not None:
            self.for_leader.stop()

    def is_awaited(self) -> bool:
        """Whether the leader is to be waited for."""
        if self.for_leader is None or self._asked_until is None:
            return False
        return monotonic() < self._asked_until and self.for_leader.is_awaited()

    def patience(self, now: float) -> float | None:
        """Seconds until the leader is not waited for any more; None: it is not. ``now``: monotonic time."""
        until = self._asked_until
        return None if until is None or until <= now else until - now

    def give_back(self, until: float) -> None:
        """Write what was not begun, and what has ended, while that can be: the next leader reads it at once."""
        work = self._work
        work.give_back()
        self._steps.give_back()
        waited = False
        while work.claims is not None:
            waits = self.waits_for_others()  # asked first: what has ended then is reported
            if waits or waited:  # what else ends is not waited for
                self.take_reports()
            waited = waits
            work.turn(monotonic())
            left = until - monotonic()
            if left <= 0.0 or not (waits or work.is_writing):
                return
            self._answers.wait(min(left, ANSWER_LOOK_S))
