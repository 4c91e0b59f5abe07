"""Escalation as data, and the arithmetic of climbing it.

A ladder is a row of rungs, each with the time after the verdict at which it is due. An incident climbs until a
feed ends it. When the top is reached, the last rung that repeats goes on repeating; a rung whose budget is spent
ends the climb: the watchdog is given up, once, and ``on_give_up`` runs.

A budget is Erlang's restart intensity: at most ``runs`` runs within any ``period``; one more is not done.
Backoff is exponential with jitter (after M. Brooker, "Exponential Backoff And Jitter", 2015): the n-th run within
the period waits between ``least`` and ``least * 2**n``, at most ``most``. The random number is an argument.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

RUNGS_MAX = 32
"""Rungs of one ladder."""


class Budget(NamedTuple):
    """At most ``runs`` runs in any ``period`` seconds."""

    runs: int
    period: float


class Backoff(NamedTuple):
    """Seconds to wait before the run, from ``least``, doubling with each run, to ``most``."""

    least: float
    most: float


class Rung(NamedTuple):
    """One step. Times in seconds after the verdict."""

    do: str
    """the action's name"""
    after: float = 0.0
    level: str | None = None
    """a word for people and routing: warning, critical, emergency"""
    repeat: float | None = None
    """run again this often until the next rung is due or the incident ends"""
    budget: Budget | None = None
    backoff: Backoff | None = None
    options: tuple[tuple[str, Any], ...] = ()
    """the action's own settings"""


class Ladder(NamedTuple):
    """All steps of one watchdog's escalation, in the order of ``after``."""

    rungs: tuple[Rung, ...]
    on_give_up: tuple[Rung, ...] = ()
    observe: bool = False
    """record what would be done, and do nothing"""


class Key(NamedTuple):
    """What a rung is known by from one config to the next, so that what it did still counts.

    What it does and with which options, and which of several equal ones it is, from 0.
    """

    do: str
    options: Hashable
    nth: int


class Step(NamedTuple):
    """What is to be done next in one climb."""

    when: float
    """deadline time, seconds"""
    rung: int
    """index into ``Ladder.rungs``"""


def key_of(ladder: Ladder, index: int) -> Key:
    """The key of the rung at ``index``; those of ``on_give_up`` count on after the last, as they do in events.

    Budget, backoff, times and level are no part of it: whoever changes a budget wants it to count what was done.
    IndexError: there is no such rung.
    """
    rungs = ladder.rungs + ladder.on_give_up
    rung = rungs[index]
    nth = sum(each.do == rung.do and each.options == rung.options for each in rungs[:index])
    return Key(rung.do, _hashable(rung.options), nth)


def _hashable(value: Any) -> Hashable:
    """The options of a user's own action may hold tables and lists."""
    if isinstance(value, Mapping):
        return "table", tuple((key, _hashable(value[key])) for key in sorted(value))
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(each) for each in value)
    assert isinstance(value, Hashable)
    return value


def first(ladder: Ladder, opened: float) -> Step | None:
    """The first step of a climb that begins at ``opened``; None for an empty ladder."""
    return Step(opened + ladder.rungs[0].after, 0) if ladder.rungs else None


def following(ladder: Ladder, opened: float, done: Step, now: float) -> Step | None:
    """The step after ``done``, which was taken at ``now``; None: nothing more will happen by itself.

    A repetition that would fall at or after the next rung's time gives way to that rung. Repetitions that were
    missed are not made up for.
    """
    rung = ladder.rungs[done.rung]
    upward = None
    if done.rung + 1 < len(ladder.rungs):
        upward = Step(opened + ladder.rungs[done.rung + 1].after, done.rung + 1)
    if rung.repeat is None:
        return upward
    again = Step(done.when + rung.repeat if done.when + rung.repeat > now else now + rung.repeat, done.rung)
    return again if upward is None or again.when < upward.when else upward


def found_again(before: Ladder, after: Ladder, step: Step, began: float) -> Step | None:
    """Where a climb that began at ``began``, and whose next step on ``before`` was ``step``, goes on on ``after``.

    At the same rung and the same time, wherever that stands now. Is it gone, at the rung that now follows the last
    one before it that is left; that may be due at once. None: there is no such rung.
    """
    keys = [key_of(after, index) for index in range(len(after.rungs))]
    for index in range(step.rung, -1, -1):
        key = key_of(before, index)
        if key in keys:
            place = keys.index(key)
            if index == step.rung:
                return Step(step.when, place)
            place += 1
            break
    else:
        place = 0
    return Step(began + after.rungs[place].after, place) if place < len(after.rungs) else None


def within_budget(runs: Sequence[float], now: float, budget: Budget) -> bool:
    """Whether one more run at ``now`` keeps to the budget, given the times of earlier ones."""
    return sum(1 for at in runs if now - at < budget.period) < budget.runs


def delay(backoff: Backoff, earlier: int, random: float) -> float:
    """Seconds to wait before a run that ``earlier`` runs preceded; ``random`` is in [0, 1).

    Between ``least`` and the cap for this run, so that a first retry is never immediate.
    """
    cap = min(backoff.most, backoff.least * 2.0 ** min(earlier, 64))
    return backoff.least + random * max(0.0, cap - backoff.least)
