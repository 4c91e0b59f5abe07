"""``banken reload``: have the supervisor read its config file again."""

from __future__ import annotations

import time

import click

from banken_supervisor.cli import exits
from banken_supervisor.cli.asking import Following, address_option, asking, quiet_option
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.printing import clean

WITHIN_S = 30.0


@click.command(short_help="Have the supervisor read its config file again.")
@quiet_option
@address_option
def command(quiet: bool, address: str | None) -> None:
    """Have the supervisor read its config file again, and say what became of it.

    A bad file changes nothing: its faults are listed, and the exit code is 4.
    """
    with asking(address) as control, Following(control.address.text) as following:
        deadline = time.monotonic() + WITHIN_S
        while not following.connected and time.monotonic() < deadline:
            following.wait(0.1)
        control.request("ping")  # the subscription was read before this was answered
        control.request("reload")
        while (left := deadline - time.monotonic()) > 0:
            for event in following.wait(left):
                if event["type"] == "reloaded":
                    if not quiet:
                        click.echo(f"{clean(event['file'])} is in force")
                    return
                if event["type"] == "reload-failed":
                    text = "\n".join(map(clean, event["text"].splitlines()))
                    raise Failure(f"the old config stays in force:\n{text}", exits.REFUSED)
    raise Failure(f"the supervisor said nothing within {WITHIN_S:g} s", exits.NOT_SO)
