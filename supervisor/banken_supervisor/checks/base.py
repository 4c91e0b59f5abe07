"""What every check has: how often, how long, how many failures are a verdict, and the limit round each run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, Field, model_validator

from banken_supervisor.actions import options
from banken_supervisor.checks.outcome import NotRunError, Outcome, outcome
from banken_supervisor.checks.progress import Progress
from banken_supervisor.checks.subject import Subject
from banken_supervisor.text.durations import format_s
from banken_supervisor.text.secret import Secret

LEAST_S = 0.1
"""Shortest ``every`` and ``limit``."""

MOST_S = 86400.0

LIMIT_S = 3.0
"""``limit`` where none is given, or ``every`` where that is shorter."""

FAILS_MAX = 1000


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class CheckFields(BaseModel):
    """The keys of every check. A kind has one more of its own name, and ``look``."""

    model_config = options.STRICT

    kind: ClassVar[str]

    every: Annotated[float, *options.seconds(LEAST_S, MOST_S)] = Field(10.0, description="How often it runs.")
    limit: Annotated[float, *options.seconds(LEAST_S, MOST_S)] = Field(
        0.0,
        description="How long one run may take; default: 3s, at most every.",
        json_schema_extra=_without_default,
    )
    fails: Annotated[int, Field(ge=1, le=FAILS_MAX)] = Field(
        3, description="So many failures in a row are an incident."
    )

    @model_validator(mode="after")
    def _fits(self) -> CheckFields:
        if not self.limit:
            self.__dict__["limit"] = min(LIMIT_S, self.every)
        elif self.limit > self.every:
            raise ValueError(f"limit ({format_s(self.limit)}) must not exceed every ({format_s(self.every)})")
        return self

    @property
    def label(self) -> str:
        """Short, for people, without a secret: ``tcp 127.0.0.1:6379``."""
        return self.kind

    @property
    def hidden(self) -> tuple[str, ...]:
        """What no text may show."""
        return tuple(_secrets(self.__dict__))

    def secret_free(self) -> dict[str, Any]:
        """All that is set, for showing: secrets as ``***``."""
        set_here = self.model_fields_set | {"every", "limit", "fails"}
        return {
            "kind": self.kind,
            "label": self.label,
            **{
                key: _shown(value, hide=not field.repr)
                for key, field in type(self).model_fields.items()
                if key in set_here and (value := self.__dict__[key]) is not None
            },
        }

    async def run(self, subject: Subject) -> Outcome:
        """Look once. Ends within ``limit``, whatever it looks at does; leaves nothing behind."""
        import asyncio  # 100 ms, and the supervisor itself runs no check

        progress = Progress()
        try:
            async with asyncio.timeout(self.limit):
                found = await self.look(subject, progress)
        except TimeoutError:
            so_far = f": {progress.text}" if progress.text else ""
            found = Outcome(False, f"no result within {format_s(self.limit)}{so_far}")
        except NotRunError as fault:
            found = Outcome(None, f"could not be run: {fault_text(fault)}")
        except OSError as fault:
            found = Outcome(False, fault_text(fault))
        passed, text, certain, process, provisional = found
        return outcome(passed, text, hidden=self.hidden, certain=certain, process=process, provisional=provisional)

    async def look(self, subject: Subject, progress: Progress) -> Outcome:
        """The kind's own part. OSError is a failure, but for NotRunError; it is cancelled when its time is over."""
        raise NotImplementedError


def fault_text(fault: OSError) -> str:
    """Why the system refused, in words."""
    text = fault.strerror or ""
    if text.startswith("Connect call failed") and fault.errno:  # asyncio's, which says neither why nor more
        return os.strerror(fault.errno)
    return text or str(fault) or type(fault).__name__


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, Secret):
        yield value.reveal()
    elif isinstance(value, dict):
        for each in value.values():
            yield from _secrets(each)


def _shown(value: Any, *, hide: bool = False) -> Any:
    if isinstance(value, dict):
        return {key: _shown(each, hide=hide) for key, each in value.items()}
    if hide or isinstance(value, Secret):
        return "***"
    if isinstance(value, tuple):
        return str(value) if hasattr(value, "_fields") else list(value)
    return value
