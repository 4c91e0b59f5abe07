"""``banken keys``: pairs of keys for supervisors and workers on different hosts, and what each may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import Checked, address_option
from banken_supervisor.cli.printing import clean, print_json
from banken_supervisor.text.durations import format_s

if TYPE_CHECKING:
    from banken_supervisor.keys.access import Access
    from banken_supervisor.keys.directory import KeyDirectory


def _name(given: str) -> str:
    from banken_supervisor.keys.names import check

    return check(given)


def _pattern(given: str) -> str:
    from banken_supervisor.config.fields import pattern

    return pattern(given)


NAME = Checked("name", _name)

ANSWER_S = 1.0
"""Seconds that ``list`` waits for a supervisor."""

_directory = click.option(
    "--dir",
    "directory",
    metavar="DIR",
    help="Where the keys are (/etc/banken/keys for root, else $XDG_CONFIG_HOME/banken/keys).",
)
_feed = click.option(
    "--feed",
    "feed",
    multiple=True,
    metavar="PATTERN",
    type=Checked("pattern", _pattern),
    help="Names that it may feed, such as 'trainer-*'; may be given several times (default: its own name).",
)
_control = click.option(
    "--control",
    type=click.Choice(["none", "read", "full"]),
    help="What it may ask of the supervisor: nothing, what changes nothing, or all (default: none).",
)


@click.group(short_help="Keys for workers and supervisors on other hosts.")
def command() -> None:
    """Keys for workers and supervisors on other hosts: make them, and say what each may do.

    \b
    On the supervisor's host:
      banken keys new watch --server
      banken run --listen tcp://0.0.0.0:7767
      banken keys new trainer --for tcp://HOST:7767 --feed 'trainer*'
    Copy trainer.key to the worker's host, and there:
      BANKEN_ADDRESS=tcp://HOST:7767 BANKEN_KEY=trainer.key python train.py
    """


@command.command(short_help="Make a pair of keys.")
@click.argument("name", type=NAME)
@click.option("--server", is_flag=True, help="It is a supervisor's own; each directory has one.")
@click.option(
    "--for",
    "address",
    metavar="ADDRESS",
    help="The supervisor that it is for, tcp://HOST:PORT; or several, with commas between them.",
)
@_feed
@_control
@click.option("--no-allow", is_flag=True, help="Do not let it in yet; `banken keys allow` does.")
@_directory
def new(
    name: str,
    *,
    server: bool,
    address: str | None,
    feed: tuple[str, ...],
    control: str | None,
    no_allow: bool,
    directory: str | None,
) -> None:
    """Make a pair of keys: NAME.key, which is secret and goes to the worker, and NAME.pub.

    It is let in at once, unless --no-allow is given. A supervisor that runs hears of it by `banken reload`.
    """
    for option, given in (("--for", address), ("--feed", feed), ("--control", control), ("--no-allow", no_allow)):
        if server and given:
            raise click.UsageError(f"{option} is for a worker's key, not with --server")
    if no_allow and (feed or control):
        raise click.UsageError("--feed and --control say what it may do: not with --no-allow")
    keys = _open(directory)
    path = keys.new(name, server=server, address=address)
    if server:
        click.echo(f"{clean(path)} is made: `banken run --listen tcp://HOST:PORT` uses it")
        return
    if no_allow:
        click.echo(f"{clean(path)} is made; nobody lets it in before `banken keys allow {name}`")
        return
    _allow(keys, name, feed, control)
    what = "" if address else ", and give it the supervisor's public key (--for does so)"
    click.echo(f"{clean(path)} is made: copy it to the worker's host{what}. {_outcome(keys, name)}")


@command.command(short_help="Let a key in.")
@click.argument("name", type=NAME)
@_feed
@_control
@_directory
def allow(name: str, *, feed: tuple[str, ...], control: str | None, directory: str | None) -> None:
    """Let a key in, or change what it may do: from now on this, and nothing else."""
    keys = _open(directory)
    _allow(keys, name, feed, control)
    click.echo(_outcome(keys, name))


@command.command(short_help="Let a key in no longer.")
@click.argument("name", type=NAME)
@_directory
def revoke(name: str, *, directory: str | None) -> None:
    """Let a key in no longer. It counts from the next `banken reload` on, for open connections, too."""
    keys = _open(directory)
    keys.revoke(name)
    click.echo(
        f"{name} is revoked in {clean(keys.access_file)}. A supervisor that runs hears of it by `banken reload`"
    )


@command.command(short_help="Show the public half of a key, and what it may do.")
@click.argument("name", type=NAME)
@_directory
def show(name: str, *, directory: str | None) -> None:
    """Show the public half of a key, and what it may do."""
    keys = _open(directory)
    public = keys.public(name)
    click.echo(f"{name}: {public.key.decode()}")
    click.echo("the supervisor's own" if public.is_server else _words(keys.allowed().get(public.key)))


@command.command("list", short_help="List all keys, what each may do, and when it spoke last.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects on stdout.")
@_directory
@address_option
def list_(*, as_json: bool, directory: str | None, address: str | None) -> None:
    """List all keys, what each may do, and, where the supervisor of this host runs, when each spoke last, and who
    was denied lately."""
    from banken_supervisor.operator_client.supervisor_client import ask

    keys = _open(directory)
    heard = ask(address, ANSWER_S, "keys") or {"rows": [], "denied": []}
    seen = {row["public"].encode(): row for row in heard["rows"]}
    allowed = keys.allowed()
    rows = [(each.name, each.key, each.is_server, allowed.pop(each.key, None)) for each in keys.publics()]
    rows += [(each.name, key, False, each) for key, each in allowed.items()]
    if as_json:
        print_json(
            [
                {
                    "name": name, "public": key.decode(), "server": is_server, "allowed": may is not None,
                    "feed": list(may.feed) if may else [], "control": str(may.control) if may else "none",
                    "seen": seen.get(key, {}).get("seen"), "hosts": seen.get(key, {}).get("hosts", []),
                }
                for name, key, is_server, may in rows
            ]
        )  # fmt: skip
        return
    if not rows:
        raise Failure(f"there are no keys in {clean(keys.path)}; `banken keys new NAME` makes one")
    for name, key, is_server, may in rows:
        what = "the supervisor" if is_server else _words(may) + _last(seen.get(key))
        click.echo(f"{name:<20}  {key.decode()[:8]}…  {what}")
    for each in heard["denied"]:
        what = "without a key" if each["key"] is None else f"with the key {clean(each['key'][:8])}…"
        click.echo(f"denied {format_s(each['age'])} ago: {clean(each['host'])} {what}")


def _last(row: dict[str, Any] | None) -> str:
    """When a key spoke last, and from where; nothing where it has not since the supervisor's start."""
    if row is None or row["seen"] is None:
        return ""
    where = f" from {clean(row['hosts'][-1])}" if row["hosts"] else ""
    return f"; heard {format_s(row['seen'])} ago{where}"


def _open(directory: str | None) -> KeyDirectory:
    from banken_supervisor.keys.directory import KeyDirectory

    return KeyDirectory(directory)


def _allow(keys: KeyDirectory, name: str, feed: tuple[str, ...], control: str | None) -> None:
    from banken_supervisor.keys.access import Control

    keys.allow(name, feed or (name,), None if control is None else Control(control))


def _outcome(keys: KeyDirectory, name: str) -> str:
    words = _words(keys.allowed().get(keys.public(name).key))
    return f"{name} {words}. A supervisor that runs hears of it by `banken reload`"


def _words(may: Access | None) -> str:
    if may is None:
        return "is not let in"
    control = {"none": "", "read": ", and read", "full": ", and do all that an operator may"}[may.control]
    return f"may feed {', '.join(may.feed) or 'nothing'}{control}"
