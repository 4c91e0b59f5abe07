"""What all actions share: what a run is about, what it may ask the supervisor for, and what it returns."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from banken.model import Incarnation, Incident
from banken_supervisor.processes.process_group import ProcessGroup

LIMIT_S = 30.0
"""Seconds an action may run unless it says otherwise; then it is reported as stuck and its thread replaced."""


@dataclass(frozen=True, slots=True)
class ActionTarget:
    """What one run of an action is about."""

    incident: Incident
    who: Incarnation | None = None
    """the process that feeds the watchdog; None: none is known"""
    level: str | None = None
    """the step's word for people and routing: warning, critical, emergency"""
    step: int = 0
    """index of the step; those of ``on_give_up`` count on after the ladder's last"""
    run: int = 1
    """which run of this step in this incident"""
    program: str | None = None
    """the supervisor's own program behind the watchdog; None: the supervisor did not start the process"""
    link: str | None = None
    """the incident's web page"""
    page: str | None = None
    """the web page of all watchdogs"""
    evidence: Mapping[str, Any] | None = None
    """what ``dump`` found earlier in this incident; filled in by the executor"""
    feeds: tuple[tuple[float, float], ...] = ()
    """the last feeds when the action was due, of each the age and the gap before it, seconds; the newest last"""
    recovered: bool = False
    """True: the incident is over, and this is the news of it; its ``silence`` is then how long it lasted"""
    how: str = "fed"
    """how it ended: fed, released, paused, …"""
    others: tuple[ActionTarget, ...] = ()
    """further incidents that the same message covers: only for an action with a ``recipient``"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run. The executor limits the text and the data."""

    ok: bool
    text: str = ""
    """one sentence for people"""
    data: dict[str, Any] = field(default_factory=dict)


HANDED_ON = Outcome(True)
"""The outcome of a run that only passed its target on; the receiver reports the result."""


class ActionContext(Protocol):
    """What actions may ask of the supervisor. Called from the executor's threads, many at once.

    The first six are about one process and never touch another one that has got its pid: ``ProcessHandles`` has
    them. OSError: the system cannot answer (no descriptor left, for one).
    """

    def here(self, who: Incarnation) -> bool:
        """Whether this process is, or was, one of this host's present boot: only such a one can be looked at."""

    def alive(self, who: Incarnation) -> bool:
        """Whether it has not ended. A zombie has."""

    def signal(self, who: Incarnation, number: int) -> bool:
        """Send a signal; False: it has ended, is not of this host, or is the supervisor itself."""

    def wait_gone(self, who: Incarnation, seconds: float) -> bool:
        """Wait at most so long for its end; whether it has ended."""

    def state(self, who: Incarnation) -> str:
        """Its state in words, with what it waits for in the kernel: ``D (uninterruptible wait) in nfs_wait``."""

    def group(self, who: Incarnation) -> ProcessGroup | None:
        """The process group that it leads; None: it leads none. The caller closes it."""

    def restart(self, program: str) -> None:
        """Ask the loop to restart one of its programs; returns at once."""

    def collect(self, target: ActionTarget, seconds: float) -> Mapping[str, Any]:
        """Evidence of what the process does, taken within so many seconds."""

    def summary(self, evidence: Mapping[str, Any], lines: int) -> Sequence[str]:
        """The most useful lines of some evidence, at most so many."""

    def callback(self, name: str, incident: Incident) -> None:
        """Call what is bound to ``name`` on this thread, and raise what it raises. LookupError: nothing is."""

    def urls(self, target: str) -> Sequence[str]:
        """The apprise URLs of a notification target: secrets. LookupError: there is no such target."""

    def log(self, level: int, text: str) -> None:
        """Queue one line for the supervisor's log."""


class Action(ABC):
    """One thing that a step can do. Made once per step and used by many threads: a run keeps nothing in it.

    A class with an ``options_model`` is made with one of that, checked; another one takes its options as keyword
    arguments, checks them, and raises ValueError with what is allowed. An action of a user's own is named in the
    config as ``module:Class``, or by an entry point of the group ``banken.actions``.
    """

    name: ClassVar[str]

    options_model: ClassVar[type[Any] | None] = None
    """the pydantic model of the options"""

    outside: ClassVar[bool] = False
    """True: it waits for a server or a command. Such runs never take all threads, so that the supervisor can still
    kill and restart while a network is down"""

    needs_process: ClassVar[bool] = False
    """True: it acts on the worker's process, which must be on this host and known for certain"""

    brings_back: ClassVar[bool] = True
    """True: it may bring a worker back, so that a budget across incidents makes sense"""

    recipient: Hashable | None = None
    """where its messages go. Many runs of one action with the same recipient may become one run, which gets all but
    the first as ``ActionTarget.others``. None: each runs by itself"""

    limit_s: float = LIMIT_S
    """seconds until a run counts as stuck"""

    hidden: tuple[str, ...] = ()
    """secrets: the executor puts *** in their place in every report"""

    @abstractmethod
    def run(self, target: ActionTarget, context: ActionContext, ended: threading.Event) -> Outcome:
        """Do it. To raise is to fail, with the traceback as the text.

        ``ended`` is set when the incident ends, and when the supervisor stops: stop waiting then.
        """

    def __repr__(self) -> str:
        return f"<action {self.name}>"  # no options: some are secrets
