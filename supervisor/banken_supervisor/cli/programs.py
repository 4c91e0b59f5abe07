"""``banken start``, ``restart``, ``stop`` and ``reload``: the supervisor's programs, and the supervisor itself."""

from __future__ import annotations

from typing import Any

import click

from banken.errors import Unreachable
from banken_supervisor.cli import completion, exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import NAME, address_option, allow_empty_option, quiet_option
from banken_supervisor.cli.printing import clean
from banken_supervisor.operator_client.supervisor_client import connect, lock_holder, wait_until

WITHIN_S = 30.0
"""How long a command waits until it is as it asked for."""

GONE_WITHIN_S = 10.0
"""A supervisor stops within 5 seconds, whatever its callbacks do; twice that is a fault."""


@click.command(short_help="Start a program of the config.")
@click.argument("name", type=NAME, shell_complete=completion.programs)
@quiet_option
@address_option
def start(name: str, quiet: bool, address: str | None) -> None:
    """Start the program NAME, one that had stopped or was given up, and wait until it runs."""
    _order("start", name, address, quiet)


@click.command(short_help="Stop a program and start it again.")
@click.argument("name", type=NAME, shell_complete=completion.programs)
@quiet_option
@address_option
def restart(name: str, quiet: bool, address: str | None) -> None:
    """Stop the program NAME, with its group's others where the group says so, and wait until it runs again."""
    _order("restart", name, address, quiet)


@click.command(short_help="Stop a program, or without NAME the supervisor, and wait until it has.")
@click.argument("name", type=NAME, shell_complete=completion.programs, required=False)
@quiet_option
@address_option
def stop(name: str | None, quiet: bool, address: str | None) -> None:
    """Stop the program NAME; without NAME the supervisor itself. Waits until it has ended.

    The supervisor's programs run on without it, and the next supervisor adopts them.
    """
    if name is not None:
        _order("stop", name, address, quiet)
        return
    with connect(address) as control:
        pid: int = control.request("ping")["pid"]
        directory = control.address.directory
        try:
            control.request("stop")
        except Unreachable:
            if directory is not None and lock_holder(directory) == pid:
                raise
            # It stopped so quickly that its answer was left behind.

        def gone() -> bool:
            if directory is not None:
                return lock_holder(directory) != pid
            try:
                control.request("ping")
            except Unreachable:
                return True
            return False

        if not wait_until(gone, GONE_WITHIN_S):
            raise Failure(
                f"the supervisor (pid {pid}) still holds {control.address.text} after {GONE_WITHIN_S:g} s; "
                f"`kill -9 {pid}` ends it, and no incident is lost by that"
            )
    if not quiet:
        click.echo(f"the supervisor at {control.address.text} (pid {pid}) has stopped")


@click.command(short_help="Have the supervisor read its config file again.")
@allow_empty_option
@quiet_option
@address_option
def reload(allow_empty: bool, quiet: bool, address: str | None) -> None:
    """Have the supervisor read its config file again, and say what became of it.

    A bad file changes nothing: its faults are listed, and the exit code is 4. So is an empty one, unless
    --allow-empty is given.
    """
    with connect(address) as control:
        number = control.request("reload", allow_empty=allow_empty)["number"]
        if not wait_until(lambda: control.request("reloaded")["number"] >= number, WITHIN_S):
            raise Failure(f"the supervisor said nothing within {WITHIN_S:g} s")
        last = control.request("reloaded")
    if not last["ok"]:
        text = "\n".join(map(clean, last["text"].splitlines()))
        raise Failure(f"the old config stays in force:\n{text}", exit_codes.REFUSED)
    if not quiet:
        click.echo(f"{clean(last['text'])} is in force")


def _order(what: str, name: str, address: str | None, quiet: bool) -> None:
    """Have the supervisor do it, and wait until it is so; a Failure if it is not within WITHIN_S."""
    with connect(address) as control:

        def look() -> dict[str, Any] | None:
            return next((row for row in control.request("programs")["rows"] if row["name"] == name), None)

        before = look()
        row = control.request("program", what=what, name=name)["rows"][0]

        def settled() -> bool:
            nonlocal row
            row = look() or row
            return _so(what, row, before) or (row["state"] == "given-up" and what != "stop")

        wait_until(settled, WITHIN_S)
    pid = "" if row["pid"] is None else f" (pid {row['pid']})"
    if not _so(what, row, before):
        raise Failure(f"{name} is {row['state']}{pid}; `banken events` and its log tell more")
    if not quiet:
        click.echo(f"{name} is {row['state']}{pid}")


def _so(what: str, row: dict[str, Any], before: dict[str, Any] | None) -> bool:
    if what == "stop":
        return row["pid"] is None and row["state"] in ("stopped", "given-up")
    anew = what == "start" or before is None or before["pid"] != row["pid"]
    return row["state"] == "running" and row["pid"] is not None and anew
