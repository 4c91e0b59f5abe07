"""Notifications on their way to people: those for one target that come together are told in one message."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

from banken_supervisor.actions.action_executor import Executor
from banken_supervisor.actions.base import Action, Subject
from banken_supervisor.engine.digest import Fold, Limits

Notice = tuple[Action, Subject]


@dataclass(slots=True)
class Outgoing:
    """What is to be told to one target: of incidents that were opened, or of their ends."""

    fold: Fold[Notice]
    chain: str
    """folded messages go out one after the other"""


class Notifications:
    """Everything belongs to the loop's thread. ``real``: monotonic time, seconds."""

    def __init__(self, executor: Executor) -> None:
        self.limits = Limits()
        """in force for what comes from now on"""
        self._executor = executor
        self._outgoing: dict[Hashable, Outgoing] = {}
        self._due: float | None = None
        self._made = 0

    def add(self, action: Action, subject: Subject, real: float) -> None:
        """Have it told, alone or with others. The action of the first is the one that tells of all."""
        key = action.name, action.target, subject.recovered
        outgoing = self._outgoing.get(key)
        if outgoing is None:
            self._made += 1
            outgoing = self._outgoing[key] = Outgoing(Fold(self.limits), f"\0{self._made}")
        outgoing.fold.limits = self.limits
        outgoing.fold.add((action, subject), real)
        self._look()

    def patience(self, real: float) -> float | None:
        """Seconds until ``turn`` has something to do; None: nothing waits."""
        return None if self._due is None else max(0.0, self._due - real)

    def turn(self, real: float) -> None:
        """Hand out the messages that are due."""
        if self._due is None or self._due > real:
            return
        for key, outgoing in list(self._outgoing.items()):
            for message in outgoing.fold.take(real):
                self._send(message, outgoing.chain)
            if outgoing.fold.idle(real):
                del self._outgoing[key]
        self._look()

    def flush(self) -> bool:
        """Hand out everything now, what has waited longest first; whether there was anything."""
        waiting = sorted(self._outgoing.values(), key=lambda each: each.fold.due() or 0.0)
        messages = [(message, each.chain) for each in waiting for message in each.fold.flush()]
        for message, chain in messages:
            self._send(message, chain)
        self._look()
        return bool(messages)

    def _look(self) -> None:
        dues = [due for each in self._outgoing.values() if (due := each.fold.due()) is not None]
        self._due = min(dues, default=None)

    def _send(self, message: list[Notice], chain: str) -> None:
        """Not in the row of the watchdog's own actions: whatever follows there need not wait for a slow service."""
        action, first = message[0]
        if len(message) == 1:
            self._executor.submit([action], first, f"{first.incident.name}\0{action.name}")
        else:
            others = tuple(subject for _, subject in message[1:])
            self._executor.submit([action], replace(first, others=others), chain)
