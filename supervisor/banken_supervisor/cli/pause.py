"""``banken pause``: judge a watchdog no longer, for a while."""

from __future__ import annotations

import click

from banken_supervisor.cli.durations import DURATION, format_s
from banken_supervisor.cli.options import NAMES, address_option, all_of, quiet_option
from banken_supervisor.operator_client.supervisor_client import connect, tell


@click.command(short_help="Do not judge NAME, for a while or until it is resumed.")
@click.argument("name", type=NAMES)
@click.argument("duration", type=DURATION, required=False)
@quiet_option
@address_option
def command(name: str, duration: float | None, quiet: bool, address: str | None) -> None:
    """Do not judge NAME for DURATION (30s, 2m, 1h); without one, until `banken resume NAME`.

    NAME may be a pattern (quoted: 'worker-*'): all that fit it now are paused. An incident that is open is closed.
    """
    from banken.protocol.messages import Kind

    with connect(address) as control:
        for row in all_of(control, name):  # a misspelt name must not become a new watchdog
            each = row["name"]
            tell(control, Kind.PAUSE, each, duration or 0.0)
            if not quiet:
                how_long = f"until `banken resume {each}`" if duration is None else f"for {format_s(duration)}"
                click.echo(f"{each} paused: not judged {how_long}")
