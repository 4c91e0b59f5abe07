"""``banken restart``: a program of the supervisor's."""

from __future__ import annotations

import click

from banken_supervisor.cli import completion_items
from banken_supervisor.cli.options import NAME, address_option, quiet_option


@click.command(short_help="Stop a program and start it again.")
@click.argument("name", type=NAME, shell_complete=completion_items.programs)
@quiet_option
@address_option
def command(name: str, quiet: bool, address: str | None) -> None:
    """Stop the program NAME, with its group's others where the group says so, and wait until it runs again."""
    from banken_supervisor.cli import programs

    programs.command("restart", name, address, quiet=quiet)
