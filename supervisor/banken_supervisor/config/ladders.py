"""Whether a ladder can do what it says: each step can act, in order, and names what is there."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from banken_supervisor.config import actions
from banken_supervisor.config.actions import StepFields
from banken_supervisor.config.faults import KeyPath, Problem, quoted
from banken_supervisor.config.parsing import Parsed
from banken_supervisor.text.durations import format_s

Steps = Sequence[StepFields | None]
"""None: one that had a fault of its own."""

ENTRY_POINTS = "banken.actions"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a ladder is for."""

    restartable: str | None
    """why it cannot be started anew; None: it can"""
    process: str | None
    """why no process of it can be signalled; None: it can"""
    gives_up: bool = False
    """whether it can be given up without a budget on a step"""


class Known:
    """Names that steps may use."""

    def __init__(self, parsed: Parsed, callbacks: Collection[str] = ()) -> None:
        self.callbacks = {*parsed.bound["callbacks"], *callbacks}
        self.notify = parsed.bound["notify"]
        self._own = parsed.bound["actions"]
        self._installed: set[str] | None = None

    def action(self, name: str) -> bool:
        """Whether there is an action of this name, here or installed."""
        return name in actions.STEPS or name in self._own or name in self.installed()

    def installed(self) -> set[str]:
        """Actions that other distributions bring."""
        if self._installed is None:
            self._installed = {point.name for point in entry_points(group=ENTRY_POINTS)}
        return self._installed

    def actions(self) -> list[str]:
        """All of them."""
        return sorted({*actions.STEPS, *self._own, *self.installed()})


def unbound(name: str, known: Collection[str], section: str) -> str:
    """What is said of a name that the section does not have."""
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{quoted(name)} is bound nowhere: [{section}] has {', '.join(sorted(known)) or 'nothing'}{hint}"


def ladder(path: KeyPath, steps: Steps, subject: Subject, known: Known) -> Iterator[Problem]:
    """What is wrong with the steps of one ladder."""
    for place, step in enumerate(steps):
        if step is None:
            continue
        here = (*path, place)
        yield from _step(here, step, subject, known)
        yield from _budget(here, step, known)
        before = steps[place - 1] if place else None
        if before is None:
            continue
        if step.after < before.after:
            yield Problem(
                (*here, "after"),
                f"{format_s(step.after)} is before the step above it ({format_s(before.after)}); "
                "steps stand in the order of their time after the verdict",
            )
        elif before.repeat is not None and before.repeat >= step.after - before.after:
            yield Problem(
                (*path, place - 1, "repeat"),
                f"never happens: the next step is due {format_s(step.after - before.after)} after this one",
            )


def give_up(path: KeyPath, last_steps: Steps, steps: Steps, subject: Subject, known: Known) -> Iterator[Problem]:
    """What is wrong with ``on_give_up``."""
    if any(last_steps) and not subject.gives_up and all(step and step.budget is None for step in steps):
        yield Problem(path, "never happens: it is given up when a step's budget is spent, and no step has a budget")
    for place, step in enumerate(last_steps):
        if step is None:
            continue
        here = path if len(last_steps) == 1 else (*path, place)
        yield from _step(here, step, subject, known)
        for key in ("after", "repeat", "budget", "backoff"):
            if key in step.model_fields_set:
                yield Problem((*here, key), "has no meaning here: what is done at giving up is done once, at once")


def _step(path: KeyPath, step: StepFields, subject: Subject, known: Known) -> Iterator[Problem]:
    chosen: Any = step
    do: str = chosen.do
    if not known.action(do):
        near = difflib.get_close_matches(do, known.actions(), 1)
        hint = f"did you mean {near[0]}? " if near else ""
        yield Problem((*path, "do"), f"{quoted(do)} is no action; {hint}allowed: {', '.join(known.actions())}")
    elif do == "restart" and subject.restartable is not None:
        yield Problem((*path, "do"), f"restart can never act here: {subject.restartable}")
    elif do in actions.NEED_PROCESS and subject.process is not None:
        yield Problem((*path, "do"), f"{do} can never act here: {subject.process}")
    elif do == "callback" and chosen.callback not in known.callbacks:
        yield Problem((*path, "callback"), unbound(chosen.callback, known.callbacks, "callbacks"))
    elif do == "notify" and chosen.to not in known.notify:
        yield Problem((*path, "to"), unbound(chosen.to, known.notify, "notify"))


def _budget(path: KeyPath, step: StepFields, known: Known) -> Iterator[Problem]:
    do: str = step.do  # type: ignore[attr-defined]  # every kind of step has it, each with its own type
    if step.budget is not None and step.repeat is None and do in actions.STEPS and do not in actions.BRING_BACK:
        yield Problem(
            (*path, "budget"),
            f"has no meaning on {do} without repeat: it limits runs that repeat, or that bring a worker back "
            f"({', '.join(sorted(actions.BRING_BACK))})",
        )
    if step.backoff is not None and step.budget is None:
        yield Problem((*path, "backoff"), "needs a budget too: it grows with the runs within the budget's period")
