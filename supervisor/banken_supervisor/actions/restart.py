"""``restart``: start the supervisor's own program again."""

from __future__ import annotations

import threading
from typing import ClassVar

from banken_supervisor.actions.base import Action, ActionContext, ActionTarget, Outcome
from banken_supervisor.actions.options import Table


class Restart(Action, Table):
    """Start the program again."""

    name: ClassVar[str] = "restart"

    def run(self, target: ActionTarget, context: ActionContext, ended: threading.Event) -> Outcome:
        """Ask the loop, which keeps the program's budget; the program's own events report the result."""
        if target.program is None:
            text = f"{target.incident.name} is not a program of this supervisor: it cannot restart it"
            return Outcome(False, text)
        context.restart(target.program)
        return Outcome(True, f"asked for a restart of {target.program}")
