"""``[supervisor] deadman``: an address somewhere else that alarms when it is not fetched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field

from banken_supervisor.actions import options
from banken_supervisor.text.secret import Secret


@dataclass(frozen=True, slots=True)
class DeadmanSettings:
    """``url``: http or https. ``every``: seconds."""

    url: Secret
    every: float


def _url(given: Secret) -> Secret:
    options.parse_url(given.reveal())
    return given


class DeadmanTable(options.Table):
    """Who alarms when this supervisor does not work any more."""

    url: Annotated[options.SecretField, AfterValidator(_url)] = Field(
        description="https://… or http://…; may hold ${ENV}. Fetched only while the supervisor does its work."
    )
    every: Annotated[float, *options.seconds(1, 86400)] = Field(60.0, description="How often it is fetched.")
