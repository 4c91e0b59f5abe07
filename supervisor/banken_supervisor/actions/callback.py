"""``callback``: call a function that the operator bound to a name."""

from __future__ import annotations

import threading
from typing import Annotated

from pydantic import Field

from banken_supervisor.actions.action_context import ActionContext
from banken_supervisor.actions.base import LIMIT_S, Action
from banken_supervisor.actions.options import Name, Table, seconds
from banken_supervisor.actions.target import ActionTarget, Outcome


class CallbackOptions(Table):
    """Run a callback by its name in [callbacks]."""

    callback: Name = Field(description="A name of [callbacks].")
    timeout: Annotated[float, *seconds(0.1, 3600)] = Field(
        LIMIT_S, description="If it takes longer it is reported as stuck."
    )


class Callback(Action):
    """Calls it on the executor's thread."""

    name = "callback"
    options_model = CallbackOptions
    outside = True

    def __init__(self, options: CallbackOptions) -> None:
        self._callback = options.callback
        self.limit_s = options.timeout

    def run(self, target: ActionTarget, context: ActionContext, ended: threading.Event) -> Outcome:
        """Call it; what it raises is the failure."""
        context.callback(self._callback, target.incident)
        return Outcome(True, f"{self._callback} returned")
