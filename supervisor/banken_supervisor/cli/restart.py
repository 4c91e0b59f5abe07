"""``banken restart``: a program of the supervisor's."""

from __future__ import annotations

import click

from banken_supervisor.cli import completing
from banken_supervisor.cli.asking import NAME, address_option, quiet_option


@click.command(short_help="Stop a program and start it again.")
@click.argument("name", type=NAME, shell_complete=completing.programs)
@quiet_option
@address_option
def command(name: str, quiet: bool, address: str | None) -> None:
    """Stop the program NAME, with its group's others where the group says so, and wait until it runs again."""
    from banken_supervisor.cli import programs

    programs.command("restart", name, address, quiet=quiet)
