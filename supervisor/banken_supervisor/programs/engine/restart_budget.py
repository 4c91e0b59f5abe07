"""Restart budgets: counts automatic restarts, made and planned, and decides whether one more is allowed.

A restart counts from the moment when its process is spawned; a backoff or a group restart delays that. Until then
it is planned, and counts too. So no sliding window of a budget's period contains more restarts than the budget
allows. When a group's strategy restarts further programs, the group is charged one restart and they are charged
none.
"""

from __future__ import annotations

from collections import Counter, deque

from banken_supervisor.engine.ladder import Budget, within_budget
from banken_supervisor.engine.policy import Group, ProgramSpec

RATE, BURST = 20.0, 100
"""Restarts of all programs together that end again and again: a second for long, and at once. Beyond that they
wait: a start costs milliseconds of a processor, so that forty programs which end at once would take all of it."""

Key = tuple[str, str]
"""Owner of a budget: ("program" or "group", name)."""


class RestartBudgets:
    """The budgets of all programs and groups. Times are deadline time, seconds."""

    def __init__(self) -> None:
        self._made: dict[Key, deque[float]] = {}
        self._plans: dict[str, list[Key]] = {}
        """by program with a planned restart: the budgets that it is charged to"""
        self._planned: Counter[Key] = Counter()

    def exhausted(
        self, spec: ProgramSpec, groups: tuple[Group, ...], now: float, when: float
    ) -> tuple[str, Budget] | None:
        """The first budget that allows no restart at ``when``: (owner, budget). None: a restart is allowed."""
        for key, budget in _budgets_of(spec, groups):
            made = self._made.get(key, deque())
            while made and now - made[0] >= budget.period:
                made.popleft()
            if not within_budget([*made, *[when] * self._planned[key]], when, budget):
                return key[1], budget
        return None

    def plan(self, spec: ProgramSpec, groups: tuple[Group, ...]) -> None:
        """Charge one planned restart to all budgets of this program."""
        self.cancel(spec.name)
        self._plans[spec.name] = [key for key, _ in _budgets_of(spec, groups)]
        self._planned.update(self._plans[spec.name])

    def record_spawn(self, name: str, now: float) -> None:
        """Its process is spawned: a planned restart becomes a restart that was made."""
        for key in self._plans.get(name, ()):
            self._made.setdefault(key, deque()).append(now)
        self.cancel(name)

    def cancel(self, name: str) -> None:
        """Drop the planned restart: it will not be made, or a request replaced it."""
        for key in self._plans.pop(name, ()):
            self._planned[key] -= 1
            if not self._planned[key]:
                del self._planned[key]

    def forget(self, name: str, groups: tuple[Group, ...] = ()) -> None:
        """Reset the budgets of a program and of these groups."""
        for key in (("program", name), *(("group", each.name) for each in groups)):
            self._made.pop(key, None)


class RestartPace:
    """A leaky bucket, kept as the time at which it will be empty (the generic cell rate algorithm, ITU-T I.371)."""

    def __init__(self) -> None:
        self._empty_at = 0.0

    def wait(self, now: float) -> float:
        """Seconds that the next restart has to wait."""
        return max(0.0, self._empty_at - now - BURST / RATE)

    def plan(self, now: float) -> None:
        """There is one more."""
        self._empty_at = max(self._empty_at, now) + 1 / RATE


def _budgets_of(spec: ProgramSpec, groups: tuple[Group, ...]) -> list[tuple[Key, Budget]]:
    found: list[tuple[Key, Budget]] = [(("program", spec.name), spec.budget)]
    found.extend((("group", each.name), each.budget) for each in groups if each.budget is not None)
    return found
