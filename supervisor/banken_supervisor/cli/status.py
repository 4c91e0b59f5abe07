"""``banken status``: who is watched, and how they are."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import click

from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.completion_items import watched
from banken_supervisor.cli.durations import DURATION, format_s
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.printing import clean, fancy, plural, to_json
from banken_supervisor.cli.supervisor_client import address_option, asking, option_for, rows
from banken_supervisor.cli.tables import print_table
from banken_supervisor.text.durations import NEVER_S
from banken_supervisor.text.reasons import gist

ROWS_ON_TERMINAL = 50
"""Rows shown on a terminal unless --limit says otherwise: the worst come first, and thousands help nobody."""

WORST_FIRST = ("given-up", "expired", "waiting", "alive", "paused")
COLOURS = {"expired": "red", "given-up": "red", "waiting": "yellow", "alive": "green", "paused": "cyan"}
BAD = ("expired", "given-up")

HEADER = ("STATE", "NAME", "LEFT", "SILENT", "TIMEOUT", "PID", "INCIDENTS", "REMARKS")
RIGHT = frozenset({2, 3, 4, 5, 6})

PROGRAMS_HEADER = ("STATE", "PROGRAM", "PID", "FOR", "REMARKS")
PROGRAMS_RIGHT = frozenset({2, 3})
PROGRAMS_COLOURS = {
    "given-up": "red", "backoff": "red", "queued": "yellow", "starting": "yellow", "stopping": "yellow",
    "running": "green",
}  # fmt: skip

WATCH_S = "2s"
"""How often --watch shows it anew, unless told otherwise."""


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
@address_option
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
        from banken_supervisor.cli.watching import follow

        follow(name, limit, watch, address)
        return exit_codes.OK
    with asking(address) as control:
        summary = control.request("summary")
        found = sorted(rows(control, name), key=badness)
        programs = [
            row for row in control.request("programs")["rows"] if name is None or fnmatchcase(row["name"], name)
        ]
        where = control.address.text
    if as_json:
        click.echo(to_json({"summary": summary, "watchdogs": found, "programs": programs}, indent=2))
    else:
        colours = fancy()
        click.echo(summary_line(summary, where, colours))
        shown = found[: (ROWS_ON_TERMINAL if colours else None) if limit is None else limit or None]
        if shown:
            click.echo()
            _print(shown, colours)
        if len(shown) < len(found):
            click.echo(f"… and {len(found) - len(shown):,} more; `--limit 0` shows all")
        if programs:
            click.echo()
            _print_programs(sorted(programs, key=lambda row: row["name"]), limit, colours)
        if not found and not programs and name is None:
            click.echo(f"nobody is watched yet; try: banken feed hello --timeout 30s{option_for(where)}")
    if name is not None and not found and not programs:
        raise Failure(f"no watchdog is called {name!r} at {where}", exit_codes.NOT_SO)
    return (
        exit_codes.NOT_SO
        if exit_code and any(row["state"] in BAD for row in (*found, *programs))
        else exit_codes.OK
    )


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
    faults = _faults(summary)
    if faults:
        lines.append(paint("noteworthy: " + "; ".join(faults), "yellow"))
    return "\n".join(lines)


def _internal(counts: dict[str, int]) -> str:
    where = ", ".join(f"{clean(place)} {count:,}" for place, count in sorted(counts.items()))
    return f"{plural(sum(counts.values()), 'internal error')} ({where}); the log has more" if counts else ""


def _faults(summary: dict[str, Any]) -> list[str]:
    """What is wrong with the supervisor itself."""
    journal, refused = summary.get("journal"), summary["refused"]
    faults = [
        f"lost {format_s(summary['lost'])} in {plural(summary['stalls'], 'stall')}" if summary["stalls"] else "",
        f"could not read everything {plural(summary['overloads'], 'time')}" if summary["overloads"] else "",
        *(
            plural(summary[each]["stuck"], f"stuck {each[:-1]}") if summary[each]["stuck"] else ""
            for each in ("callbacks", "actions")
        ),
        plural(sum(refused.values()), "refused message")
        + f" ({', '.join(f'{clean(why)} {count:,}' for why, count in sorted(refused.items()))})"
        if refused
        else "",
        plural(summary["log_lines_dropped"], "log line") + " dropped" if summary["log_lines_dropped"] else "",
        _internal(summary.get("internal_errors", {})),
    ]
    if journal is not None and journal["state"] not in ("ok", "opening"):
        why = f" ({clean(journal['reason'])})" if journal["reason"] else ""
        faults.append(f"journal {clean(journal['state'])}{why}")
    if journal is not None and journal.get("problems"):
        some = "; ".join(clean(each) for each in journal["problems"][:3])
        faults.append(f"not all that the journal held could be restored: {some}")
    return [each for each in faults if each]


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """One row of the table, as texts."""
    bad = row["state"] in BAD
    return (
        clean(row["state"]),
        clean(row["name"]),
        "-" if bad or row["left"] is None or row["left"] > NEVER_S else format_s(max(0.0, row["left"])),
        format_s(row["silence"]),
        "-" if row["timeout"] > NEVER_S else format_s(row["timeout"]),
        "-" if row["pid"] is None else str(row["pid"]),
        f"{row['incidents']:,}",
        "; ".join(_remarks(row)),
    )


def _remarks(row: dict[str, Any]) -> list[str]:
    remarks = []
    incident = row.get("incident")
    if incident is not None:
        why = f": {clean(gist(incident['reason']))}" if incident.get("reason") else ""
        remarks.append(f"{clean(incident['cause'])} {format_s(incident['age'])} ago{why}")
    elif row["state"] == "given-up":
        remarks.append(f"why: banken incidents {clean(row['name'])}")
    if "progress" in row:
        remarks.append(f"progress {clean(row['progress'])}")
    if "status" in row:
        remarks.append(clean(row["status"]))
    return remarks


def program_cells(row: dict[str, Any]) -> tuple[str, ...]:
    """One row of the programs' table, as texts."""
    remarks = []
    if row["adopted"]:
        remarks.append("adopted from a former supervisor")
    if row["failures"]:
        remarks.append(plural(row["failures"], "restart") + " without a stable run")
    if row["due"] is not None and row["state"] == "backoff":
        remarks.append(f"starts again in {format_s(max(0.0, row['due']))}")
    return (
        clean(row["state"]),
        clean(row["name"]),
        "-" if row["pid"] is None else str(row["pid"]),
        format_s(row["since"]),
        "; ".join(remarks),
    )


def _print(found: list[dict[str, Any]], colours: bool) -> None:
    print_table(HEADER, RIGHT, [cells(row) for row in found], COLOURS if colours else None)


def _print_programs(programs: list[dict[str, Any]], limit: int | None, colours: bool) -> None:
    shown = programs[: (ROWS_ON_TERMINAL if colours else None) if limit is None else limit or None]
    of_state = PROGRAMS_COLOURS if colours else None
    print_table(PROGRAMS_HEADER, PROGRAMS_RIGHT, [program_cells(row) for row in shown], of_state)
    if len(shown) < len(programs):
        click.echo(f"… and {len(programs) - len(shown):,} more; `--limit 0` shows all")
