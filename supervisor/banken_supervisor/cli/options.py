"""Options and arguments that most commands share. Imports ZeroMQ only when a command runs."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from banken.address import default_address
from banken.protocol.limits import NAME_MAX, check_name
from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.engine.patterns import is_pattern
from banken_supervisor.operator_client.pager import all_rows
from banken_supervisor.operator_client.supervisor_client import supervisor_elsewhere
from banken_supervisor.text.durations import parse

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from banken.control import Control

_HELP = (
    "The supervisor's directory; or tcp://HOST:PORT of one on another host, with a key in $BANKEN_KEY.  "
    "[default: $BANKEN_ADDRESS, else /run/banken for root, else $XDG_RUNTIME_DIR/banken, "
    "else /run/user/UID/banken, else ~/.local/state/banken/run]"
)


def _found(context: click.Context, option: click.Parameter, given: str | None) -> str | None:
    """For a command that only reads: another supervisor of this user, if none is at the default address."""
    other = None if context.resilient_parsing else supervisor_elsewhere(given)
    if other is not None:
        click.echo(f"no supervisor runs at {default_address()}; this is the one at {other}", err=True)
    return other or given


def _named(context: click.Context, option: click.Parameter, given: str | None) -> str | None:
    """For a command that changes something: another supervisor is only named."""
    other = None if context.resilient_parsing else supervisor_elsewhere(given)
    if other is not None:
        raise Failure(
            f"no supervisor runs at {default_address()}, but one does at {other}; "
            f"if that is the one, say --address {shlex.quote(other)}",
            exit_codes.NO_SUPERVISOR,
        )
    return given


address_option = click.option("--address", metavar="ADDRESS", help=_HELP)
reading_address_option = click.option(
    "--address",
    metavar="ADDRESS",
    callback=_found,
    help=f"{_HELP[:-1]}; if no supervisor runs there, one at another of your own usual directories]",
)
changing_address_option = click.option("--address", metavar="ADDRESS", callback=_named, help=_HELP)
json_logs_option = click.option("--json-logs", is_flag=True, help="Write the log as one JSON object a line.")
allow_empty_option = click.option(
    "--allow-empty", is_flag=True, help="Take a config file in which nothing stands: it stops every program."
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print nothing unless it goes wrong.")


class Checked(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on only
    """What ``check`` makes of an argument; a ValueError says why it takes it not."""

    def __init__(self, name: str, check: Callable[[str], Any], *, watchdogs: bool = False) -> None:
        self.name, self._check, self._watchdogs = name, check, watchdogs

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._check(value)
        except ValueError as fault:
            self.fail(str(fault), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from banken_supervisor.cli.completion import watchdogs

        return watchdogs(ctx, param, incomplete) if self._watchdogs else []


NAME = Checked("name", check_name, watchdogs=True)
NAMES = Checked(
    "name or pattern",
    lambda given: given if is_pattern(given) and len(given) <= 2 * NAME_MAX else check_name(given),
    watchdogs=True,
)
"""Also a shell pattern that stands for several (worker-*)."""
DURATION = Checked("duration", parse)
"""In seconds for the command."""


def all_of(control: Control, given: str, *, claimed: bool = False) -> list[dict[str, Any]]:
    """The watchdogs that a name or a pattern stands for; a Failure if there is none. ``claimed``: in a cluster, a
    name that this member does not know may have an open incident: it is asked when something is said of it."""
    found = all_rows(control, given)
    if not found:
        for program in control.request("programs")["rows"]:
            if program["name"] == given:
                raise Failure(f"{given} is a program that is {program['state']}; it is watched once it is started")
        if claimed and not is_pattern(given) and control.request("summary").get("cluster") is not None:
            return [{"name": given}]
        fits = "fits" if is_pattern(given) else "is called"
        raise Failure(f"no watchdog {fits} {given!r} at {control.address.text}; `banken status` lists them")
    return found


def row_of(control: Control, name: str) -> dict[str, Any]:
    """The one watchdog called ``name``; a Failure if there is none."""
    return all_of(control, name)[0]
