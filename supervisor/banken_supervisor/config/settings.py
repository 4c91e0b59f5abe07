"""A config file as frozen, checked data of the engine's own types."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from banken.errors import Refused
from banken_supervisor.config.faults import Fault
from banken_supervisor.config.placed_checks import RUNNER_POLICY, PlacedCheck, runner_program
from banken_supervisor.coordination.settings import ClusterSettings, UpwardSettings
from banken_supervisor.engine.policy import Group, Policy, ProgramSpec
from banken_supervisor.text.secret import Secret

if TYPE_CHECKING:  # a Config needs no pydantic, the model of its settings does
    from banken_supervisor.config.models import SupervisorTable


@dataclass(frozen=True, slots=True)
class Config:
    """One config file, whole."""

    source: Path
    settings: SupervisorTable
    policies: tuple[tuple[str, Policy], ...] = ()
    """(name or pattern, policy): of checks, then in the order of the file; a program's watchdog under the program's
    name"""
    groups: tuple[Group, ...] = ()
    programs: tuple[ProgramSpec, ...] = ()
    """each process on its own: ``numprocs`` is resolved; in the order of the file"""
    callbacks: tuple[tuple[str, str], ...] = ()
    """(name, ``module:function``)"""
    actions: tuple[tuple[str, str], ...] = ()
    """(name, ``module:Class``): the user's own actions"""
    notify: tuple[tuple[str, tuple[Secret, ...]], ...] = ()
    """(name, apprise URLs)"""
    outsiders: tuple[tuple[str, str], ...] = ()
    """(name, ``notify_access``) of the watchdogs that are no programs, and speak by sd_notify"""
    withheld: tuple[str, ...] = ()
    """variables of the environment that secrets were read from; what is started does not inherit them"""
    empty: bool = field(default=False, compare=False)
    """there is no key in the file: it may be one that is being written, or that a full disk cut"""

    cluster: ClusterSettings | None = None
    """None: the supervisor is alone"""
    upward: UpwardSettings | None = None
    """None: it feeds no other supervisor"""
    checks: tuple[PlacedCheck, ...] = ()
    """in the order of the file; the watchdogs of those of programs come after the others"""
    warnings: tuple[Fault, ...] = field(default=(), compare=False)
    """what is allowed and may not be meant"""

    @property
    def own_programs(self) -> tuple[tuple[ProgramSpec, Policy], ...]:
        """Programs that the supervisor needs for itself, each with the policy of its watchdog."""
        return ((runner_program(), RUNNER_POLICY),) if self.checks else ()

    def refuse_empty(self) -> None:
        """Refused: the file is empty. To take it would stop every program."""
        if self.empty:
            raise Refused(
                f"{self.source} is empty: no key stands in it, perhaps because it is being written, or the disk is "
                "full. To run without programs and watchdogs give --allow-empty, or write [supervisor] into it"
            )

    @property
    def directory(self) -> str:
        """Where the file lies: relative paths in it start there, and its modules are imported from there too."""
        return str(self.source.parent)
