"""Escalation as data, and the arithmetic of climbing it.

A ladder is a row of steps, each with the time after the verdict at which it is due. An incident climbs until a
feed ends it. When the top is reached, the last step that repeats goes on repeating; a step whose budget is spent
ends the climb: the watchdog is given up, once, and ``on_give_up`` runs.

A budget is Erlang's restart intensity: at most ``runs`` runs within any ``period``; one more is not done.
Backoff is exponential with jitter (after M. Brooker, "Exponential Backoff And Jitter", 2015): the n-th run within
the period waits between ``least`` and ``least * 2**n``, at most ``most``. The random number is an argument.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

STEPS_MAX = 32
"""Steps of one ladder."""


class Budget(NamedTuple):
    """At most ``runs`` runs in any ``period`` seconds."""

    runs: int
    period: float


RESTARTS = Budget(3, 600.0)
"""Of restarts, where the operator gave none."""


class Backoff(NamedTuple):
    """Seconds to wait before the run, from ``least``, doubling with each run, to ``most``."""

    least: float
    most: float


class Step(NamedTuple):
    """One step. Times in seconds after the verdict."""

    do: str
    """the action's name"""
    after: float = 0.0
    level: str | None = None
    """a word for people and routing: warning, critical, emergency"""
    repeat: float | None = None
    """run again this often until the next step is due or the incident ends"""
    budget: Budget | None = None
    backoff: Backoff | None = None
    options: tuple[tuple[str, Any], ...] = ()
    """the action's own settings"""
    first: bool = False
    """begin at once, beside the steps that came before"""


class Ladder(NamedTuple):
    """All steps of one watchdog's escalation, in the order of ``after``."""

    steps: tuple[Step, ...]
    on_give_up: tuple[Step, ...] = ()
    observe: bool = False
    """record what would be done, and do nothing"""


class StepKey(NamedTuple):
    """What a step is known by from one config to the next, so that what it did still counts.

    What it does and with which options, and which of several equal ones it is, from 0.
    """

    do: str
    options: Hashable
    nth: int


class NextStep(NamedTuple):
    """What is to be done next in one climb."""

    when: float
    """deadline time, seconds"""
    number: int
    """of the step in ``Ladder.steps``"""


def step_key(ladder: Ladder, index: int) -> StepKey:
    """The key of the step at ``index``; those of ``on_give_up`` count on after the last, as they do in events.

    Budget, backoff, times and level are no part of it: whoever changes a budget wants it to count what was done.
    IndexError: there is no such step.
    """
    steps = ladder.steps + ladder.on_give_up
    step = steps[index]
    nth = sum(each.do == step.do and each.options == step.options for each in steps[:index])
    return StepKey(step.do, _hashable(step.options), nth)


def _hashable(value: Any) -> Hashable:
    """The options of a user's own action may hold tables and lists."""
    if isinstance(value, Mapping):
        return "table", tuple((key, _hashable(value[key])) for key in sorted(value))
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(each) for each in value)
    assert isinstance(value, Hashable)
    return value


def first_step(ladder: Ladder, opened: float) -> NextStep | None:
    """The first step of a climb that begins at ``opened``; None for an empty ladder."""
    return NextStep(opened + ladder.steps[0].after, 0) if ladder.steps else None


def following_step(ladder: Ladder, opened: float, done: NextStep, now: float) -> NextStep | None:
    """The step after ``done``, which was taken at ``now``; None: nothing more will happen by itself.

    A repetition that would fall at or after the next step's time gives way to that step. Repetitions that were
    missed are not made up for.
    """
    step = ladder.steps[done.number]
    upward = None
    if done.number + 1 < len(ladder.steps):
        upward = NextStep(opened + ladder.steps[done.number + 1].after, done.number + 1)
    if step.repeat is None:
        return upward
    again = NextStep(done.when + step.repeat if done.when + step.repeat > now else now + step.repeat, done.number)
    return again if upward is None or again.when < upward.when else upward


def step_after_reload(before: Ladder, after: Ladder, step: NextStep, began: float) -> NextStep | None:
    """Where a climb that began at ``began``, and whose next step on ``before`` was ``step``, goes on on ``after``.

    At the same step and the same time, wherever that stands now. Is it gone, at the step that now follows the last
    one before it that is left; that may be due at once. None: there is no such step.
    """
    keys = [step_key(after, index) for index in range(len(after.steps))]
    for index in range(step.number, -1, -1):
        key = step_key(before, index)
        if key in keys:
            place = keys.index(key)
            if index == step.number:
                return NextStep(step.when, place)
            place += 1
            break
    else:
        place = 0
    return NextStep(began + after.steps[place].after, place) if place < len(after.steps) else None


def within_budget(runs: Sequence[float], now: float, budget: Budget) -> bool:
    """Whether one more run at ``now`` keeps to the budget, given the times of earlier ones."""
    return sum(1 for at in runs if now - at < budget.period) < budget.runs


def delay(backoff: Backoff, earlier: int, random: float) -> float:
    """Seconds to wait before a run that ``earlier`` runs preceded; ``random`` is in [0, 1).

    Between ``least`` and the cap for this run, so that a first retry is never immediate.
    """
    cap = min(backoff.most, backoff.least * 2.0 ** min(earlier, 64))
    return backoff.least + random * max(0.0, cap - backoff.least)
