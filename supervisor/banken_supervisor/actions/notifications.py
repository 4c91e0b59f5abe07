"""Notifications on their way to people: those for one recipient that come together become one message."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from banken_supervisor.actions.action_executor import Executor
from banken_supervisor.actions.base import Action
from banken_supervisor.actions.target import ActionTarget
from banken_supervisor.engine.digest import Fold, Limits

Notice = tuple[Action, ActionTarget]


class Notifications:
    """Everything belongs to the loop's thread. ``real``: monotonic time, seconds."""

    def __init__(self, executor: Executor) -> None:
        self.limits = Limits()
        """in force for notices that are added from now on"""
        self._executor = executor
        self._folds: dict[tuple[str, Hashable, bool, bool], Fold[Notice]] = {}
        """by recipient: notices of incidents that were opened, or of their ends. The key is also the lane in which
        folded messages go out one after the other"""
        self._unsent: dict[Hashable, list[Notice]] = {}
        """by recipient and incident, where the notice of that waits: notices of its end, which follow it"""

    def add(self, action: Action, target: ActionTarget, real: float) -> None:
        """Send it, alone or with others in one message, which the action of the first then sends. That of an
        incident's end follows that of the incident.

        Not those of a cluster with those of this supervisor alone, which wait for nobody's leadership.
        """
        key = action.name, action.recipient, target.recovered, target.fence is None
        about = action.name, action.recipient, target.incident.id
        if not target.recovered:
            self._unsent.setdefault(about, [])
        elif about in self._unsent:
            self._unsent[about].append((action, target))
            return
        fold = self._folds.setdefault(key, Fold(self.limits))
        fold.limits = self.limits
        fold.add((action, target), real)

    def patience(self, real: float) -> float | None:
        """Seconds until ``turn`` has something to do; None: nothing waits."""
        dues = [due for fold in self._folds.values() if (due := fold.due()) is not None]
        return max(0.0, min(dues) - real) if dues else None

    def turn(self, real: float) -> None:
        """Hand out the messages that are due."""
        for key, fold in list(self._folds.items()):
            for message in fold.take(real):
                self._send(message, key)
                self._follow(message, real)
            if fold.idle(real):
                del self._folds[key]

    def flush(self) -> bool:
        """Hand out everything now, what has waited longest first; whether there was anything."""
        found = False
        while waiting := sorted((each for each in self._folds.items() if each[1].due() is not None), key=_due):
            for key, fold in waiting:
                for message in fold.flush():
                    self._send(message, key)
                    self._follow(message, 0.0)
                    found = True
        return found

    def give_back(self) -> list[Notice]:
        """Take out those that the next leader of a cluster sends."""
        folds = [fold for (_, _, recovered, is_alone), fold in self._folds.items() if not (recovered or is_alone)]
        found = [notice for fold in folds for message in fold.flush() for notice in message]
        self._follow(found, 0.0)
        return found

    def _follow(self, message: list[Notice], real: float) -> None:
        """This was sent: the news of the ends of its incidents may follow."""
        for action, target in message:
            if not target.recovered:
                for notice in self._unsent.pop((action.name, action.recipient, target.incident.id), ()):
                    self.add(*notice, real)

    def _send(self, message: list[Notice], lane: Hashable) -> None:
        """Not in the lane of the watchdog's own actions: the next of those need not wait for a slow service."""
        action, first = message[0]
        if len(message) == 1:
            self._executor.submit([action], first, (first.incident.name, action.name))
        else:
            others = tuple(target for _, target in message[1:])
            self._executor.submit([action], replace(first, others=others), lane)


def _due(each: tuple[object, Fold[Notice]]) -> float:
    return each[1].due() or 0.0
