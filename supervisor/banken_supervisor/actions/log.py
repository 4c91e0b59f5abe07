"""``log``: write one line to the supervisor's log."""

from __future__ import annotations

import logging
import re
import threading
from typing import Annotated, ClassVar

from pydantic import Field

from banken_supervisor.actions import incident_text, options
from banken_supervisor.actions.base import Action, ActionContext, ActionTarget, Outcome
from banken_supervisor.text.quoting import quoted
from banken_supervisor.text.sanitize import line

LINE_MAX = 2000
"""Characters of the line."""

_LEVELS = logging.getLevelNamesMapping() | {"NOTICE": logging.INFO, "EMERGENCY": logging.CRITICAL}
_FACTS = (
    *("name", "incident", "cause", "opened", "silence", "timeout", "run", "step", "level"),
    *("reason", "status", "progress", "pid", "program", "link"),
)
_field = re.compile(r"\{([^{}]*)\}")


def _template(value: object) -> str:
    given = options.text(value, longest=LINE_MAX)
    for each in _field.findall(given):
        if each not in _FACTS:  # not str.format: that would reach into attributes
            allowed = ", ".join(f"{{{fact}}}" for fact in _FACTS)
            raise ValueError(f"{quoted(f'{{{each}}}')} is not a known fact; allowed: {allowed}")
    return given


class Log(Action, options.Table):
    """Write a line to the supervisor's log."""

    name: ClassVar[str] = "log"
    brings_back: ClassVar[bool] = False

    text: Annotated[str, *options.kind(_template, options.STRING)] | None = Field(
        None, description="Instead of a sentence about the incident; {name}, {cause}, {silence} … are filled in."
    )

    def run(self, target: ActionTarget, context: ActionContext, ended: threading.Event) -> Outcome:
        """With the step's level where the logging module has such a one."""
        words = incident_text.title(target) if self.text is None else _filled(self.text, target)
        usual = "info" if target.recovered else "warning"
        context.log(_LEVELS.get((target.level or usual).upper(), logging.WARNING), line(words, LINE_MAX))
        return Outcome(True, line(words))


def _filled(template: str, target: ActionTarget) -> str:
    known = incident_text.facts(target, evidence=False)

    def value(match: re.Match[str]) -> str:
        found = known.get(match[1], "-")
        return f"{found:.1f}" if isinstance(found, float) else str(found)

    return _field.sub(value, template)
