"""``banken cluster``: who leads, and letting another one lead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import reading_address_option
from banken_supervisor.cli.printing import clean, print_json
from banken_supervisor.text import cluster_text

if TYPE_CHECKING:
    from banken_supervisor.coordination.settings import ClusterSettings

STORE_S = 2.0
"""Seconds that the store has to answer."""


_config = click.option("-c", "--config", metavar="FILE", help="The config file with [cluster], as of `banken run`.")


def _settings(config: str | None) -> ClusterSettings:
    from banken_supervisor.config import load
    from banken_supervisor.config.finding import find

    path = find(config)
    settings = None if path is None else load(path).cluster
    if settings is None:
        raise Failure("there is no config with [cluster]: name it with --config FILE", exit_codes.USAGE)
    return settings


@click.group(short_help="Several supervisors as one: who leads.")
def command() -> None:
    """Several supervisors as one, on etcd: who leads, and letting another one lead."""


@command.command(short_help="Show who leads, and how this member is.")
@click.option("--json", "as_json", is_flag=True, help="Print what the supervisor says about its cluster.")
@reading_address_option
def status(as_json: bool, address: str | None) -> None:
    """Show who leads, which other members this one reaches, and whether the store answers.

    Exit code 1 if this supervisor is in no cluster, or if nobody is known to lead.
    """
    from banken_supervisor.operator_client.supervisor_client import connect

    with connect(address) as control:
        found = control.request("summary").get("cluster")
        where = control.address.text
    if found is None:
        raise Failure(f"the supervisor at {where} is in no cluster: its config has no [cluster]")
    if as_json:
        print_json(found)
    else:
        for line in cluster_text.lines(found):
            click.echo(clean(line))
    if found["leader"] is None:
        raise Failure("nobody is known to lead", exit_codes.NOT_SO)


@command.command(short_help="Let another member lead at once, where this one has died.")
@_config
@click.option("--run", metavar="ID", help="Only if this run of the supervisor leads.")
def resign(config: str | None, run: str | None) -> None:
    """Write that nobody leads, if this member does: for ExecStopPost= of its unit, when its process is gone.

    A supervisor that ends in order does so itself. After a crash this saves the others a wait of `ttl`.
    """
    from banken.clock import wall
    from banken_supervisor.coordination.records import LEADER, Foreign, pack_leader, unpack_leader
    from banken_supervisor.coordination.store import Away, Refused

    settings = _settings(config)
    store = settings.store()
    try:
        item = store.read(LEADER, STORE_S).items.get(LEADER)
        leader = None if item is None else unpack_leader(item.value)
        if item is None or leader is None or leader.member != settings.member or run not in (None, leader.run):
            click.echo(f"{settings.member} does not lead")
            return
        vacant = pack_leader(leader._replace(member="", since=wall()))
        answer = store.transact({LEADER: item.mod}, {LEADER: vacant}, (), STORE_S)
    except Foreign as fault:
        raise Failure(f"who leads cannot be read: {fault}") from None
    except Away as fault:
        raise Failure(cluster_text.of_store(str(fault))) from None
    finally:
        store.close()
    done = "another one leads already" if isinstance(answer, Refused) else f"{settings.member} leads no longer"
    click.echo(done)


@command.command(short_help="Forget a member that is gone for good.")
@click.argument("name")
@_config
def forget(name: str, config: str | None) -> None:
    """Forget a member that is gone for good: the others ask it no longer, and nothing is told of it.

    One that still runs is there again with its next start. Exit code 2 if there is no member of this name.
    """
    from banken_supervisor.coordination.records import MEMBERS
    from banken_supervisor.coordination.store import Away

    store = _settings(config).store()
    try:
        known = store.read(MEMBERS, STORE_S).items
        if MEMBERS + name not in known:
            names = ", ".join(sorted(each.removeprefix(MEMBERS) for each in known))
            raise Failure(f"the cluster has no member {name!r}; its members: {names or 'none'}", exit_codes.USAGE)
        store.transact({}, {}, (MEMBERS + name,), STORE_S)
    except Away as fault:
        raise Failure(cluster_text.of_store(str(fault))) from None
    finally:
        store.close()
    click.echo(f"{clean(name)} is forgotten")
