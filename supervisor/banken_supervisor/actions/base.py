"""What all actions share: what they are told, what they may ask for, and what they answer."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from banken.protocol.incidents import Incident
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.processes.process_group import ProcessGroup

LIMIT_S = 30.0
"""Seconds an action may run unless it says otherwise; then it is reported as stuck and its thread replaced."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What one run of an action is about."""

    incident: Incident
    who: ProcessIdentity | None = None
    """the process that feeds the watchdog; None: none is known"""
    level: str | None = None
    """the step's word for people and routing: warning, critical, emergency"""
    step: int = 0
    """index of the step; those of ``on_give_up`` count on after the ladder's last, and so differ from them"""
    run: int = 1
    """which run of this step in this incident"""
    program: str | None = None
    """the supervisor's own program behind the watchdog; None: it is somebody else's process"""
    link: str | None = None
    """where people can read more"""
    page: str | None = None
    """where people can see everything"""
    evidence: Mapping[str, Any] | None = None
    """what ``dump`` found earlier in this incident; the executor fills it in when it knows"""
    feeds: tuple[tuple[float, float], ...] = ()
    """the last feeds as the action was begun, of each the age and the gap before it, seconds; the newest last"""
    recovered: bool = False
    """True: the incident is over, and this says so; its ``silence`` is then how long it lasted"""
    how: str = "fed"
    """how it was over: fed, released, paused, reborn …"""
    others: tuple[Subject, ...] = ()
    """what the same message is to tell beside this: only an action that has a ``target`` is given any"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run. The executor bounds the text and the data, whatever an action puts there."""

    ok: bool
    text: str = ""
    """one sentence for people"""
    data: dict[str, Any] = field(default_factory=dict)


HANDED = Outcome(True)
"""The outcome of a run that only handed its subject on: whoever got it reports what becomes of it."""


class World(Protocol):
    """What actions may ask of the supervisor. Called from the executor's threads, many at once.

    The first six are about one process and never touch another one that has got its pid: ``identity.Processes`` has
    them. OSError: the system refused to tell (no descriptor left, for one).
    """

    def here(self, who: ProcessIdentity) -> bool:
        """Whether this process is, or was, one of this host's present boot: only such a one can be looked at."""

    def alive(self, who: ProcessIdentity) -> bool:
        """Whether it has not ended. A zombie has."""

    def signal(self, who: ProcessIdentity, number: int) -> bool:
        """Send a signal; False: it has ended, is not of this host, or is the supervisor itself."""

    def wait_gone(self, who: ProcessIdentity, seconds: float) -> bool:
        """Wait for its end, at most so long; whether it came."""

    def state(self, who: ProcessIdentity) -> str:
        """Its state in words, with what it waits for in the kernel: ``D (uninterruptible wait) in nfs_wait``."""

    def group(self, who: ProcessIdentity) -> ProcessGroup | None:
        """The process group that it leads; None: it leads none. The caller closes it."""

    def restart(self, program: str) -> None:
        """Ask the loop to restart one of its programs; returns at once."""

    def collect(self, subject: Subject, seconds: float) -> Mapping[str, Any]:
        """Evidence of what the process does, taken within so many seconds."""

    def summary(self, evidence: Mapping[str, Any], lines: int) -> Sequence[str]:
        """The first lines that a person should read of some evidence."""

    def callback(self, name: str, incident: Incident) -> None:
        """Call what is bound to ``name`` here and now, and raise what it raises; LookupError: nothing is."""

    def urls(self, target: str) -> Sequence[str]:
        """The apprise URLs of a notification target: secrets. LookupError: there is no such target."""

    def log(self, level: int, text: str) -> None:
        """Have one line written, without waiting for it."""


class Action(ABC):
    """One thing that a step can do. Made once per step and used by many threads: a run keeps nothing in it.

    A subclass takes its options as keyword arguments, checks them when it is made, and raises ValueError with what
    is allowed. A user's own action is such a class: named in the config as ``module:Class``, or by an entry point
    of the group ``banken.actions``.
    """

    name: ClassVar[str]

    outside: ClassVar[bool] = False
    """True: it waits for something that is not ours, a server or a command. Such runs never take all threads, so
    that a network that is down does not keep the supervisor from killing and restarting."""

    target: Hashable | None = None
    """whom it tells. Of actions of one name that have the same target many runs at once may become one, which is
    given all but the first as ``Subject.others``. None: each runs by itself"""

    limit_s: float = LIMIT_S
    """seconds until a run counts as stuck"""

    hidden: tuple[str, ...] = ()
    """texts that must not be told to anyone: the executor puts *** in their place"""

    @abstractmethod
    def run(self, subject: Subject, world: World, ended: threading.Event) -> Outcome:
        """Do it. To raise is to fail, with the traceback as the text.

        ``ended`` is set when the incident ends, and when the supervisor stops: whoever waits should wait no longer.
        """

    def __repr__(self) -> str:
        return f"<action {self.name}>"  # no options: some are secrets
