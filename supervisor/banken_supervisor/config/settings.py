"""A config file as frozen, checked data of the engine's own types."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from banken.protocol.messages import Declaration
from banken_supervisor.engine.digest import Limits
from banken_supervisor.engine.policy import Group, Policy, ProgramSpec
from banken_supervisor.text.secret import Secret

CALLBACK_LIMIT = 30.0
CALLBACK_THREADS = 64
STOP_LIMIT = 5.0
KEEP_AGE = 30 * 86400.0
KEEP_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Retention:
    """How much the journal keeps; what is older, or beyond the size, goes first."""

    age: float = KEEP_AGE
    """seconds"""
    bytes_max: int = KEEP_BYTES


@dataclass(frozen=True, slots=True)
class Settings:
    """The supervisor's own. Durations in seconds."""

    address: str | None = None
    """None: ``$BANKEN_ADDRESS``, else the default"""
    callback_limit: float = CALLBACK_LIMIT
    callback_threads: int = CALLBACK_THREADS
    stop_limit: float = STOP_LIMIT
    """the supervisor has stopped within this time, even while callbacks hang"""
    refuse_undeclared: bool = False
    """True: a name that neither file nor worker declares is refused"""
    declaration: Declaration = field(default_factory=Declaration)
    """for what is left out: by an undeclared name, and by the file's own tables"""
    journal: str | None = None
    """file; None: ``journal.db`` in the address's directory"""
    retention: Retention = field(default_factory=Retention)
    url: str | None = None
    """public address of the web page, without a slash at its end, for links in notices"""
    fold: Limits = field(default_factory=Limits)
    """when notices to one target become one message"""

    @property
    def defaults(self) -> Declaration | None:
        """As ``Supervisor(defaults=…)`` takes it."""
        return None if self.refuse_undeclared else self.declaration


@dataclass(frozen=True, slots=True)
class Config:
    """One config file, whole."""

    source: Path
    settings: Settings
    policies: tuple[tuple[str, Policy], ...] = ()
    """(name or pattern, policy), in the order of the file; a program's watchdog under the program's name"""
    groups: tuple[Group, ...] = ()
    programs: tuple[ProgramSpec, ...] = ()
    """each process on its own: ``numprocs`` is resolved; in the order of the file"""
    callbacks: tuple[tuple[str, str], ...] = ()
    """(name, ``module:function``)"""
    actions: tuple[tuple[str, str], ...] = ()
    """(name, ``module:Class``): the user's own actions"""
    notify: tuple[tuple[str, tuple[Secret, ...]], ...] = ()
    """(name, apprise URLs)"""

    @property
    def directory(self) -> str:
        """Where the file lies: relative paths in it start there, and its modules are imported from there too."""
        return str(self.source.parent)
