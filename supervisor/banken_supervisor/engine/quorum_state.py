"""What the watchdog of a group knows of its members."""

from __future__ import annotations

from dataclasses import dataclass, field

from banken_supervisor.engine.states import State


@dataclass(slots=True)
class QuorumState:
    """How a group stands that wants ``at_least`` members alive (quorum.py)."""

    at_least: int
    members: tuple[str, ...] = ()
    """names and patterns, as the config has them"""
    alive: int = 0
    """members that are alive, or paused"""
    starting: int = 0
    """members in the grace of a start"""
    down: dict[str, None] = field(default_factory=dict)
    """members with an open incident, or given up"""
    stopped: dict[str, None] = field(default_factory=dict)
    """programs among them that were stopped on purpose: they are not missed"""
    changed: bool = True
    """a member's state has changed since the last sweep"""
    since: float | None = None
    """since when the group's state is not what it should be; None: it is"""

    def verdict(self, state: State) -> bool | None:
        """For a group that is in ``state``. True: enough are alive again (or at last). False: too few are. None: no
        change."""
        if state is State.ALIVE:
            return False if self.alive + self.starting + len(self.stopped) < self.at_least else None
        if state is State.PAUSED:
            return None
        return True if self.alive >= self.at_least else None
