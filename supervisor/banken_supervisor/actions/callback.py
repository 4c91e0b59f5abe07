"""``callback``: call a function that the operator bound to a name."""

from __future__ import annotations

import threading

from banken.protocol.limits import NAME_MAX
from banken_supervisor.actions import options
from banken_supervisor.actions.base import LIMIT_S, Action, Outcome, Subject, World


class Callback(Action):
    """``callback``: the name that is bound in the config or by ``Supervisor.callback``. ``timeout``: seconds."""

    name = "callback"
    outside = True

    def __init__(self, *, callback: str, timeout: float = LIMIT_S) -> None:
        self._callback = options.words(callback, "callback", NAME_MAX)
        self.limit_s = options.seconds(timeout, "timeout", 0.1, 3600)

    def run(self, subject: Subject, world: World, ended: threading.Event) -> Outcome:
        """Call it in this thread."""
        world.callback(self._callback, subject.incident)
        return Outcome(True, f"{self._callback} returned")
