"""``banken stop``: end the supervisor, in order."""

from __future__ import annotations

import time

import click

from banken.errors import Unreachable
from banken_supervisor.cli import exits
from banken_supervisor.cli.asking import address_option, asking, holder, quiet_option
from banken_supervisor.cli.group import Failure

GONE_WITHIN_S = 10.0
"""A supervisor stops within 5 seconds, whatever its callbacks do; twice that is a fault."""

LOOK_EVERY_S = 0.02


@click.command(short_help="Ask the supervisor to stop, and wait until it has.")
@quiet_option
@address_option
def command(quiet: bool, address: str | None) -> None:
    """Ask the supervisor to stop, and wait until another one could take its address."""
    with asking(address) as control:
        pid = control.request("ping")["pid"]
        directory = control.address.directory
        try:
            control.request("stop")
        except Unreachable:
            if directory is not None and holder(directory) == pid:
                raise
            # It stopped so quickly that its answer was left behind.
        began = time.monotonic()
        while holder(directory) == pid if directory is not None else _answers(control):
            if time.monotonic() - began > GONE_WITHIN_S:
                raise Failure(
                    f"the supervisor (pid {pid}) still holds {control.address.text} after {GONE_WITHIN_S:g} s; "
                    f"`kill -9 {pid}` ends it, and no incident is lost by that",
                    exits.NOT_SO,
                )
            time.sleep(LOOK_EVERY_S)
    if not quiet:
        click.echo(f"the supervisor at {control.address.text} (pid {pid}) has stopped")


def _answers(control: object) -> bool:
    from banken.control import Control

    assert isinstance(control, Control)
    try:
        control.request("ping")
    except Unreachable:
        return False
    return True
