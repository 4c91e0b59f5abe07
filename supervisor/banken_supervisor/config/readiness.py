"""Keys of what a program says of itself: how it is known that it is ready, and who may speak by sd_notify."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from banken_supervisor.actions.options import Table
from banken_supervisor.engine.policy import Readiness

NotifyAccess = Literal["main", "all"]
NOTIFY_ACCESS: Any = Field(
    "main",
    description="Who may say by sd_notify all that can be said: its main process, or all that have its socket; "
    "READY, STATUS and BARRIER count from all.",
)


class ReadyTable(Table):
    """How it is known that a program is ready."""

    notify: Literal[True] | None = Field(None, description="It says READY=1 to NOTIFY_SOCKET (sd_notify).")
    fd: Annotated[int, Field(ge=3, le=255)] | None = Field(
        None, description="It writes a line to this descriptor, as for s6, dinit and OpenRC."
    )

    @model_validator(mode="after")
    def _one(self) -> ReadyTable:
        if (self.notify is None) == (self.fd is None):
            raise ValueError("one of notify and fd is required")
        return self

    @property
    def readiness(self) -> Readiness:
        """As the programs take it."""
        return Readiness(self.notify is True, self.fd)
