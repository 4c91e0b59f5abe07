"""``restart``: start the supervisor's own program again."""

from __future__ import annotations

import threading

from banken_supervisor.actions.action_context import ActionContext
from banken_supervisor.actions.base import Action
from banken_supervisor.actions.options import Table
from banken_supervisor.actions.target import ActionTarget, Outcome


class RestartOptions(Table):
    """Start the program again."""


class Restart(Action):
    """Asks the loop, which stops and starts the program and keeps its budget."""

    name = "restart"
    options_model = RestartOptions

    def __init__(self, options: RestartOptions) -> None:
        """There are no options."""

    def run(self, target: ActionTarget, context: ActionContext, ended: threading.Event) -> Outcome:
        """Ask for it; the program's own events report the result."""
        if target.program is None:
            return Outcome(
                False, f"{target.incident.name} is not a program of this supervisor: it cannot restart it"
            )
        context.restart(target.program)
        return Outcome(True, f"asked for a restart of {target.program}")
