"""The table of actions that a rung may name, and what each may be told.

One model per action, so that what reaches ``recovery/`` was checked here. Only what the file gives is handed on:
the actions' own defaults live with the actions.
"""

from __future__ import annotations

import base64
import binascii
import urllib.parse
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from banken_supervisor.config import fields
from banken_supervisor.config.fields import Command, Duration, Name, PathField, SecretField, SignalName, Size, Text

OUTPUT_MAX = 16 * 1024 * 1024
"""Most output of a command that may be kept, bytes."""

SECRET_PREFIX = "whsec_"  # noqa: S105  # how Standard Webhooks marks a secret, not one

BRING_BACK = frozenset({"callback", "exec", "signal", "kill", "restart"})
"""Actions that may bring a worker back, so that a budget across incidents makes sense; a user's own may too."""

NEED_PROCESS = frozenset({"signal", "kill", "dump"})
"""Actions that act on the worker's process, which must be on this host and known for certain."""


class Table(BaseModel):
    """A table of the file. Unknown keys are refused; numbers are not taken for texts, nor texts for numbers."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    def __repr__(self) -> str:  # what it holds may be secret
        return f"<{type(self).__name__}>"

    __str__ = __repr__


def _url(value: object) -> str:
    """An http address; no message shows it, for the token is often part of it."""
    given = fields.secret(value)
    if given.startswith("${"):
        return given  # looked at when it is known (building)
    check_url(given)
    return given


def check_url(given: str) -> None:
    """ValueError unless ``given`` is an http address with a host."""
    try:
        parts = urllib.parse.urlsplit(given)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good or any(c.isspace() or ord(c) < 32 for c in given):
        raise ValueError("is no address of a web hook; allowed is https://HOST/… or http://HOST/…")


def check_webhook_secret(given: str) -> None:
    """ValueError if ``given`` has the mark of a Standard Webhooks secret and is none."""
    if given.startswith(SECRET_PREFIX):
        try:
            base64.b64decode(given.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            raise ValueError(f"begins with {SECRET_PREFIX} and goes on with what is not base64") from None


class CallbackOptions(Table):
    """Run a callback by its name in [callbacks]."""

    callback: Name = Field(description="A name of [callbacks].")


class ExecOptions(Table):
    """Run a command, the incident in its environment and as JSON on its stdin."""

    command: Command = Field(description="The program and its arguments; no shell runs it.")
    timeout: Duration | None = Field(None, description="Then its whole process group is killed.")
    output_max: Size | None = Field(None, description="How much of its output is kept.")

    @model_validator(mode="after")
    def _bounded(self) -> ExecOptions:
        if self.output_max is not None and self.output_max > OUTPUT_MAX:
            raise ValueError(f"output_max: at most {OUTPUT_MAX} bytes (16MiB) are allowed")
        return self


class SignalOptions(Table):
    """Send a signal to the worker's process."""

    signal: SignalName = Field(description="Which one.")


class KillOptions(Table):
    """CONT, TERM, wait, KILL, and see that it is dead."""

    wait: Duration | None = Field(None, description="From TERM to KILL.")
    group: bool | None = Field(None, description="Its process group too, where it leads one.")


class RestartOptions(Table):
    """Start the program anew."""


class WebhookOptions(Table):
    """POST the incident as CloudEvents JSON, signed as Standard Webhooks."""

    url: Annotated[str, BeforeValidator(_url), fields.Shown({"type": "string", "minLength": 1})] = Field(
        description="https://… or http://…; may hold ${ENV}."
    )
    secret: SecretField | None = Field(None, description="Signs it; better ${ENV} than the secret itself.")
    secret_file: PathField | None = Field(None, description="Holds the secret.")
    timeout: Duration | None = Field(None, description="For each try.")
    retries: Annotated[int, Field(ge=0, le=20)] | None = Field(None, description="Tries after the first.")

    @model_validator(mode="after")
    def _one_secret(self) -> WebhookOptions:
        if self.secret is not None and self.secret_file is not None:
            raise ValueError("secret and secret_file: only one of them is allowed")
        return self


class NotifyOptions(Table):
    """Tell people."""

    to: Name = Field(description="A name of [notify.NAME].")


class DumpOptions(Table):
    """Put on record what the process is doing."""

    seconds: Duration | None = Field(None, description="How long it may take.")


class LogOptions(Table):
    """Write a line to the supervisor's log."""

    text: Text | None = Field(None, description="Instead of a sentence about the incident.")


OPTIONS: dict[str, type[Table]] = {
    "callback": CallbackOptions,
    "exec": ExecOptions,
    "signal": SignalOptions,
    "kill": KillOptions,
    "restart": RestartOptions,
    "webhook": WebhookOptions,
    "notify": NotifyOptions,
    "dump": DumpOptions,
    "log": LogOptions,
}
"""The actions that banken has. A user's own come from [actions] and the entry points ``banken.actions``."""

SECRET_OPTIONS = frozenset({"url", "secret", "secret_file", "urls", "urls_file", "env"})
"""Keys below which no message shows a value."""


class RungFields(Table):
    """What every rung may say, whatever it does."""

    after: fields.DurationOrZero = Field(0.0, description="Time from the verdict to this rung.")
    level: Literal["warning", "critical", "emergency"] | None = Field(None, description="For people and routing.")
    repeat: Duration | None = Field(
        None, description="Again this often, until the next rung is due or the incident ends."
    )
    budget: fields.BudgetField | None = Field(None, description="Runs allowed; one more gives the watchdog up.")
    backoff: fields.BackoffField | None = Field(None, description="Wait longer before each run within the budget.")


RUNG_KEYS = frozenset({"do", *RungFields.model_fields})
"""Keys of a rung that are not its action's."""


class OwnRung(RungFields):
    """A rung that runs a user's own action, with whatever options that takes."""

    model_config = ConfigDict(extra="allow")

    do: Name = Field(
        description="A name of [actions], or of an installed entry point.",
        json_schema_extra={"not": {"enum": list(OPTIONS)}},
    )


def rung_model(action: str, options: type[Table]) -> Any:
    """A rung's fields and the action's together."""
    from pydantic import create_model

    kind: Any = Literal[action]
    return create_model(
        f"{action.capitalize()}Rung", __base__=(RungFields, options), __doc__=options.__doc__, do=(kind, ...)
    )


RUNGS: dict[str, Any] = {action: rung_model(action, options) for action, options in OPTIONS.items()}
