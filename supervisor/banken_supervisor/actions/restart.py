"""``restart``: start the supervisor's own program again."""

from __future__ import annotations

import threading

from banken_supervisor.actions.base import Action, Outcome, Subject, World


class Restart(Action):
    """Asks the loop, which stops and starts the program and keeps its budget."""

    name = "restart"

    def run(self, subject: Subject, world: World, ended: threading.Event) -> Outcome:
        """Ask for it; what becomes of it is told by the program's own events."""
        if subject.program is None:
            return Outcome(
                False, f"{subject.incident.name} is not a program of this supervisor: it cannot restart it"
            )
        world.restart(subject.program)
        return Outcome(True, f"asked for a restart of {subject.program}")
