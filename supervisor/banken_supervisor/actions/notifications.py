"""Notifications on their way to people: those for one recipient that come together become one message."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

from banken_supervisor.actions.action_executor import Executor
from banken_supervisor.actions.base import Action
from banken_supervisor.actions.target import ActionTarget
from banken_supervisor.engine.digest import Fold, Limits

Notice = tuple[Action, ActionTarget]


@dataclass(slots=True)
class Outgoing:
    """The notices for one recipient: of incidents that were opened, or of their ends."""

    fold: Fold[Notice]
    lane: str
    """folded messages go out one after the other"""


class Notifications:
    """Everything belongs to the loop's thread. ``real``: monotonic time, seconds."""

    def __init__(self, executor: Executor) -> None:
        self.limits = Limits()
        """in force for notices that are added from now on"""
        self._executor = executor
        self._outgoing: dict[Hashable, Outgoing] = {}
        self._due: float | None = None
        self._made = 0

    def add(self, action: Action, target: ActionTarget, real: float) -> None:
        """Send it, alone or with others in one message, which the action of the first then sends."""
        key = action.name, action.recipient, target.recovered
        outgoing = self._outgoing.get(key)
        if outgoing is None:
            self._made += 1
            outgoing = self._outgoing[key] = Outgoing(Fold(self.limits), f"\0{self._made}")
        outgoing.fold.limits = self.limits
        outgoing.fold.add((action, target), real)
        self._set_due()

    def patience(self, real: float) -> float | None:
        """Seconds until ``turn`` has something to do; None: nothing waits."""
        return None if self._due is None else max(0.0, self._due - real)

    def turn(self, real: float) -> None:
        """Hand out the messages that are due."""
        if self._due is None or self._due > real:
            return
        for key, outgoing in list(self._outgoing.items()):
            for message in outgoing.fold.take(real):
                self._send(message, outgoing.lane)
            if outgoing.fold.idle(real):
                del self._outgoing[key]
        self._set_due()

    def flush(self) -> bool:
        """Hand out everything now, what has waited longest first; whether there was anything."""
        waiting = sorted(self._outgoing.values(), key=lambda each: each.fold.due() or 0.0)
        messages = [(message, each.lane) for each in waiting for message in each.fold.flush()]
        for message, lane in messages:
            self._send(message, lane)
        self._set_due()
        return bool(messages)

    def _set_due(self) -> None:
        dues = [due for each in self._outgoing.values() if (due := each.fold.due()) is not None]
        self._due = min(dues, default=None)

    def _send(self, message: list[Notice], lane: str) -> None:
        """Not in the lane of the watchdog's own actions: the next of those need not wait for a slow service."""
        action, first = message[0]
        if len(message) == 1:
            self._executor.submit([action], first, f"{first.incident.name}\0{action.name}")
        else:
            others = tuple(target for _, target in message[1:])
            self._executor.submit([action], replace(first, others=others), lane)
