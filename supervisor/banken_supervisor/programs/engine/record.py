"""The record of one program, and what several programs take part in: waves and group restarts."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

from banken_supervisor.engine.policy import ProgramSpec
from banken_supervisor.programs.engine.states import ProgramState, ProgramTrigger, next_state

Rank = tuple[int, int, int]
"""(start order, place in the group, place behind those that it starts after): a lower one starts earlier and stops
later."""

STABLE_MIN = 1.0
"""Seconds. A run as long as the longest backoff, and at least this long, is stable and resets the backoff."""


@dataclass(slots=True, eq=False)
class Program:
    """What is known of one program. Times are deadline time, seconds."""

    spec: ProgramSpec
    since: float
    """when it entered its state"""
    state: ProgramState = ProgramState.STOPPED
    due: float | None = None
    """when its own timer expires: end of a backoff, of a stop timeout or of the wait for a spawn"""
    started_at: float = 0.0
    failures: int = 0
    """automatic restarts since the last stable run"""
    process: bool = False
    """whether its process exists, as reported by the shell"""
    leftovers: bool = False
    """its process has ended by itself, and all that it had started has not yet. A spawn waits for that end too, so
    that the spawn's report is enough from then on"""
    ready: bool = False
    """it is up, and ready; or it has ended well after it was. What starts ``after`` it may start"""
    awaits: tuple[str, ...] = ()
    """QUEUED: its turn has come, but these are not ready"""
    signalled: bool = False
    """it got its stop signal"""
    killed: bool = False
    """it got SIGKILL"""
    again: bool = False
    """STOPPING: start it when it is gone"""
    leaving: bool = False
    """no longer in the config: forget it when it is down"""
    why: str = ""
    """why it is down, or goes down: who asked for that, or how it ended"""
    waves: list[Wave] = field(default_factory=list)
    """at most one start wave; maybe several stop waves: it is stopped when its turn has come in all"""
    group_restart: GroupRestart | None = None
    stop_rank: Rank | None = None
    """STOPPING: its rank in all of its stop waves, whatever a reload makes of it meanwhile: two waves that had two
    programs in different orders would wait for each other"""

    @property
    def name(self) -> str:
        """Its own, which no config changes."""
        return self.spec.name

    def transition(self, trigger: ProgramTrigger, now: float) -> None:
        """Change the state as the table says; IllegalProgramTransition if the table does not allow it."""
        state = next_state(self.state, trigger)
        if state is not self.state:
            self.state = state
            self.since = now

    @property
    def wanted(self) -> bool:
        """Whether it is up, or will start without a further request."""
        if self.state is ProgramState.STOPPING:
            return self.again or self.group_restart is not None
        return self.state not in (ProgramState.STOPPED, ProgramState.GIVEN_UP)

    @property
    def may_end(self) -> bool:
        """Whether it is up and may still end: not what outlives SIGKILL, and not a spawn that hangs."""
        down = self.state in (ProgramState.STOPPED, ProgramState.GIVEN_UP)
        return not down and (self.due is not None or self.leftovers or (self.process and not self.killed))

    @property
    def is_overdue(self) -> bool:
        """STOPPING: that its spawn hangs, or that its process outlives SIGKILL, was told: nobody waits for it."""
        return self.due is None and (self.killed or not (self.process or self.leftovers))

    @property
    def stable_run(self) -> float:
        """Seconds that a run must last to reset the count of failures."""
        return max(self.spec.backoff.most, STABLE_MIN)


class Wave:
    """Programs that start, or stop, level by level. All programs of one rank are one level.

    The next level follows when no program of the current one is waited for.
    """

    def __init__(
        self, upward: bool, ranked: Iterable[tuple[Rank, str]], group_restart: GroupRestart | None = None
    ) -> None:
        ordered = sorted(ranked, reverse=upward)
        # The next level is the last item.
        self.levels = [[name for _, name in level] for _, level in groupby(ordered, key=lambda pair: pair[0])]
        self.upward = upward
        self.waiting: set[str] = set()
        self.group_restart = group_restart
        """continues when all programs are down"""


@dataclass(slots=True, eq=False)
class GroupRestart:
    """Programs that stop together and start again when all have stopped and ``not_before`` has come."""

    names: tuple[str, ...]
    not_before: float
    due: float | None = None
    """when they start; None: not all have stopped"""


def signal_number(name: str) -> int:
    """The number of ``SIGTERM`` or ``TERM``; ValueError if the system has no such signal."""
    full = name if name.startswith("SIG") else f"SIG{name}"
    try:
        return signal.Signals[full].value
    except KeyError:
        raise ValueError(f"{name!r} is no signal here; examples: SIGTERM, SIGINT, SIGQUIT") from None
