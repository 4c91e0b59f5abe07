"""Checks that a ladder can work: each step can act, comes in order, and names what exists."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any

from banken_supervisor.actions.registry import GROUP
from banken_supervisor.config.faults import KeyPath, Problem
from banken_supervisor.config.parsing import Parsed
from banken_supervisor.config.steps import ACTIONS, StepFields
from banken_supervisor.text.durations import format_s
from banken_supervisor.text.quoting import quoted, suggestion

Steps = Sequence[StepFields | None]
"""None: one that had a fault of its own."""


@dataclass(frozen=True, slots=True)
class LadderOwner:
    """The watchdog or group that a ladder belongs to."""

    restartable: str | None
    """why it cannot be started again; None: it can"""
    process: str | None
    """why no process of it can be signalled; None: it can"""
    gives_up: bool = False
    """whether it can be given up without a budget on a step"""


class StepNames:
    """Names that steps may use."""

    def __init__(self, parsed: Parsed, callbacks: Collection[str] = ()) -> None:
        self.callbacks = {*parsed.bound["callbacks"], *callbacks}
        self.notify = parsed.bound["notify"]
        self._own = parsed.bound["actions"]

    @cached_property
    def actions(self) -> set[str]:
        """The actions of banken, of the file, and of installed distributions."""
        return {*ACTIONS, *self._own, *(point.name for point in entry_points(group=GROUP))}


def unbound(name: str, known: Collection[str], section: str) -> str:
    """The message about a name that the section does not have."""
    hint = suggestion(name, known)
    names = ", ".join(sorted(known)) or "nothing"
    return f"{quoted(name)} is bound nowhere: [{section}] has {names}{'; ' if hint else ''}{hint}"


def ladder(path: KeyPath, steps: Steps, owner: LadderOwner, known: StepNames) -> Iterator[Problem]:
    """What is wrong with the steps of one ladder."""
    for place, step in enumerate(steps):
        if step is None:
            continue
        here = (*path, place)
        yield from _step(here, step, owner, known)
        yield from _budget(here, step)
        before = steps[place - 1] if place else None
        if before is not None and step.after < before.after:
            yield Problem(
                (*here, "after"),
                f"{format_s(step.after)} is before the step above it ({format_s(before.after)}); "
                "steps stand in the order of their time after the verdict",
            )
        elif before is not None and before.repeat is not None and before.repeat >= step.after - before.after:
            yield Problem(
                (*path, place - 1, "repeat"),
                f"never happens: the next step is due {format_s(step.after - before.after)} after this one",
            )


def give_up(
    path: KeyPath, last_steps: Steps, steps: Steps, owner: LadderOwner, known: StepNames
) -> Iterator[Problem]:
    """What is wrong with ``on_give_up``."""
    if any(last_steps) and not owner.gives_up and all(step and not _budgeted(step) for step in steps):
        yield Problem(path, "never happens: it is given up when a step's budget is spent, and no step has a budget")
    for place, step in enumerate(last_steps):
        if step is None:
            continue
        here = path if len(last_steps) == 1 else (*path, place)
        yield from _step(here, step, owner, known)
        for key in ("after", "repeat", "budget", "backoff"):
            if key in step.model_fields_set:
                yield Problem((*here, key), "has no meaning here: the steps of on_give_up run once, at once")


def _step(path: KeyPath, step: StepFields, owner: LadderOwner, known: StepNames) -> Iterator[Problem]:
    chosen: Any = step  # every kind of step has ``do``, each with its own type
    do: str = chosen.do
    action = ACTIONS.get(do)
    if do == "dump" and step.first:
        yield Problem((*path, "first"), "has no meaning on dump: it is for what must not wait for the evidence")
    if do not in known.actions:
        allowed = sorted(known.actions)
        hint = suggestion(do, allowed)
        text = f"{quoted(do)} is no action; {hint}{' ' if hint else ''}allowed: {', '.join(allowed)}"
        yield Problem((*path, "do"), text)
    elif do == "restart" and owner.restartable is not None:
        yield Problem((*path, "do"), f"restart can never act here: {owner.restartable}")
    elif action is not None and action.needs_process and owner.process is not None:
        yield Problem((*path, "do"), f"{do} can never act here: {owner.process}")
    elif do == "callback" and chosen.callback not in known.callbacks:
        yield Problem((*path, "callback"), unbound(chosen.callback, known.callbacks, "callbacks"))
    elif do == "notify" and chosen.to not in known.notify:
        yield Problem((*path, "to"), unbound(chosen.to, known.notify, "notify"))


def _budget(path: KeyPath, step: StepFields) -> Iterator[Problem]:
    do: str = step.do  # type: ignore[attr-defined]  # every kind of step has it, each with its own type
    action = ACTIONS.get(do)
    if step.budget is not None and step.repeat is None and action is not None and not action.brings_back:
        useful = sorted(name for name, each in ACTIONS.items() if each.brings_back)
        yield Problem(
            (*path, "budget"),
            f"has no meaning on {do} without repeat: it limits runs that repeat, or that bring a worker back "
            f"({', '.join(useful)})",
        )
    if step.backoff is not None and not _budgeted(step):
        yield Problem((*path, "backoff"), "needs a budget too: it grows with the runs within the budget's period")


def _budgeted(step: StepFields) -> bool:
    """``restart`` has a budget where the file gives none."""
    chosen: Any = step
    return step.budget is not None or chosen.do == "restart"
