"""``signal``: send one signal to the process that feeds the watchdog."""

from __future__ import annotations

import threading

from banken_supervisor.actions import options
from banken_supervisor.actions.base import Action, Outcome, Subject, World


class Signal(Action):
    """``signal``: its name, or its number."""

    name = "signal"

    def __init__(self, *, signal: str | int = "SIGTERM") -> None:
        self._signal = options.signal_number(signal, "signal")

    def run(self, subject: Subject, world: World, ended: threading.Event) -> Outcome:
        """Send it; what the process makes of it is not waited for. One that has ended needs none."""
        if refusal := cannot_touch(subject, world):
            return refusal
        assert subject.who is not None
        pid, signal = subject.who.pid, self._signal.name
        data = {"pid": pid, "signal": signal}
        try:
            sent = world.signal(subject.who, self._signal)
        except PermissionError:
            return foreign(pid)
        if sent:
            return Outcome(True, f"{signal} sent to pid {pid}", data)
        if world.alive(subject.who):
            return Outcome(
                False, f"{signal} not sent: pid {pid} is not to be touched (init, or the supervisor)", data
            )
        return Outcome(True, f"{signal} not needed: pid {pid} has ended", data)


def cannot_touch(subject: Subject, world: World) -> Outcome | None:
    """Why no signal can go to the subject's process; None: it can."""
    who = subject.who
    if who is None:
        return Outcome(False, f"no process is known that feeds {subject.incident.name}")
    if not world.here(who):
        return Outcome(
            False,
            f"pid {who.pid} is not known for certain here: of another host, of an earlier boot, or a process that "
            "has never connected",
        )
    return None


def foreign(pid: int) -> Outcome:
    """The answer when the system forbids it."""
    return Outcome(False, f"pid {pid} belongs to another user: this supervisor may not signal it", {"pid": pid})
