"""``banken cluster``: who leads, and letting another one lead."""

from __future__ import annotations

from typing import Any

import click

from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import reading_address_option
from banken_supervisor.cli.printing import clean, print_json
from banken_supervisor.text.durations import format_s

RESIGN_S = 2.0
"""Seconds that the store has to answer."""


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
        for line in lines(found):
            click.echo(clean(line))
    if found["leader"] is None:
        raise Failure("nobody is known to lead", exit_codes.NOT_SO)


def lines(found: dict[str, Any]) -> list[str]:
    """What ``summary`` says about the cluster, for people."""
    told = [
        f"cluster {found['name']}: {found['leader'] or 'nobody'} leads; this is {found['member']}, {_role(found)}"
    ]
    if found["away"] is not None:
        told.append(f"the store does not answer: {found['away']}")
    else:
        told.append(f"the store answered within {format_s(found['seconds'])}")
    for name, is_up in sorted(found["members"].items()):
        told.append(f"{name} {'answers' if is_up else 'does not answer'}")
    counts = (
        ("claims_waiting", "claims wait to be written"),
        ("held", "verdicts are held until this member leads"),
        ("acquitted", "workers were heard by another member only"),
        ("held_back", "actions were dropped because another one led"),
    )
    return told + [f"{found[key]:,} {text}" for key, text in counts if found[key]]


def _role(found: dict[str, Any]) -> str:
    if found["role"] == "leader":
        return "the leader" if found["acts"] else "the leader, which may not act before the store answers"
    words = {"follower": "a follower", "away": "waiting for the store", "resigned": "stepping down"}
    return words.get(found["role"], "of an unknown role")


@command.command(short_help="Let another member lead at once, where this one has died.")
@click.option("-c", "--config", metavar="FILE", help="The config file with [cluster], as of `banken run`.")
@click.option("--run", metavar="ID", help="Only if this run of the supervisor leads.")
def resign(config: str | None, run: str | None) -> None:
    """Write that nobody leads, if this member does: for ExecStopPost= of its unit, when its process is gone.

    A supervisor that ends in order does so itself. After a crash this saves the others a wait of `ttl`.
    """
    from banken.clock import wall
    from banken_supervisor.config import load
    from banken_supervisor.config.finding import find
    from banken_supervisor.coordination.records import LEADER, Foreign, Leader, pack_leader, unpack_leader
    from banken_supervisor.coordination.store import Away, Refused

    path = find(config)
    settings = None if path is None else load(path).cluster
    if settings is None:
        raise Failure("there is no config with [cluster]: name it with --config FILE", exit_codes.USAGE)
    store = settings.store()
    try:
        item = store.read(LEADER, RESIGN_S).items.get(LEADER)
        leader = None if item is None else unpack_leader(item.value)
        if item is None or leader is None or leader.member != settings.member or run not in (None, leader.run):
            click.echo(f"{settings.member} does not lead")
            return
        vacant = pack_leader(Leader("", leader.run, wall()))
        answer = store.transact({LEADER: item.mod}, {LEADER: vacant}, (), RESIGN_S)
    except Foreign as fault:
        raise Failure(f"who leads cannot be read: {fault}") from None
    except Away as fault:
        raise Failure(f"the store does not answer: {fault}") from None
    finally:
        store.close()
    done = "another one leads already" if isinstance(answer, Refused) else f"{settings.member} leads no longer"
    click.echo(done)
