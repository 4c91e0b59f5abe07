"""``banken resume``: judge a paused watchdog again."""

from __future__ import annotations

import click

from banken_supervisor.cli.durations import format_s
from banken_supervisor.cli.options import NAMES, address_option, all_of, quiet_option
from banken_supervisor.operator_client.supervisor_client import connect, tell


@click.command(short_help="Judge NAME again, with a whole timeout from now.")
@click.argument("name", type=NAMES)
@quiet_option
@address_option
def command(name: str, quiet: bool, address: str | None) -> None:
    """Judge NAME again after a pause, with a whole timeout from now; NAME may be a pattern."""
    from banken.protocol.messages import Kind

    with connect(address) as control:
        for before in all_of(control, name):
            row = tell(control, Kind.RESUME, before["name"])
            if quiet or row is None:
                continue
            if before["state"] == "paused":
                due = format_s(max(0.0, row["left"] or 0.0))
                click.echo(f"{row['name']} resumed: {row['state']}, next feed due within {due}")
            else:
                click.echo(f"{row['name']} was not paused: {row['state']}")
