"""One program's record, and the two things that several of them take part in: waves and rounds."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from itertools import groupby

from banken_supervisor.engine.policy import ProgramSpec
from banken_supervisor.programs.engine.states import ProgramState, ProgramTrigger, step

STABLE_MIN = 1.0
"""Seconds. A run as long as the longest backoff, and at least this long, was stable: the backoff begins anew."""


class Program:
    """What is known of one program. Times are deadline time, seconds."""

    __slots__ = (
        "again",
        "due",
        "failures",
        "killed",
        "leaving",
        "name",
        "process",
        "round",
        "signalled",
        "since",
        "spec",
        "started_at",
        "state",
        "waves",
        "why",
    )

    def __init__(self, spec: ProgramSpec, now: float) -> None:
        self.name = spec.name
        self.spec = spec
        self.state = ProgramState.STOPPED
        self.since = now
        """when it came into its state"""
        self.due: float | None = None
        """when its own timer goes: the end of a backoff, of a stop timeout, of the patience with a spawn"""
        self.started_at = now
        self.failures = 0
        """automatic restarts since the last stable run"""
        self.process = False
        """there is one, as far as the shell has told"""
        self.signalled = False
        """it got its stop signal"""
        self.killed = False
        """it got SIGKILL"""
        self.again = False
        """STOPPING: start it when it is gone"""
        self.leaving = False
        """the operator no longer names it: forget it when it is down"""
        self.why = ""
        """why it was asked to stop"""
        self.waves: list[Wave] = []
        """upward at most one; downward also several: it ends when its turn has come in all of them"""
        self.round: Round | None = None

    def move(self, trigger: ProgramTrigger, now: float) -> None:
        """Take one line of the table; IllegalStep where there is none."""
        state = step(self.state, trigger)
        if state is not self.state:
            self.state = state
            self.since = now

    @property
    def wanted(self) -> bool:
        """Whether it is up, or will be without anybody asking for it."""
        if self.state is ProgramState.STOPPING:
            return self.again or self.round is not None
        return self.state not in (ProgramState.STOPPED, ProgramState.GIVEN_UP)

    @property
    def stable_run(self) -> float:
        """Seconds that a run must last for its failures before to be forgotten."""
        return max(self.spec.backoff.most, STABLE_MIN)


class Wave:
    """Programs that start, or stop, level after level. A level is left when nobody of it is waited for."""

    __slots__ = ("levels", "round", "upward", "waiting")

    def __init__(
        self, upward: bool, ranked: Iterable[tuple[tuple[int, int], str]], round_: Round | None = None
    ) -> None:
        ordered = sorted(ranked, reverse=upward)
        # The last level is the next one.
        self.levels = [[name for _, name in level] for _, level in groupby(ordered, key=lambda pair: pair[0])]
        self.upward = upward
        self.waiting: set[str] = set()
        self.round = round_
        """what goes on when all are down"""


class Round:
    """Members of a group that go down together and, when all are gone and ``not_before`` has come, up again."""

    __slots__ = ("due", "names", "not_before")

    def __init__(self, names: tuple[str, ...], not_before: float) -> None:
        self.names = names
        self.not_before = not_before
        self.due: float | None = None
        """when they start; None: not all are gone"""


def signal_number(name: str) -> int:
    """The number of ``SIGTERM`` or ``TERM``; ValueError for a name that the system has not."""
    full = name if name.startswith("SIG") else f"SIG{name}"
    try:
        return signal.Signals[full].value
    except KeyError:
        raise ValueError(f"{name!r} is no signal here; SIGTERM, SIGINT, SIGQUIT … are") from None
