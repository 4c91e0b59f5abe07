"""The table of actions that a step may name, and what each may be told.

One model per action, so that what reaches ``recovery/`` was checked here. Only what the file gives is handed on:
the actions' own defaults live with the actions.
"""

from __future__ import annotations

import base64
import binascii
import re
import urllib.parse
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from banken_supervisor.config import fields
from banken_supervisor.config.faults import quoted
from banken_supervisor.config.fields import Duration, Name, PathField, SecretField, SignalName

_visible = re.compile(r"[!-~]+")
_fact = re.compile(r"\{([^{}]*)\}")

OUTPUT_MAX = 256 * 1024
"""Most output of a command that may be kept, bytes."""

ARGUMENTS_MAX = 256
"""Words of a command that a step runs."""

URL_MAX = 2048
LINE_MAX = 2000
"""Characters of a web hook's address, and of a line for the log."""

SECRET_PREFIX = "whsec_"  # noqa: S105  # how Standard Webhooks marks a secret, not one
KEY_MIN, KEY_MAX = 24, 64
"""Bytes of the key in a secret, as Standard Webhooks has it."""

LOG_FACTS = (
    *("name", "incident", "cause", "opened", "silence", "timeout", "run", "step", "level"),
    *("reason", "status", "progress", "pid", "program", "link"),
)
"""What ``{…}`` in a line for the log may stand for."""

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
    """ValueError unless ``given`` is an http address that a web hook may have. It is not shown."""
    try:
        parts = urllib.parse.urlsplit(given)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not _visible.fullmatch(given):
        raise ValueError(
            "is no address of a web hook; allowed is https://HOST/… or http://HOST/…, in ASCII and without blanks"
        )
    if "@" in parts.netloc:
        raise ValueError("holds a user or a password, which is not allowed: sign with a secret instead")
    if len(given) > URL_MAX:
        raise ValueError(f"has {len(given):,} characters; at most {URL_MAX:,} are allowed")


def check_webhook_secret(given: str) -> None:
    """ValueError unless ``given`` is a secret of Standard Webhooks. It is not shown."""
    try:
        key = base64.b64decode(given.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not given.startswith(SECRET_PREFIX) or not KEY_MIN <= len(key) <= KEY_MAX:
        raise ValueError(f"is no secret: {SECRET_PREFIX} and the base64 of {KEY_MIN} to {KEY_MAX} bytes is allowed")


def _exec_command(value: object) -> list[str]:
    return fields.command(value, words_max=ARGUMENTS_MAX)


def _output(value: object) -> int:
    return fields.size(value, most=OUTPUT_MAX, shown="256 KiB")


def _line(value: object) -> str:
    given = fields.text(value, longest=LINE_MAX)
    unknown = next((each for each in _fact.findall(given) if each not in LOG_FACTS), None)
    if unknown is not None:
        known = ", ".join(f"{{{fact}}}" for fact in LOG_FACTS)
        raise ValueError(f"{quoted(f'{{{unknown}}}')} stands for nothing that is known; allowed: {known}")
    return given


class CallbackOptions(Table):
    """Run a callback by its name in [callbacks]."""

    callback: Name = Field(description="A name of [callbacks].")
    timeout: Annotated[float, *fields.seconds(0.1, 3600)] | None = Field(
        None, description="If it takes longer it is reported as stuck."
    )


class ExecOptions(Table):
    """Run a command, the incident in its environment and as JSON on its stdin."""

    command: Annotated[list[str], BeforeValidator(_exec_command), fields.Shown(fields.COMMAND)] = Field(
        description="The program and its arguments; no shell runs it."
    )
    timeout: Annotated[float, *fields.seconds(0.1, 3600)] | None = Field(
        None, description="Then its whole process group is killed."
    )
    output_max: Annotated[int, BeforeValidator(_output), fields.Shown(fields.SIZE)] | None = Field(
        None, description="How much of its output is kept; at most 256KiB."
    )


class SignalOptions(Table):
    """Send a signal to the worker's process."""

    signal: SignalName = Field(description="Which one.")


class KillOptions(Table):
    """CONT, TERM, wait, KILL, and see that it is dead."""

    wait: Annotated[float, *fields.seconds(0, 3600)] | None = Field(None, description="From TERM to KILL.")
    group: bool | None = Field(None, description="Its process group too, where it leads one.")


class RestartOptions(Table):
    """Start the program anew."""


class WebhookOptions(Table):
    """POST the incident as CloudEvents JSON, signed as Standard Webhooks."""

    url: Annotated[str, BeforeValidator(_url), fields.Shown({"type": "string", "minLength": 1})] = Field(
        description="https://… or http://…; may hold ${ENV}."
    )
    secret: SecretField | None = Field(None, description="Signs it; better ${ENV} than the secret itself.")
    secret_file: PathField | None = Field(None, description="Holds the secret; read anew for each run.")
    timeout: Annotated[float, *fields.seconds(0.1, 600)] | None = Field(None, description="For all tries together.")
    retries: Annotated[int, Field(ge=0, le=20)] | None = Field(None, description="Tries after the first.")
    ca_file: PathField | None = Field(None, description="Certificates to trust instead of the system's.")

    @model_validator(mode="after")
    def _one_secret(self) -> WebhookOptions:
        if self.secret is not None and self.secret_file is not None:
            raise ValueError("secret and secret_file: only one of them is allowed")
        return self


class NotifyOptions(Table):
    """Tell people."""

    to: Name = Field(description="A name of [notify.NAME].")
    timeout: Annotated[float, *fields.seconds(1, 600)] | None = Field(
        None, description="For all its services together; then it is reported as stuck."
    )


class DumpOptions(Table):
    """Put on record what the process is doing."""

    seconds: Annotated[float, *fields.seconds(0.1, 60)] | None = Field(None, description="How long it may take.")


class LogOptions(Table):
    """Write a line to the supervisor's log."""

    text: Annotated[str, BeforeValidator(_line), fields.Shown({"type": "string", "minLength": 1})] | None = Field(
        None, description="Instead of a sentence about the incident; {name}, {cause}, {silence} … are filled in."
    )


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


class StepFields(Table):
    """What every step may say, whatever it does."""

    after: fields.DurationOrZero = Field(0.0, description="Time from the verdict to this step.")
    level: Literal["warning", "critical", "emergency"] | None = Field(None, description="For people and routing.")
    repeat: Duration | None = Field(
        None, description="Again this often, until the next step is due or the incident ends."
    )
    budget: fields.BudgetField | None = Field(None, description="Runs allowed; one more gives the watchdog up.")
    backoff: fields.BackoffField | None = Field(None, description="Wait longer before each run within the budget.")


STEP_KEYS = frozenset({"do", *StepFields.model_fields})
"""Keys of a step that are not its action's."""


class OwnStep(StepFields):
    """A step that runs a user's own action, with whatever options that takes."""

    model_config = ConfigDict(extra="allow")

    do: Name = Field(
        description="A name of [actions], or of an installed entry point.",
        json_schema_extra={"not": {"enum": list(OPTIONS)}},
    )


def step_model(action: str, options: type[Table]) -> Any:
    """A step's fields and the action's together."""
    from pydantic import create_model

    kind: Any = Literal[action]
    return create_model(
        f"{action.capitalize()}Step", __base__=(StepFields, options), __doc__=options.__doc__, do=(kind, ...)
    )


STEPS: dict[str, Any] = {action: step_model(action, options) for action, options in OPTIONS.items()}
