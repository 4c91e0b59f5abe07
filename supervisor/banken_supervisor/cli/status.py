"""``banken status``: who is watched, and how they are."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import click

from banken.address import option_for, whole_text
from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.completion import watched
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.leader_incidents import leader_of, marked
from banken_supervisor.cli.options import DURATION, reading_address_option
from banken_supervisor.cli.places import BAD, Places, program_severity
from banken_supervisor.cli.printing import Table, clean, fancy, need_terminal, print_json
from banken_supervisor.cli.status_table import PROGRAMS, WATCHDOGS, summary_line
from banken_supervisor.operator_client.pager import FEW, all_rows
from banken_supervisor.operator_client.supervisor_client import connect
from banken_supervisor.text import cluster_text, upward_text
from banken_supervisor.text.durations import format_s

ROWS_ON_TERMINAL = 50
"""Rows shown on a terminal unless --limit says otherwise: the worst come first, and thousands help nobody."""

WATCH_S = "2s"
"""How often --watch shows it anew, unless told otherwise."""

WATCH_LEAST_S = 1.0
"""Seconds between two looks at the least: a supervisor has better things to do."""


@click.command(short_help="Show who is watched, the worst first.")
@click.argument("name", required=False, shell_complete=watched)
@click.option(
    "--json", "as_json", is_flag=True, help='Print {"summary": …, "watchdogs": […], "programs": […]}, all.'
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Show at most N rows, 0 for all.  [default: {ROWS_ON_TERMINAL} on a terminal, else all]",
)
@click.option(
    "--watch",
    type=DURATION,
    is_flag=False,
    flag_value=WATCH_S,
    metavar="[SECONDS]",
    help=f"Show it anew every SECONDS, until q or Ctrl-C.  [without SECONDS: {WATCH_S}]",
)
@click.option("--exit-code", is_flag=True, help="Exit with 1 if any that is shown is expired or given up.")
@reading_address_option
def command(
    name: str | None,
    as_json: bool,
    limit: int | None,
    watch: float | None,
    exit_code: bool,
    address: str | None,
) -> int:
    """Show the supervisor and who is watched, the worst first, and the programs; with NAME, only that one.

    NAME may be a pattern, such as 'worker-*' (in quotes, because of the shell). Exit code 1 if nothing has that
    name. `banken top` shows more, live.
    """
    if watch is not None:
        if as_json or exit_code:
            raise click.UsageError("--watch is for people: it goes neither with --json nor with --exit-code")
        if watch < WATCH_LEAST_S:
            least = format_s(WATCH_LEAST_S)
            raise click.UsageError(f"--watch looks at most every {least}, not every {format_s(watch)}")
        need_terminal("--watch", "`banken status --json`, or `banken events --json` to follow")
        where = whole_text(address)
        from banken_supervisor.cli.watching import WatchApp

        app = WatchApp(where, name, limit, watch)
        app.run(mouse=False)
        if app.fault:
            raise Failure(app.fault)
        return app.return_code or exit_codes.OK
    with connect(address) as control:
        summary = control.request("summary")
        rows = all_rows(control, None if summary["watchdogs"] <= FEW else name)
        known = rows if len(rows) >= summary["watchdogs"] else None
        found = Places().sort((row for row in rows if name is None or fnmatchcase(row["name"], name)), 0.0)
        programs = [
            row for row in control.request("programs")["rows"] if name is None or fnmatchcase(row["name"], name)
        ]
        where = control.address.text
    if as_json:
        print_json({"summary": summary, "watchdogs": found, "programs": programs})
    else:
        click.echo(summary_line(summary, where, fancy(), known))
        if (cluster := summary.get("cluster")) is not None:
            click.echo(clean(cluster_text.headline(cluster)))
        if (upward := summary.get("upward")) is not None:
            click.echo(clean(upward_text.headline(upward)))
        leader = leader_of(summary)
        _print(WATCHDOGS, found if leader is None else marked(found, leader), limit)
        _print(PROGRAMS, Places(program_severity, "running").sort(programs, 0.0), limit)
        if not found and not programs and name is None:
            click.echo(f"nobody is watched yet; try: banken feed hello --timeout 30s{option_for(where)}")
    if name is not None and not found and not programs:
        raise Failure(f"no watchdog is called {name!r} at {where}")
    bad = any(row["state"] in BAD for row in (*found, *programs))
    return exit_codes.NOT_SO if exit_code and bad else exit_codes.OK


def _print(kind: Table, rows: list[dict[str, Any]], limit: int | None) -> None:
    """A table of at most ``limit`` rows (0: all; None: as many as fit where they go), if there are any."""
    most = (ROWS_ON_TERMINAL if fancy() else None) if limit is None else limit or None
    if rows:
        click.echo()
        kind.print(rows[:most])
    if most is not None and most < len(rows):
        click.echo(f"… and {len(rows) - most:,} more; `--limit 0` shows all")
