"""``banken start``: a program of the supervisor's."""

from __future__ import annotations

import click

from banken_supervisor.cli import completion_items
from banken_supervisor.cli.options import NAME, address_option, quiet_option


@click.command(short_help="Start a program of the config.")
@click.argument("name", type=NAME, shell_complete=completion_items.programs)
@quiet_option
@address_option
def command(name: str, quiet: bool, address: str | None) -> None:
    """Start the program NAME, one that had stopped or was given up, and wait until it runs."""
    from banken_supervisor.cli import programs

    programs.command("start", name, address, quiet=quiet)
