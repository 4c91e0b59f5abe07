"""``callback``: call a function that the operator bound to a name."""

from __future__ import annotations

import threading
from typing import Annotated, Any, ClassVar

from pydantic import Field

from banken_supervisor.actions.base import LIMIT_S, Action, ActionContext, ActionTarget, Outcome
from banken_supervisor.actions.callback_process import CallbackFailed
from banken_supervisor.actions.options import Name, Table, seconds


class Callback(Action, Table):
    """Run a callback by its name in [callbacks]."""

    name: ClassVar[str] = "callback"
    outside: ClassVar[bool] = True

    callback: Name = Field(description="A name of [callbacks].")
    timeout: Annotated[float, *seconds(0.1, 3600)] = Field(
        LIMIT_S, description="If it takes longer it is stuck: its process is ended."
    )

    def model_post_init(self, context: Any, /) -> None:
        self.__dict__["limit_s"] = self.timeout

    def run(self, target: ActionTarget, context: ActionContext, ended: threading.Event) -> Outcome:
        try:
            context.callback(self.callback, target.incident)
        except CallbackFailed as fault:  # in its own process: the traceback is of there
            return Outcome(False, str(fault), {"output": fault.trace, **fault.data})
        return Outcome(True, f"{self.callback} returned")
