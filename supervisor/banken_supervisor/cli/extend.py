"""``banken extend``: more time, this once."""

from __future__ import annotations

import click

from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.durations import DURATION, format_s
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import NAME, address_option, quiet_option, row_of
from banken_supervisor.operator_client.supervisor_client import connect, tell


@click.command(short_help="This once, NAME's next feed may come later.")
@click.argument("name", type=NAME)
@click.argument("duration", type=DURATION)
@quiet_option
@address_option
def command(name: str, duration: float, quiet: bool, address: str | None) -> None:
    """This once, the next feed of NAME may come as late as DURATION (30s, 2m, 1h) from now."""
    from banken.protocol.messages import Kind

    with connect(address) as control:
        before = row_of(control, name)["state"]
        if before not in ("waiting", "alive"):
            raise Failure(
                f"{name} is {before}; only one that is waiting or alive can be extended", exit_codes.NOT_SO
            )
        tell(control, Kind.EXTEND, name, duration)
    if not quiet:
        click.echo(f"{name} extended: this once its next feed may take {format_s(duration)} from now")
