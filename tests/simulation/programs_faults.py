"""Planted faults in the core of the programs: each a plausible mistake, which the oracle has to notice."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from banken_supervisor.engine.ladder import Backoff, Budget
from banken_supervisor.engine.policy import Restart
from banken_supervisor.programs.engine import programs, restart_budget, sequencer
from banken_supervisor.programs.engine.groups import Grouping
from banken_supervisor.programs.engine.programs import Programs
from banken_supervisor.programs.engine.record import GroupRestart, Program, Wave
from banken_supervisor.programs.engine.restart_budget import RestartBudgets
from banken_supervisor.programs.engine.sequencer import Sequencer
from banken_supervisor.programs.engine.states import ProgramState


@dataclass(frozen=True)
class Fault:
    """A mistake, the findings of which one must show it, and where it is planted."""

    name: str
    says: str
    kinds: tuple[str, ...]
    target: Any
    attribute: str
    stand_in: Any

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The fault is in force inside."""
        with ExitStack() as stack:
            stack.enter_context(patch.object(self.target, self.attribute, self.stand_in))
            yield


def _one_more(runs: list[float], now: float, budget: Budget) -> bool:
    return sum(1 for at in runs if now - at < budget.period) <= budget.runs


def _short_memory(runs: list[float], now: float, budget: Budget) -> bool:
    return sum(1 for at in runs if now - at < budget.period / 2) < budget.runs


def _at_once(backoff: Backoff, earlier: int, random: float) -> float:
    return 0.0


def _beyond(backoff: Backoff, earlier: int, random: float) -> float:
    return backoff.least + backoff.most


def _everybody(self: Grouping, name: str) -> tuple[str, ...]:
    return tuple(each for each in self._mates.get(name, ()) if each != name)


class Upside(Wave):
    def __init__(self, upward: bool, ranked: Any, group_restart: GroupRestart | None = None) -> None:
        super().__init__(upward, ranked, group_restart)
        if not upward:
            self.levels.reverse()


class Together(Wave):
    def __init__(self, upward: bool, ranked: Any, group_restart: GroupRestart | None = None) -> None:
        super().__init__(upward, ranked, group_restart)
        if upward:
            self.levels = [[name for level in reversed(self.levels) for name in level]]


_gone = Programs._gone
_stop = Programs._stop
_ended = Programs._ended
_signal_if_turn = Sequencer.signal_if_turn
_restart_together = Sequencer.restart_together
_set_timer = Sequencer.set_timer
_plan = RestartBudgets.plan


def _counted(self: Programs, program: Program, status: int | None, now: float) -> None:
    if status is not None and program.group_restart is None and not program.again:
        program.state = ProgramState.RUNNING
        program.signalled = program.killed = False
        self._ended(program, status, now, 0.5)
        return
    _gone(self, program, status, now)


def _mates_left(self: Programs, programs: Any, now: float, why: str) -> None:
    if "given up" not in why:
        _stop(self, programs, now, why)


def _policy_forgotten(
    self: Programs, program: Program, status: int | None, now: float, random: float, **more: Any
) -> None:
    if program.spec.restart is Restart.ON_FAILURE:
        more["failed"] = True
    _ended(self, program, status, now, random, **more)


def _impatient(self: Sequencer, programs: list[Program], not_before: float, why: str, now: float) -> None:
    _restart_together(self, programs, now, why, now)


def _no_timeout(self: Sequencer, program: Program, now: float) -> None:
    _signal_if_turn(self, program, now)
    if program.signalled:
        program.due = None


def _mixed_up(self: Sequencer, item: Program | GroupRestart, when: float) -> None:
    # A timer for the same moment as the last one is taken for the same timer.
    if not (self._timers and abs(self._timers[-1][0] - when) < 0.02):
        _set_timer(self, item, when)


def _planned_free(self: RestartBudgets, spec: Any, groups: Any) -> None:
    _plan(self, spec, groups)
    self._planned.clear()


def _made_by_all(self: RestartBudgets, name: str, now: float) -> None:
    self._made.setdefault(("program", name), deque()).append(now)
    self.cancel(name)


def _nothing(*args: Any) -> None:
    return None


FAULTS = (
    Fault(
        "one-more",
        "One restart more than the budget.",
        ("give-up", "budget"),
        restart_budget,
        "within_budget",
        _one_more,
    ),
    Fault(
        "short-memory", "Half the period.", ("give-up", "budget"), restart_budget, "within_budget", _short_memory
    ),
    Fault("no-budget", "No budget at all.", ("give-up", "budget"), RestartBudgets, "exhausted", _nothing),
    Fault("at-once", "No backoff.", ("backoff",), programs, "delay", _at_once),
    Fault("beyond", "A backoff past its bound.", ("backoff",), programs, "delay", _beyond),
    Fault(
        "never-stable",
        "A stable run resets nothing.",
        ("backoff",),
        Program,
        "stable_run",
        property(lambda self: 1e9),
    ),
    Fault(
        "always-counted", "Requested starts count, too.", ("give-up",), RestartBudgets, "record_spawn", _made_by_all
    ),
    Fault(
        "stop-counted",
        "A requested stop is an end like any other.",
        ("strategy", "give-up", "lost"),
        Programs,
        "_gone",
        _counted,
    ),
    Fault(
        "no-strategy", "The group is forgotten.", ("strategy", "lost"), Grouping, "others", lambda self, name: ()
    ),
    Fault("all-for-one", "rest-for-one takes all.", ("strategy",), Grouping, "others", _everybody),
    Fault("stop-order", "Stopped in the order of starting.", ("strategy",), sequencer, "Wave", Upside),
    Fault("start-order", "All started at once.", ("strategy",), sequencer, "Wave", Together),
    Fault("impatient", "A round waits for no backoff.", ("backoff",), Sequencer, "restart_together", _impatient),
    Fault("no-timeout", "SIGKILL is forgotten.", ("stop", "lost"), Sequencer, "signal_if_turn", _no_timeout),
    Fault(
        "mixed-up",
        "Of two timers for about one moment one is lost.",
        ("lost", "stop", "backoff"),
        Sequencer,
        "set_timer",
        _mixed_up,
    ),
    Fault("mates-left", "Who cannot do without it runs on.", ("lost", "strategy"), Programs, "_stop", _mates_left),
    Fault(
        "policy", "on-failure starts after status 0.", ("policy", "give-up"), Programs, "_ended", _policy_forgotten
    ),
    Fault(
        "planned-free",
        "Restarts that wait are not counted.",
        ("give-up", "budget"),
        RestartBudgets,
        "plan",
        _planned_free,
    ),
)
