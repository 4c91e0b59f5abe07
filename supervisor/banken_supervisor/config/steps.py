"""The tables of steps: what every step has, joined with the options of its action."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from banken_supervisor.actions import registry
from banken_supervisor.actions.options import STRICT, Name
from banken_supervisor.config import fields
from banken_supervisor.config.fields import Duration

ACTIONS = {name: registry.own_action(name) for name in registry.NAMES}
"""The actions that banken has. A user's own come from [actions] and the entry points ``banken.actions``."""


class StepFields(BaseModel):
    """The keys of every step, whatever its action."""

    model_config = STRICT

    after: fields.DurationOrZero = Field(0.0, description="Time from the verdict to this step.")
    level: Literal["warning", "critical", "emergency"] | None = Field(None, description="For people and routing.")
    repeat: Duration | None = Field(
        None, description="Again this often, until the next step is due or the incident ends."
    )
    budget: fields.BudgetField | None = Field(None, description="Runs allowed; one more gives the watchdog up.")
    backoff: fields.BackoffField | None = Field(None, description="Wait longer before each run within the budget.")
    first: bool = Field(False, description="Begin it when it is due, beside a dump that still runs.")


STEP_KEYS = frozenset({"do", *StepFields.model_fields})
"""Keys of a step that are not its action's."""


class OwnStep(StepFields):
    """A step that runs a user's own action, with whatever options that takes."""

    model_config = ConfigDict(extra="allow")

    do: Name = Field(
        description="A name of [actions], or of an installed entry point.",
        json_schema_extra={"not": {"enum": list(ACTIONS)}},
    )


def _step_model(name: str) -> Any:
    action: Any = ACTIONS[name]
    do: Any = Literal[name]
    return create_model(
        f"{name.capitalize()}Step", __base__=(StepFields, action), __doc__=action.__doc__, do=(do, ...)
    )


STEPS: dict[str, Any] = {name: _step_model(name) for name in ACTIONS}
"""The model of a step by its action."""
