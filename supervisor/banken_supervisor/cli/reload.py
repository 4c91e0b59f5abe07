"""``banken reload``: have the supervisor read its config file again."""

from __future__ import annotations

import click

from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import address_option, quiet_option
from banken_supervisor.cli.printing import clean
from banken_supervisor.operator_client.supervisor_client import connect, wait_until

WITHIN_S = 30.0


@click.command(short_help="Have the supervisor read its config file again.")
@quiet_option
@address_option
def command(quiet: bool, address: str | None) -> None:
    """Have the supervisor read its config file again, and say what became of it.

    A bad file changes nothing: its faults are listed, and the exit code is 4.
    """
    with connect(address) as control:
        number = control.request("reload")["number"]
        if not wait_until(lambda: control.request("reloaded")["number"] >= number, WITHIN_S):
            raise Failure(f"the supervisor said nothing within {WITHIN_S:g} s")
        last = control.request("reloaded")
    if not last["ok"]:
        text = "\n".join(map(clean, last["text"].splitlines()))
        raise Failure(f"the old config stays in force:\n{text}", exit_codes.REFUSED)
    if not quiet:
        click.echo(f"{clean(last['text'])} is in force")
