"""``banken pause``: judge a watchdog no longer, for a while."""

from __future__ import annotations

import click

from banken_supervisor.cli.asking import NAME, address_option, asking, quiet_option, row_of, tell
from banken_supervisor.cli.durations import DURATION, format_s


@click.command(short_help="Do not judge NAME, for a while or until it is resumed.")
@click.argument("name", type=NAME)
@click.argument("duration", type=DURATION, required=False)
@quiet_option
@address_option
def command(name: str, duration: float | None, quiet: bool, address: str | None) -> None:
    """Do not judge NAME for DURATION (30s, 2m, 1h); without one, until `banken resume NAME`.

    An incident that is open is closed.
    """
    from banken.wire import Kind

    with asking(address) as control:
        row_of(control, name)  # a misspelt name must not become a new watchdog
        tell(control, Kind.PAUSE, name, duration or 0.0)
    if not quiet:
        how_long = f"until `banken resume {name}`" if duration is None else f"for {format_s(duration)}"
        click.echo(f"{name} paused: not judged {how_long}")
