"""``dump``: record what the process is doing, before anything else is done to it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from banken_supervisor.actions.base import Action, ActionContext, ActionTarget, IncidentEnd, Outcome
from banken_supervisor.actions.options import Table
from banken_supervisor.actions.options import seconds as seconds_kind

MARGIN_S = 5.0
"""Seconds beyond its own limit that the collector may take until the run counts as stuck."""


class Dump(Action, Table):
    """Record what the process is doing."""

    name: ClassVar[str] = "dump"
    needs_process: ClassVar[bool] = True
    brings_back: ClassVar[bool] = False

    seconds: Annotated[float, *seconds_kind(0.1, 60)] = Field(5.0, description="How long it may take.")

    def model_post_init(self, context: Any, /) -> None:
        self.__dict__["limit_s"] = self.seconds + MARGIN_S

    def run(self, target: ActionTarget, context: ActionContext, ended: IncidentEnd) -> Outcome:
        """The executor gives the evidence to the later actions of the same incident."""
        evidence = dict(context.collect(target, self.seconds, lambda: ended.recovered))
        return Outcome(True, str(evidence.get("headline") or "evidence taken"), {"evidence": evidence})
