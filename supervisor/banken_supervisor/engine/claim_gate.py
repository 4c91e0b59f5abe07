"""The gate between a verdict and its incident: where several supervisors are one, a claim stands between them.

A supervisor that is alone has its gate open, and nothing is different. A *leader* proposes each incident that
concerns the cluster, and opens it when the store has it (``Propose``, coordination/claims.py); what was fed
meanwhile is withdrawn. A *follower* opens none: its verdicts are held until the watchdog is fed, or until it leads.

What concerns only this host is judged here in any role: watchdogs that are fed by processes of this host, and
programs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from banken.protocol.incidents import Cause
from banken_supervisor.engine.effects import Effect, Propose, Withdraw
from banken_supervisor.engine.hearing import stands_still
from banken_supervisor.engine.occurrence import Occurrence
from banken_supervisor.engine.record import Record
from banken_supervisor.engine.states import Trigger

OF_SILENCE = frozenset({Cause.TIMEOUT, Cause.GRACE, Cause.NO_PROGRESS})
"""Causes that a feed disproves, of the last one a feed with progress. The others say that something has happened,
which a later feed does not undo."""


class Role(Enum):
    """What this supervisor is among others."""

    ALONE = "alone"
    LEADER = "leader"
    FOLLOWER = "follower"


@dataclass(slots=True)
class Held:
    """A verdict whose incident is not open."""

    what: Occurrence
    was_fed: bool = False
    """since then; of a cause that a feed does not disprove"""


@dataclass(slots=True)
class Gate:
    """``is_local``: whether a watchdog concerns this host alone. ``may_act``: whether a leader can be sure that it
    still leads."""

    role: Role = Role.ALONE
    may_act: Callable[[], bool] = lambda: True
    is_local: Callable[[Record], bool] = lambda record: False
    held: dict[str, Held] = field(default_factory=dict)
    """by name"""

    def holds(self, record: Record, what: Occurrence, now: float, out: list[Effect]) -> bool:
        """Whether this verdict has to wait. A leader proposes it."""
        if self.role is Role.ALONE or what.incident is not None or self.is_local(record):
            return False
        held = self.held.get(record.name)
        is_more = held is not None and held.what.cause in OF_SILENCE and what.cause not in OF_SILENCE
        if is_more and self.role is Role.LEADER:
            out.append(Withdraw(record.name))
        if held is None or is_more:  # the next feed would end the silence, and the failure with it
            self.held[record.name] = Held(what)
            if self.role is Role.LEADER:
                assert what.cause is not None
                due = now if what.due is None else what.due
                asks = what.cause in OF_SILENCE
                out.append(Propose(record.name, what.cause, due, now - record.fed_at, what.reason, asks=asks))
        return True

    def defers(self, record: Record) -> bool:
        """Whether the next step of an open incident has to wait: a leader that may have been replaced goes on with
        none, and tells nothing."""
        return self.role is Role.LEADER and not self.is_local(record) and not self.may_act()

    def let_go(self, record: Record, trigger: Trigger, now: float, out: list[Effect]) -> None:
        """Something else happens to this watchdog: what is held of it is void, unless a feed cannot undo it."""
        held = self.held.get(record.name)
        if held is None:
            return
        if trigger is Trigger.FEED and held.what.cause is Cause.NO_PROGRESS and stands_still(record, now):
            return
        if self.role is Role.LEADER and trigger is Trigger.FEED and held.what.cause not in OF_SILENCE:
            held.was_fed = True
            return
        del self.held[record.name]
        if self.role is Role.LEADER:
            out.append(Withdraw(record.name))

    def take(self, name: str) -> Held | None:
        """What is held of this name, and is not any more."""
        return self.held.pop(name, None)
