"""``banken incidents``: what went wrong, and what became of it."""

from __future__ import annotations

import time
from typing import Any

import click

from banken_supervisor.cli import journals
from banken_supervisor.cli.asking import address_option
from banken_supervisor.cli.durations import DURATION, format_s
from banken_supervisor.cli.printing import clean, columns, plural, to_json

HEADER = ("OPENED", "INCIDENT", "NAME", "CAUSE", "LASTED", "ENDED", "REASON")


@click.command(short_help="List incidents, the newest first.")
@click.argument("name", required=False)
@click.option("--open", "open_only", is_flag=True, help="Only those that are open.")
@click.option("--since", type=DURATION, metavar="TIME", help="Only those that were open within TIME, such as 1h.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="At most N.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@journals.journal_option
@address_option
def command(
    name: str | None,
    open_only: bool,
    since: float | None,
    limit: int,
    as_json: bool,
    journal: str | None,
    address: str | None,
) -> None:
    """List the incidents that the journal keeps, the newest first; with NAME, those of one watchdog.

    It reads the journal's file, and works without a supervisor. `banken incident ID` shows one whole.
    """
    from banken_supervisor.journal import reading
    from banken_supervisor.journal.shown import shown

    path = journals.place(address, journal)
    after = None if since is None else time.time() - since
    found = journals.read(
        path, lambda: reading.incidents(path, open_only=open_only, since=after, name=name, limit=limit)
    )
    if as_json:
        click.echo(to_json([shown(each) for each in found], indent=2))
    elif not found:
        click.echo("no open incident" if open_only else "no incident")
    else:
        click.echo("\n".join(columns(HEADER, map(_cells, found), frozenset({4}))))
        if len(found) == limit:
            click.echo(f"… the newest {plural(limit, 'incident')}; `--limit` shows more")


def clock(at: float) -> str:
    """Wall-clock time for people, UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"


def _cells(record: Any) -> tuple[str, ...]:
    lasted = (record.closed or time.time()) - record.opened
    return (
        clock(record.opened),
        record.id,
        clean(record.name),
        record.cause,
        format_s(max(0.0, lasted)),
        record.how or "open",
        clean((record.reason or "").splitlines()[-1][:80]) if record.reason else "",
    )
