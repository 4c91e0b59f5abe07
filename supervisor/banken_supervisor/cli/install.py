"""``banken install``: have systemd run the supervisor."""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from banken_supervisor.cli.group import Failure

if TYPE_CHECKING:
    from banken_supervisor.cli.unit_files import UnitFile

TEXT_MAX = 64 * 1024
"""Bytes of a file that is looked at; ours are shorter."""


@click.command(short_help="Have systemd run the supervisor.")
@click.option("--system", "for_system", is_flag=True, help="For the whole host; as root.")
@click.option("--user", "for_user", is_flag=True, help="For this user, with the user's own systemd.")
@click.option("--print", "only_print", is_flag=True, help="Show the files on stdout, and write nothing.")
@click.option("--root", metavar="DIR", help="With --system: write below DIR, which will be / of an image.")
def command(for_system: bool, for_user: bool, only_print: bool, root: str | None) -> None:
    """Write a systemd unit for `banken run`, the directories that it needs, and a first config file.

    It says what it wrote and what to type next; nothing is started. A config file that is there stays as it is. A
    unit that somebody else wrote, or changed, is not replaced (exit code 1, and nothing is written): put changes
    into a drop-in, `systemctl edit banken`.

    systemd restarts the supervisor when its loop stands still (WatchdogSec), and leaves the programs alone when it
    ends (KillMode=process): the next one adopts them.
    """
    from banken_supervisor.cli import unit_files

    if for_system == for_user:
        raise click.UsageError("say for whom: --system, for the whole host, or --user")
    if root is not None and for_user:
        raise click.UsageError("--root is for --system")
    if for_system and root is None and os.geteuid() and not only_print:
        raise Failure("--system writes into /etc: run it as root, or try --system --print; for yourself: --user")
    if for_user and not os.geteuid():
        raise Failure("root's supervisor is the host's: --system")
    version, start = unit_files.systemd_version(), unit_files.own_command()
    if for_system:
        files = unit_files.system_files(Path(root or "/"), version, start)
    else:
        files = unit_files.user_files(os.environ, version, start)
    if only_print:
        for each in files:
            click.echo(f"# {each.path}\n{each.text}")
        return
    wanted = [each for each in files if _is_wanted(each)]
    for each in files:
        if each not in wanted:
            click.echo(f"is there already  {each.path}")
    for each in wanted:
        _write(each)
        click.echo(f"wrote             {each.path}")
    if root is None:
        _say_next(for_user, version)


def _is_wanted(file: UnitFile) -> bool:
    """Whether it is to be written. Failure: there is one that is not ours."""
    from banken_supervisor.cli.unit_files import is_ours

    if not os.path.lexists(file.path):
        return True
    if file.keep:
        return False
    try:
        with open(os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="utf-8") as opened:
            found = opened.read(TEXT_MAX)
    except (OSError, UnicodeDecodeError) as fault:
        why = getattr(fault, "strerror", None) or "it is no text"
        raise Failure(f"{file.path} is not banken's, and stays as it is: {why}; nothing was written") from None
    if found == file.text:
        return False
    if not is_ours(found):
        raise Failure(
            f"{file.path} was not written by `banken install`, or was changed since, and stays as it is; nothing "
            "was written. Remove it to get a new one (--print shows it), and put changes into a drop-in"
        )
    return True


def _write(file: UnitFile) -> None:
    """As a whole or not at all. A link in its place is replaced, not followed."""
    file.path.parent.mkdir(parents=True, exist_ok=True)
    made, name = tempfile.mkstemp(prefix=".banken-", dir=file.path.parent)
    try:
        with open(made, "w", encoding="utf-8") as opened:
            opened.write(file.text)
            os.fchmod(made, 0o644)
            opened.flush()
            os.fsync(made)
        if file.keep:
            os.link(name, file.path)  # where somebody has made one in this moment, that stays
        else:
            os.replace(name, file.path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _say_next(for_user: bool, version: int | None) -> None:
    """What to type now."""
    from banken_supervisor.cli import unit_files

    click.echo("\nType next:")
    if for_user:
        click.echo("  systemctl --user daemon-reload")
        click.echo("  systemctl --user enable --now banken")
        click.echo(f"  loginctl enable-linger {shlex.quote(_own_name())}     # to have it without a login, too")
        address, journal = unit_files.user_places(os.environ, os.geteuid())
    else:
        click.echo("  systemctl daemon-reload")
        click.echo("  systemctl enable --now banken")
        address, journal = unit_files.SYSTEM_PLACES
    click.echo("  banken status")
    click.echo(f"\nIts address is {address}, its journal {journal}.")
    if version is None:
        click.echo("There is no systemctl here: the unit is written for systemd 253.", err=True)


def _own_name() -> str:
    """Of this user, whatever the environment says; one that has no name: its number, which loginctl takes, too."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
