"""Keys of what a program says of itself: how it is known that it is ready, and who may speak by sd_notify."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from banken_supervisor.actions.options import Table
from banken_supervisor.checks.base import CheckFields
from banken_supervisor.config.checks import OneCheck, with_owner_said
from banken_supervisor.config.numbering import filled_whole
from banken_supervisor.config.tags import TAG
from banken_supervisor.engine.policy import Readiness

NotifyAccess = Literal["main", "all"]
NOTIFY_ACCESS: Any = Field(
    "main",
    description="Who may say by sd_notify all that can be said: its main process, or all that have its socket; "
    "READY, STATUS and BARRIER count from all.",
)


READY_EVERY_S = 1.0
"""How often a check of readiness runs, where its table does not say."""


class ReadyTable(Table):
    """How it is known that a program is ready."""

    notify: Literal[True] | None = Field(None, description="It says READY=1 to NOTIFY_SOCKET (sd_notify).")
    fd: Annotated[int, Field(ge=3, le=255)] | None = Field(
        None, description="It writes a line to this descriptor, as for s6, dinit and OpenRC."
    )

    ended: Literal[True] | None = Field(
        None, description="It has ended, with a clean exit status: a job that prepares something."
    )

    @model_validator(mode="after")
    def _one(self) -> ReadyTable:
        if [self.notify, self.fd, self.ended].count(None) != 2:
            raise ValueError(
                'takes notify = true, or fd = 3, or ended = true, or a check such as { tcp = "127.0.0.1:6379" }'
            )
        return self

    @property
    def readiness(self) -> Readiness:
        """As the programs take it."""
        return Readiness(self.notify is True, self.fd, self.ended is True)


SAID_BY_ITSELF = frozenset(ReadyTable.model_fields)


def _how(value: Any) -> str:
    if isinstance(value, ReadyTable) or (isinstance(value, dict) and not value.keys() - SAID_BY_ITSELF):
        return SAYS
    return LOOKED_AT


SAYS, LOOKED_AT = f"{TAG}says", f"{TAG}looked at"

if TYPE_CHECKING:
    Ready = ReadyTable | CheckFields
else:
    Ready = Annotated[
        Annotated[ReadyTable, Tag(SAYS)] | Annotated[OneCheck, Tag(LOOKED_AT)],
        Discriminator(_how),
        BeforeValidator(partial(filled_whole, number=0)),
        BeforeValidator(with_owner_said),
    ]
"""The type of ``ready``: what the program says, or a check of any kind."""


def readiness_of(ready: ReadyTable | CheckFields | None) -> Readiness | None:
    """As the programs take it."""
    if ready is None:
        return None
    return ready.readiness if isinstance(ready, ReadyTable) else Readiness(check=True)


def raw_check(ready: CheckFields, table: dict[str, Any]) -> dict[str, Any]:
    """The check as the file has it, run more often than others if the file does not say how often."""
    least = ready.limit if "limit" in ready.model_fields_set else 0.0
    return {"every": max(READY_EVERY_S, least), **table}
