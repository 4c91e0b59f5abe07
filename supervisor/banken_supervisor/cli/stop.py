"""``banken stop``: end the supervisor, in order, or one of its programs."""

from __future__ import annotations

import time

import click

from banken.errors import Unreachable
from banken_supervisor.cli import completion_items, exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import NAME, address_option, quiet_option
from banken_supervisor.operator_client.supervisor_client import connect, lock_holder

GONE_WITHIN_S = 10.0
"""A supervisor stops within 5 seconds, whatever its callbacks do; twice that is a fault."""

LOOK_EVERY_S = 0.02


@click.command(short_help="Stop a program, or without NAME the supervisor, and wait until it has.")
@click.argument("name", type=NAME, shell_complete=completion_items.programs, required=False)
@quiet_option
@address_option
def command(name: str | None, quiet: bool, address: str | None) -> None:
    """Stop the program NAME; without NAME the supervisor itself. Waits until it has ended.

    The supervisor's programs run on without it, and the next supervisor adopts them.
    """
    if name is not None:
        from banken_supervisor.cli import programs

        programs.command("stop", name, address, quiet=quiet)
        return
    with connect(address) as control:
        pid = control.request("ping")["pid"]
        directory = control.address.directory
        try:
            control.request("stop")
        except Unreachable:
            if directory is not None and lock_holder(directory) == pid:
                raise
            # It stopped so quickly that its answer was left behind.
        began = time.monotonic()
        while lock_holder(directory) == pid if directory is not None else _answers(control):
            if time.monotonic() - began > GONE_WITHIN_S:
                raise Failure(
                    f"the supervisor (pid {pid}) still holds {control.address.text} after {GONE_WITHIN_S:g} s; "
                    f"`kill -9 {pid}` ends it, and no incident is lost by that",
                    exit_codes.NOT_SO,
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
