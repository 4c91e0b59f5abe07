"""``banken resume``: judge a paused watchdog again."""

from __future__ import annotations

import click

from banken_supervisor.cli.asking import NAME, address_option, asking, quiet_option, row_of, tell
from banken_supervisor.cli.durations import format_s


@click.command(short_help="Judge NAME again, with a whole timeout from now.")
@click.argument("name", type=NAME)
@quiet_option
@address_option
def command(name: str, quiet: bool, address: str | None) -> None:
    """Judge NAME again after a pause, with a whole timeout from now."""
    from banken.wire import Kind

    with asking(address) as control:
        before = row_of(control, name)["state"]
        row = tell(control, Kind.RESUME, name)
    if quiet or row is None:
        return
    if before == "paused":
        click.echo(f"{name} resumed: {row['state']}, next feed due within {format_s(max(0.0, row['left'] or 0.0))}")
    else:
        click.echo(f"{name} was not paused: {row['state']}")
