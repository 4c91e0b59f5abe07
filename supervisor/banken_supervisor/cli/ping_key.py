"""``banken ping-key``: keys that feed one name by a URL, and do nothing else."""

from __future__ import annotations

import sys

import click

from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import NAME, address_option


@click.command(short_help="Print the key with which a URL feeds NAME.")
@click.argument("name", type=NAME, required=False)
@click.option("--new", is_flag=True, help="Make another one; the former works no longer.")
@click.option("--revoke", is_flag=True, help="Remove it; it works no longer.")
@address_option
def command(name: str | None, new: bool, revoke: bool, address: str | None) -> None:
    """Print the key with which a URL of the web process feeds NAME; the first time it is made. Without NAME, list
    the names that have one.

    /p/KEY means /ping/NAME, and so do /p/KEY/start, /p/KEY/fail and /p/KEY/EXIT_STATUS. The key needs no token, and
    does nothing for any other name. Keys outlive a reboot. A revoked one is refused at once.

    \b
    Examples:
      curl -fsS "http://127.0.0.1:7768/p/$(banken ping-key backup)?timeout=26h"
      banken ping-key backup --new
    """
    from banken.address import resolve
    from banken_supervisor.web import ping_keys

    at = resolve(address).whole()
    if name is None:
        if new or revoke:
            raise click.UsageError("--new and --revoke need NAME: whose key is meant?")
        for each in ping_keys.all_keys(at):
            click.echo(each)
        return
    if new and revoke:
        raise click.UsageError("--new makes another key, --revoke removes the one there is: give one of them")
    if revoke:
        if not ping_keys.revoke_key(at, name):
            raise Failure(f"{name!r} has no ping key; `banken ping-key` lists the names that have one")
        click.echo(f"the key of {name} works no longer")
        return
    key = ping_keys.make_key(at, name, new=new)
    click.echo(key)
    if sys.stdout.isatty():
        click.echo(f"use it: curl -fsS http://127.0.0.1:7768/p/{key}", err=True)
