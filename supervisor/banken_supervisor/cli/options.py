"""Options and arguments that most commands share. Imports ZeroMQ only when a command runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from banken.protocol.limits import NAME_MAX, check_name
from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.operator_client.pager import all_rows

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
        from banken_supervisor.cli.completion_items import watchdogs

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


def is_pattern(name: str) -> bool:
    """Whether ``name`` stands for many names, as in a shell."""
    return any(c in name for c in "*?[")


def row_of(control: Control, name: str) -> dict[str, Any]:
    """The one watchdog called ``name``; a Failure if there is none."""
    found: list[dict[str, Any]] = control.request("status", name=name)["rows"]
    if not found:
        raise Failure(
            f"no watchdog is called {name!r} at {control.address.text}; `banken status` lists them",
            exit_codes.NOT_SO,
        )
    return found[0]


def all_of(control: Control, given: str) -> list[dict[str, Any]]:
    """The watchdogs that a name or a pattern stands for; a Failure if there is none."""
    if not is_pattern(given):
        return [row_of(control, given)]
    found = all_rows(control, given)
    if not found:
        raise Failure(
            f"no watchdog fits {given!r} at {control.address.text}; `banken status` lists them", exit_codes.NOT_SO
        )
    return found
