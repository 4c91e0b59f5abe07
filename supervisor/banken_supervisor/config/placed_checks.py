"""Checks in their places: what each is called and is of, and the program that runs them."""

from __future__ import annotations

from typing import NamedTuple

from banken.protocol.messages import Declaration, Exit, Feeders
from banken_supervisor.engine.checks import RUNNER
from banken_supervisor.engine.ladder import Backoff, Budget, Ladder, Step
from banken_supervisor.engine.policy import NEVER, CheckRule, Policy, ProgramSpec, Restart
from banken_supervisor.processes import own_modules

RUNNER_TIMEOUT_S = 0.6
"""Seconds that the process which runs the checks may be silent: it feeds six times in that."""

RUNNER_GRACE_S = 15.0

_OFTEN = Budget(100_000, 86400.0)
"""It is started again for ever: without it no check has a result."""


class PlacedCheck(NamedTuple):
    """One check of one name."""

    name: str
    """of its watchdog"""
    of: str
    """its owner: a watchdog, or a process of a program"""
    is_programs: bool
    """whether that is a program of the supervisor's"""
    table: str
    """as the file has it, in JSON: ``${ENV}`` in it is not expanded"""
    label: str
    every: float
    limit: float
    fails: int
    is_readiness: bool = False
    """it makes its owner ready"""


def check_name(owner: str, place: int) -> str:
    """The name of an owner's check; ``place``: which it is in the file, from 0."""
    return f"{owner}/check" if place == 0 else f"{owner}/check-{place + 1}"


def policy_of_readiness(check: PlacedCheck) -> Policy:
    """What holds for the watchdog of a check of readiness: it is never a verdict of its own."""
    never = Declaration(NEVER, NEVER, NEVER, Feeders.LATEST, exit=Exit.NEVER)
    rule = CheckRule(check.of, check.label, check.every, check.fails, is_readiness=True)
    return Policy(never, depends_on=(check.of,), is_local=True, check=rule)


def policy_of_check(check: PlacedCheck, owner: Policy, grace: float) -> Policy:
    """What holds for the watchdog of a check: its owner's ladder, and its own deadline. ``grace``: seconds."""
    said = owner.declaration
    return Policy(
        Declaration(
            round(check.every * (check.fails + 1), 3), said.interval, grace, Feeders.LATEST, said.callback,
            exit=Exit.NEVER,
        ),
        owner.ladder,
        depends_on=(check.of, *owner.depends_on),
        maintenance=owner.maintenance,
        expect=not check.is_programs,
        is_local=True,
        check=CheckRule(check.of, check.label, check.every, check.fails),
    )  # fmt: skip


def runner_program() -> ProgramSpec:
    """The program that runs the checks. It feeds like any worker, ends with the supervisor, and has the variables
    that secrets of checks come from."""
    return ProgramSpec(
        RUNNER,
        tuple(own_modules.command("banken_supervisor", "checks", "serve")),
        stop_signal="SIGKILL",
        stop_timeout=1.0,
        restart=Restart.ALWAYS,
        budget=_OFTEN,
        backoff=Backoff(0.05, 0.3),
        dies_with_supervisor=True,
    )


RUNNER_POLICY = Policy(
    Declaration(RUNNER_TIMEOUT_S, 20.0, RUNNER_GRACE_S, Feeders.LATEST, exit=Exit.INCIDENT),
    Ladder((Step("restart", first=True, budget=_OFTEN),)),
    expect=True,
    is_local=True,
)
