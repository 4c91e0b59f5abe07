"""``signal``: send one signal to the process that feeds the watchdog."""

from __future__ import annotations

import threading
from collections.abc import Callable
from signal import Signals
from typing import ClassVar

from pydantic import Field

from banken.protocol.messages import ProcessIdentity
from banken_supervisor.actions.base import Action, ActionContext, ActionTarget, Outcome
from banken_supervisor.actions.options import SignalName, Table


class Signal(Action, Table):
    """Send a signal to the worker's process."""

    name: ClassVar[str] = "signal"
    needs_process: ClassVar[bool] = True

    signal: SignalName = Field(description="Which one.")

    def run(self, target: ActionTarget, context: ActionContext, ended: threading.Event) -> Outcome:
        """Send it once, and do not wait for its effect. A process that has ended needs none."""

        def send(who: ProcessIdentity) -> Outcome:
            data = {"pid": who.pid, "signal": self.signal}
            if context.signal(who, Signals[self.signal]):
                return Outcome(True, f"{self.signal} sent to pid {who.pid}", data)
            if context.alive(who):
                return Outcome(False, f"{self.signal} not sent: {untouchable(who.pid)}", data)
            return Outcome(True, f"{self.signal} not needed: pid {who.pid} has ended", data)

        return on_process(target, context, send)


def on_process(target: ActionTarget, context: ActionContext, do: Callable[[ProcessIdentity], Outcome]) -> Outcome:
    """``do`` it to the target's process, which must be known for certain and belong to this user."""
    who = target.who
    if who is None:
        return Outcome(False, f"no process is known that feeds {target.incident.name}")
    if not context.here(who):
        text = (
            "not known for certain here: of another host, of an earlier boot, or named by messages that did not "
            "come from it"
        )
        return Outcome(False, f"pid {who.pid} is {text}")
    try:
        return do(who)
    except PermissionError:
        text = f"pid {who.pid} belongs to another user: this supervisor may not signal it"
        return Outcome(False, text, {"pid": who.pid})


def untouchable(pid: int) -> str:
    return f"pid {pid} is init or the supervisor itself, which are never signalled"
