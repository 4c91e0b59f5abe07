"""``banken fail``: the word that something has failed."""

from __future__ import annotations

import click

from banken.protocol.limits import REASON_MAX, check_text
from banken_supervisor.cli.options import NAME, address_option, quiet_option
from banken_supervisor.operator_client.supervisor_client import connect, tell


@click.command(short_help="Say that NAME has failed: a verdict at once.")
@click.argument("name", type=NAME)
@click.argument("reason")
@quiet_option
@address_option
def command(name: str, reason: str, quiet: bool, address: str | None) -> None:
    """Say that NAME has failed, and why: a verdict at once. Its next feed ends the incident.

    A NAME that is not watched yet is declared with the supervisor's defaults, so that the first failure of a
    job is not lost.
    """
    from banken.protocol.messages import Kind

    with connect(address) as control:
        row = tell(control, Kind.FAIL, name, check_text(reason, "reason", REASON_MAX))
    if quiet or row is None:
        return
    incident = row.get("incident")
    if incident is None:
        click.echo(f"{name} is {row['state']}: the failure is on record, and nothing runs for it")
    else:
        click.echo(f"{name} failed: incident {incident['id']} is open, until its next feed")
