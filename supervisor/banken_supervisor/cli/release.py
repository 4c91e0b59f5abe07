"""``banken release``: watch a name no longer."""

from __future__ import annotations

import click

from banken_supervisor.cli.options import NAME, address_option, quiet_option, row_of
from banken_supervisor.operator_client.supervisor_client import connect, tell


@click.command(short_help="Watch NAME no longer.")
@click.argument("name", type=NAME)
@quiet_option
@address_option
def command(name: str, quiet: bool, address: str | None) -> None:
    """Watch NAME no longer. A worker that still feeds it declares it anew."""
    from banken.protocol.messages import Kind

    with connect(address) as control:
        row_of(control, name)
        row = tell(control, Kind.RELEASE, name)
    if not quiet:
        click.echo(f"{name} released: it is watched no longer" + (", but was fed again already" if row else ""))
