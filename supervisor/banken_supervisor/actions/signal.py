"""``signal``: send one signal to the process that feeds the watchdog."""

from __future__ import annotations

import threading
from signal import Signals
from typing import ClassVar

from pydantic import Field

from banken_supervisor.actions.base import Action, ActionContext, ActionTarget, Outcome
from banken_supervisor.actions.options import SignalName, Table


class Signal(Action, Table):
    """Send a signal to the worker's process."""

    name: ClassVar[str] = "signal"
    needs_process: ClassVar[bool] = True

    signal: SignalName = Field(description="Which one.")

    def run(self, target: ActionTarget, context: ActionContext, ended: threading.Event) -> Outcome:
        """Send it once, and do not wait for its effect. A process that has ended needs none."""
        if refusal := cannot_touch(target, context):
            return refusal
        assert target.who is not None
        pid, signal = target.who.pid, self.signal
        data = {"pid": pid, "signal": signal}
        try:
            sent = context.signal(target.who, Signals[signal])
        except PermissionError:
            return foreign(pid)
        if sent:
            return Outcome(True, f"{signal} sent to pid {pid}", data)
        if context.alive(target.who):
            return Outcome(False, f"{signal} not sent: {untouchable(pid)}", data)
        return Outcome(True, f"{signal} not needed: pid {pid} has ended", data)


def cannot_touch(target: ActionTarget, context: ActionContext) -> Outcome | None:
    """Why no signal can go to the target's process; None: it can."""
    who = target.who
    if who is None:
        return Outcome(False, f"no process is known that feeds {target.incident.name}")
    if not context.here(who):
        return Outcome(
            False,
            f"pid {who.pid} is not known for certain here: of another host, of an earlier boot, or a process that "
            "has never connected",
        )
    return None


def foreign(pid: int) -> Outcome:
    return Outcome(False, f"pid {pid} belongs to another user: this supervisor may not signal it", {"pid": pid})


def untouchable(pid: int) -> str:
    return f"pid {pid} is init or the supervisor itself, which are never signalled"
