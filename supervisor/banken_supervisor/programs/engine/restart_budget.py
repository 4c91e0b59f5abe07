"""Which automatic restarts were made and are planned, and whether one more keeps to all budgets.

A restart counts from the moment its process is spawned, which a backoff and a group's round put off. Until then it
is planned, and counts too: so no window of any budget's period ever holds more restarts than its count. A restart
that a group's strategy forces on others is one restart of the group, and none of theirs.
"""

from __future__ import annotations

from collections import Counter, deque

from banken_supervisor.engine.ladder import Budget, within_budget
from banken_supervisor.engine.policy import Group, ProgramSpec

Key = tuple[str, str]
"""Whose budget: ("program" or "group", its name)."""


class Spending:
    """The restarts of all programs. Times are deadline time, seconds."""

    def __init__(self) -> None:
        self._made: dict[Key, deque[float]] = {}
        self._plans: dict[str, list[Key]] = {}
        """of each program that waits for its restart: the budgets that it is charged to"""
        self._planned: Counter[Key] = Counter()

    def spent(
        self, spec: ProgramSpec, groups: tuple[Group, ...], now: float, when: float
    ) -> tuple[str, Budget] | None:
        """Whose budget allows no restart at ``when``, and which; None: it may be planned."""
        for key, budget in _budgets(spec, groups):
            made = self._made.get(key, deque())
            while made and now - made[0] >= budget.period:
                made.popleft()
            if not within_budget([*made, *[when] * self._planned[key]], when, budget):
                return key[1], budget
        return None

    def plan(self, spec: ProgramSpec, groups: tuple[Group, ...]) -> None:
        """One restart will be made."""
        self.cancel(spec.name)
        self._plans[spec.name] = [key for key, _ in _budgets(spec, groups)]
        self._planned.update(self._plans[spec.name])

    def made(self, name: str, now: float) -> None:
        """Its process is spawned: if that was planned, it is a restart now."""
        for key in self._plans.get(name, ()):
            self._made.setdefault(key, deque()).append(now)
        self.cancel(name)

    def cancel(self, name: str) -> None:
        """It will not be made, or was asked for meanwhile and no longer counts."""
        for key in self._plans.pop(name, ()):
            self._planned[key] -= 1
            if not self._planned[key]:
                del self._planned[key]

    def forget(self, name: str, groups: tuple[Group, ...] = ()) -> None:
        """A clean sheet for a program, and for these groups."""
        for key in (("program", name), *(("group", each.name) for each in groups)):
            self._made.pop(key, None)


def _budgets(spec: ProgramSpec, groups: tuple[Group, ...]) -> list[tuple[Key, Budget]]:
    found: list[tuple[Key, Budget]] = [(("program", spec.name), spec.budget)]
    found.extend((("group", each.name), each.budget) for each in groups if each.budget is not None)
    return found
