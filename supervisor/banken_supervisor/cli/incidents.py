"""``banken incidents``: what went wrong, and what became of it."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase
from typing import Any

import click

from banken_supervisor.cli import journals
from banken_supervisor.cli.completion_items import watched
from banken_supervisor.cli.durations import DURATION, format_s
from banken_supervisor.cli.options import address_option, is_pattern
from banken_supervisor.cli.printing import clean, fancy, plural, to_json
from banken_supervisor.cli.tables import print_table
from banken_supervisor.text.reasons import gist

HEADER = ("OPENED", "INCIDENT", "NAME", "CAUSE", "LASTED", "ENDED", "REASON")

ENDED = 5
COLOURS = {"open": "red", "given-up": "red", "lost": "yellow", "forgotten": "yellow", "fed": "green"}
"""Of the column ENDED."""

SCANNED_MAX = 100_000
"""Incidents that are looked at for a pattern."""


@click.command(short_help="List incidents, the newest first.")
@click.argument("name", required=False, shell_complete=watched)
@click.option(
    "--name", "names", multiple=True, metavar="NAME", shell_complete=watched, help="The same; repeatable."
)
@click.option("--open", "open_only", is_flag=True, help="Only those that are open.")
@click.option("--since", type=DURATION, metavar="TIME", help="Only those that were open within TIME, such as 1h.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="At most N.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@journals.journal_option
@address_option
def command(
    name: str | None,
    names: tuple[str, ...],
    open_only: bool,
    since: float | None,
    limit: int,
    as_json: bool,
    journal: str | None,
    address: str | None,
) -> None:
    """List the incidents that the journal keeps, the newest first; with NAME, those of one watchdog, or
    of all that a pattern fits ('worker-*').

    It reads the journal's file, and works without a supervisor. `banken incident ID` shows one whole.
    """
    from banken_supervisor.journal.reading import plain

    path = journals.place(address, journal)
    after = None if since is None else time.time() - since
    wanted = (*names, *([name] if name is not None else ()))
    found = journals.read(path, lambda: _find(path, wanted, open_only, after, limit))
    if as_json:
        click.echo(to_json([plain(each) for each in found], indent=2))
    elif not found:
        click.echo("no open incident" if open_only else "no incident")
    else:
        print_table(HEADER, frozenset({4}), [cells(each) for each in found], COLOURS if fancy() else None, ENDED)
        if len(found) == limit:
            click.echo(f"… the newest {plural(limit, 'incident')}; `--limit` shows more")


def _find(path: str, names: tuple[str, ...], open_only: bool, since: float | None, limit: int) -> list[Any]:
    """Incidents, newest first, at most ``limit``; of these names or patterns, none: of all."""
    from banken_supervisor.journal import reading

    def read(name: str | None, most: int) -> list[Any]:
        return list(reading.incidents(path, open_only=open_only, since=since, name=name, limit=most))

    if not names:
        return read(None, limit)
    if not any(map(is_pattern, names)):
        found = {each.id: each for name in names for each in read(name, limit)}
    else:
        found = {
            each.id: each for each in read(None, SCANNED_MAX) if any(fnmatchcase(each.name, name) for name in names)
        }
    return sorted(found.values(), key=lambda each: (each.opened, each.id), reverse=True)[:limit]


def clock(at: float) -> str:
    """Wall-clock time for people, UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"


def cells(record: Any) -> tuple[str, ...]:
    """One row of the table, as texts."""
    lasted = (record.closed or time.time()) - record.opened
    return (
        clock(record.opened),
        record.id,
        clean(record.name),
        record.cause,
        format_s(max(0.0, lasted)),
        record.how or "open",
        clean(gist(record.reason)[:80]) if record.reason else "",
    )
