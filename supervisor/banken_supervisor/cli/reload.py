"""``banken reload``: have the supervisor read its config file again."""

from __future__ import annotations

import time

import click

from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import address_option, quiet_option
from banken_supervisor.cli.printing import clean
from banken_supervisor.operator_client.supervisor_client import connect

WITHIN_S = 30.0

ASK_EVERY_S = 0.05


@click.command(short_help="Have the supervisor read its config file again.")
@quiet_option
@address_option
def command(quiet: bool, address: str | None) -> None:
    """Have the supervisor read its config file again, and say what became of it.

    A bad file changes nothing: its faults are listed, and the exit code is 4.
    """
    with connect(address) as control:
        deadline = time.monotonic() + WITHIN_S
        number = control.request("reload")["number"]
        while (last := control.request("reloaded"))["number"] < number:
            if time.monotonic() > deadline:
                raise Failure(f"the supervisor said nothing within {WITHIN_S:g} s", exit_codes.NOT_SO)
            time.sleep(ASK_EVERY_S)
    if not last["ok"]:
        text = "\n".join(map(clean, last["text"].splitlines()))
        raise Failure(f"the old config stays in force:\n{text}", exit_codes.REFUSED)
    if not quiet:
        click.echo(f"{clean(last['text'])} is in force")
