"""Options and arguments that most commands share. Imports ZeroMQ only when a command runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from banken.errors import DurationRefused
from banken.protocol.limits import NAME_MAX, check_name
from banken_supervisor.cli.group import Failure
from banken_supervisor.operator_client.pager import all_rows
from banken_supervisor.text.durations import parse
from banken_supervisor.text.patterns import is_pattern

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from banken.control import Control

F = TypeVar("F", bound=Callable[..., Any])

address_option: Callable[[F], F] = click.option(
    "--address",
    metavar="ADDRESS",
    help="The supervisor's directory.  [default: $BANKEN_ADDRESS, else $XDG_RUNTIME_DIR/banken, "
    "else /run/banken for root, else ~/.local/state/banken/run]",
)
json_logs_option: Callable[[F], F] = click.option(
    "--json-logs", is_flag=True, help="Write the log as one JSON object a line."
)
quiet_option: Callable[[F], F] = click.option(
    "-q", "--quiet", is_flag=True, help="Print nothing unless it goes wrong."
)


class NameType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on only
    """A watchdog's name."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return check_name(value)
        except ValueError as fault:
            self.fail(str(fault), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from banken_supervisor.cli.completion import watchdogs

        return watchdogs(ctx, param, incomplete)


NAME = NameType()


class NamesType(NameType):
    """A watchdog's name, or a shell pattern that stands for several (worker-*)."""

    name = "name or pattern"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if isinstance(value, str) and is_pattern(value) and len(value) <= 2 * NAME_MAX:
            return value
        return super().convert(value, param, ctx)


NAMES = NamesType()


class DurationType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on only
    """A duration on the command line, in seconds for the command."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return parse(value)
        except DurationRefused as fault:
            self.fail(str(fault), param, ctx)


DURATION = DurationType()


def all_of(control: Control, given: str) -> list[dict[str, Any]]:
    """The watchdogs that a name or a pattern stands for; a Failure if there is none."""
    found = all_rows(control, given)
    if not found:
        fits = "fits" if is_pattern(given) else "is called"
        raise Failure(f"no watchdog {fits} {given!r} at {control.address.text}; `banken status` lists them")
    return found


def row_of(control: Control, name: str) -> dict[str, Any]:
    """The one watchdog called ``name``; a Failure if there is none."""
    return all_of(control, name)[0]
