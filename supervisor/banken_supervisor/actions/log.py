"""``log``: write one line to the supervisor's log."""

from __future__ import annotations

import logging
import re
import threading

from banken.errors import Refused
from banken.protocol.limits import shorten
from banken_supervisor.actions import options
from banken_supervisor.actions.base import Action, Outcome, Subject, World
from banken_supervisor.actions.sanitize import line
from banken_supervisor.text import incident_text

LINE_MAX = 2000
"""Characters of the line."""

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "emergency": logging.CRITICAL,
}
_FACTS = (
    *("name", "incident", "cause", "opened", "silence", "timeout", "run", "step", "level"),
    *("reason", "status", "progress", "pid", "program", "link"),
)
_field = re.compile(r"\{([^{}]*)\}")


class Log(Action):
    """``text``: the line; ``{name}``, ``{cause}``, ``{silence}`` and the like stand for what is known."""

    name = "log"

    def __init__(self, *, text: str | None = None) -> None:
        self._text = None if text is None else options.words(text, "text", LINE_MAX)
        for each in _field.findall(text or ""):
            if each not in _FACTS:  # not str.format: that would reach into attributes
                allowed = ", ".join(f"{{{fact}}}" for fact in _FACTS)
                raise Refused(f"text: {{{shorten(each)}}} is nothing that is known; allowed: {allowed}")

    def run(self, subject: Subject, world: World, ended: threading.Event) -> Outcome:
        """Write it, with the step's level where the logging module has such a one."""
        said = incident_text.title(subject) if self._text is None else _filled(self._text, subject)
        usual = "info" if subject.recovered else "warning"
        world.log(_LEVELS.get((subject.level or usual).lower(), logging.WARNING), line(said, LINE_MAX))
        return Outcome(True, line(said))


def _filled(template: str, subject: Subject) -> str:
    known = incident_text.facts(subject, evidence=False)

    def value(match: re.Match[str]) -> str:
        found = known.get(match[1], "-")
        return f"{found:.1f}" if isinstance(found, float) else str(found)

    return _field.sub(value, template)
