"""The duration as a type of click's, beside what ``banken_supervisor.text.durations`` reads and writes."""

from __future__ import annotations

from typing import Any

import click

from banken.errors import DurationRefused
from banken.protocol.limits import check_seconds
from banken_supervisor.text.durations import ALLOWED, UNITS_S, format_s, parse

__all__ = ["ALLOWED", "DURATION", "UNITS_S", "DurationType", "format_s", "parse"]


class DurationType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on only
    """A duration on the command line, in seconds for the command."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            if isinstance(value, str):
                return parse(value)
            return check_seconds(value, "duration")
        except DurationRefused as fault:
            self.fail(str(fault), param, ctx)


DURATION = DurationType()
