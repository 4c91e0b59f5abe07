"""``banken status``: who is watched, and how they are."""

from __future__ import annotations

from typing import Any

import click

from banken_supervisor.cli import exits
from banken_supervisor.cli.asking import address_option, asking, option_for, rows
from banken_supervisor.cli.durations import format_s
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.printing import clean, columns, fancy, plural, to_json

ROWS_ON_TERMINAL = 50
"""Rows shown on a terminal unless --limit says otherwise: the worst come first, and thousands help nobody."""

WORST_FIRST = ("given-up", "expired", "waiting", "alive", "paused")
COLOURS = {"expired": "red", "given-up": "red", "waiting": "yellow", "alive": "green", "paused": "cyan"}
BAD = ("expired", "given-up")

HEADER = ("STATE", "NAME", "LEFT", "SILENT", "TIMEOUT", "PID", "INCIDENTS", "REMARKS")
RIGHT = frozenset({2, 3, 4, 5, 6})


@click.command(short_help="Show who is watched, the worst first.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help='Print {"summary": …, "watchdogs": […]}, all of them.')
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Show at most N rows, 0 for all.  [default: {ROWS_ON_TERMINAL} on a terminal, else all]",
)
@click.option("--exit-code", is_flag=True, help="Exit with 1 if any that is shown is expired or given up.")
@address_option
def command(name: str | None, as_json: bool, limit: int | None, exit_code: bool, address: str | None) -> int:
    """Show the supervisor and who is watched, the worst first; with NAME, only that one.

    NAME may be a pattern, such as 'worker-*' (in quotes, because of the shell). Exit code 1 if nothing has that
    name.
    """
    with asking(address) as control:
        summary = control.request("summary")
        found = sorted(rows(control, name), key=badness)
        where = control.address.text
    if as_json:
        click.echo(to_json({"summary": summary, "watchdogs": found}, indent=2))
    else:
        colours = fancy()
        click.echo(summary_line(summary, where, colours))
        shown = found[: (ROWS_ON_TERMINAL if colours else None) if limit is None else limit or None]
        if shown:
            click.echo()
            _print(shown, colours)
        if len(shown) < len(found):
            click.echo(f"… and {len(found) - len(shown):,} more; `--limit 0` shows all")
        if not found and name is None:
            click.echo(f"nobody is watched yet; try: banken feed hello --timeout 30s{option_for(where)}")
    if name is not None and not found:
        raise Failure(f"no watchdog is called {name!r} at {where}", exits.NOT_SO)
    return exits.NOT_SO if exit_code and any(row["state"] in BAD for row in found) else exits.OK


def badness(row: dict[str, Any]) -> tuple[int, float, str]:
    """Sorts the worst first: by state, then the longest expired, then who is due next."""
    state = row["state"]
    place = WORST_FIRST.index(state) if state in WORST_FIRST else -1
    if state in BAD:
        urgency = -row.get("incident", {}).get("age", 0.0)
    else:
        urgency = float("inf") if row["left"] is None else row["left"]
    # Who waits and who is alive stand together, the one that is due first before the others.
    return WORST_FIRST.index("waiting") if state == "alive" else place, urgency, row["name"]


def summary_line(summary: dict[str, Any], where: str, colours: bool) -> str:
    """Two lines: who supervises, and how many are how; what is wrong with the supervisor itself, if anything."""

    def paint(text: str, colour: str | None) -> str:
        return click.style(text, fg=colour, bold=colour == "red") if colours and colour else text

    states = [
        paint(f"{summary['states'][state]:,} {state}", COLOURS.get(state))
        for state in WORST_FIRST
        if summary["states"].get(state)
    ]
    lines = [
        f"supervisor at {where}: pid {summary['pid']}, version {clean(summary['version'])}, "
        f"up {format_s(summary['uptime'])}, {plural(summary['messages'], 'message')} from workers",
        plural(summary["watchdogs"], "watchdog") + (": " + ", ".join(states) if states else ""),
    ]
    callbacks = summary["callbacks"]
    faults = [
        f"lost {format_s(summary['lost'])} in {plural(summary['stalls'], 'stall')}" if summary["stalls"] else "",
        f"could not read everything {plural(summary['overloads'], 'time')}" if summary["overloads"] else "",
        plural(callbacks["stuck"], "stuck callback") if callbacks["stuck"] else "",
        plural(sum(summary["refused"].values()), "refused message")
        + f" ({', '.join(f'{clean(why)} {count:,}' for why, count in sorted(summary['refused'].items()))})"
        if summary["refused"]
        else "",
        plural(summary["log_lines_dropped"], "log line") + " dropped" if summary["log_lines_dropped"] else "",
    ]
    if any(faults):
        lines.append(paint("noteworthy: " + "; ".join(filter(None, faults)), "yellow"))
    return "\n".join(lines)


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """One row of the table, as texts."""
    bad = row["state"] in BAD
    return (
        clean(row["state"]),
        clean(row["name"]),
        "-" if bad or row["left"] is None else format_s(max(0.0, row["left"])),
        format_s(row["silence"]),
        format_s(row["timeout"]),
        "-" if row["pid"] is None else str(row["pid"]),
        f"{row['incidents']:,}",
        "; ".join(_remarks(row)),
    )


def _remarks(row: dict[str, Any]) -> list[str]:
    remarks = []
    incident = row.get("incident")
    if incident is not None:
        why = f": {clean(incident['reason'])}" if incident.get("reason") else ""
        remarks.append(f"{clean(incident['cause'])} {format_s(incident['age'])} ago{why}")
    if "progress" in row:
        remarks.append(f"progress {clean(row['progress'])}")
    if "status" in row:
        remarks.append(clean(row["status"]))
    return remarks


def _print(found: list[dict[str, Any]], colours: bool) -> None:
    if not colours:
        click.echo("\n".join(columns(HEADER, map(cells, found), RIGHT)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, title in enumerate(HEADER):
        last = place == len(HEADER) - 1
        table.add_column(
            title,
            justify="right" if place in RIGHT else "left",
            no_wrap=not last,
            overflow="fold" if last else "ellipsis",
        )
    for row in found:
        state, *others = cells(row)  # as Text: what workers wrote is no markup
        table.add_row(Text(state, COLOURS.get(row["state"], "")), *map(Text, others))
    Console(highlight=False).print(table)
