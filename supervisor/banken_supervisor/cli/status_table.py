"""Watchdogs and programs as rows of a table, for ``banken status`` and its live form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import click

from banken_supervisor.cli.places import BAD, WORST_FIRST
from banken_supervisor.cli.printing import Table, clean
from banken_supervisor.text.counts import plural
from banken_supervisor.text.durations import NEVER_S, format_s
from banken_supervisor.text.event_text import named
from banken_supervisor.text.reasons import gist, of_check, origin, unjudged

COLOURS = {
    "expired": "red",
    "given-up": "bold red",
    "waiting": "yellow",
    "alive": "green",
    "running": "green",
    "idle": "green",
    "paused": "cyan",
}


def summary_line(
    summary: dict[str, Any], where: str, colours: bool, shown: Collection[dict[str, Any]] | None = None
) -> str:
    """Two lines: who supervises, and how many are how; what is wrong with the supervisor itself, if anything.

    ``shown``: the rows of all watchdogs, where they are known. Their states say more than the summary's.
    """

    def paint(text: str, colour: str | None) -> str:
        if not colours or colour is None:
            return text
        return click.style(text, fg=colour.removeprefix("bold "), bold=colour.endswith("red"))

    counts = summary["states"] if shown is None else Counter(row["state"] for row in shown)
    states = [paint(f"{counts[state]:,} {state}", COLOURS.get(state)) for state in WORST_FIRST if counts.get(state)]
    lines = [
        f"supervisor at {where}: pid {summary['pid']}, version {clean(summary['version'])}, "
        f"up {format_s(summary['uptime'])}, {plural(summary['messages'], 'message')} from workers",
        plural(summary["watchdogs"], "watchdog") + (": " + ", ".join(states) if states else ""),
    ]
    faults = _faults(summary)
    if faults:
        lines.append(paint("noteworthy: " + "; ".join(faults), "yellow"))
    return "\n".join(lines)


def _faults(summary: dict[str, Any]) -> list[str]:
    """What is wrong with the supervisor itself."""
    journal, refused, internal = summary.get("journal"), summary["refused"], summary.get("internal_errors", {})
    found = [
        (summary["stalls"], f"lost {format_s(summary['lost'])} in {plural(summary['stalls'], 'stall')}"),
        (summary["overloads"], f"could not read everything {plural(summary['overloads'], 'time')}"),
        (
            summary.get("descriptors_short"),
            f"{summary.get('descriptors')} of {summary.get('descriptors_max')} descriptors in use",
        ),
        (
            summary.get("processes_unseen"),
            plural(summary.get("processes_unseen", 0), "worker")
            + " judged by silence alone: no descriptor is left to notice the end",
        ),
        (summary.get("memory_short"), "memory short: new names are refused"),
        (summary["callbacks"]["stuck"], plural(summary["callbacks"]["stuck"], "stuck callback")),
        (summary["actions"]["stuck"], plural(summary["actions"]["stuck"], "stuck action")),
        (refused, f"{plural(sum(refused.values()), 'refused message')} ({_counted(refused)})"),
        (summary["log_lines_dropped"], plural(summary["log_lines_dropped"], "log line") + " dropped"),
        (internal, f"{plural(sum(internal.values()), 'internal error')} ({_counted(internal)}); the log has more"),
    ]
    faults = [text for so, text in found if so]
    if journal is not None and journal["state"] not in ("ok", "opening"):
        why = f" ({clean(journal['reason'])})" if journal["reason"] else ""
        faults.append(f"journal {clean(journal['state'])}{why}")
    if journal is not None and journal.get("problems"):
        some = "; ".join(clean(each) for each in journal["problems"][:3])
        faults.append(f"not all that the journal held could be restored: {some}")
    return faults


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{clean(what)} {count:,}" for what, count in sorted(counts.items()))


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """One row of the table, as texts."""
    return (
        clean(row["state"]),
        clean(row["name"]),
        left_text(row),
        silence_text(row),
        _timeout(row),
        "-" if row["pid"] is None else str(row["pid"]),
        f"{row['incidents']:,}",
        "; ".join(_remarks(row)),
    )


def _timeout(row: dict[str, Any]) -> str:
    if row["timeout"] >= NEVER_S:
        return "-"
    return format_s(row["timeout"]) + (" default" if row.get("by") == "default" else "")


def left_text(row: dict[str, Any]) -> str:
    """Time until the deadline; ``-`` where none is due."""
    left = row["left"]
    return "-" if row["state"] in BAD or left is None or left > NEVER_S else format_s(max(0.0, left))


def silence_text(row: dict[str, Any]) -> str:
    """Time since its last feed; ``-`` for what need not feed."""
    return "-" if row["state"] == "running" else format_s(row["silence"])


def _remarks(row: dict[str, Any]) -> list[str]:
    remarks = []
    incident = row.get("incident")
    if incident is not None:
        why = f": {clean(gist(incident['reason']))}" if incident.get("reason") else ""
        remarks.append(f"{clean(incident['cause'])} {format_s(incident['age'])} ago{why}")
    elif (unjudged_why := unjudged(row)) is not None:
        remarks.append(unjudged_why)
    if row.get("judged_by"):
        remarks.append(f"overdue: {clean(row['judged_by'])}, which leads the cluster, judges it")
    if (seen := of_check(row)) is not None:
        remarks.append(clean(seen))
    if (where := origin(row)) is not None:
        remarks.append(clean(where))
    if row.get("end_unseen"):
        remarks.append("judged by silence alone")
    if "progress" in row:
        remarks.append(f"progress {clean(row['progress'])}")
    if "status" in row:
        remarks.append(clean(row["status"]))
    return remarks


def program_cells(row: dict[str, Any]) -> tuple[str, ...]:
    """One row of the programs' table, as texts."""
    return (
        clean(row["state"]),
        clean(row["name"]),
        "-" if row["pid"] is None else str(row["pid"]),
        format_s(row["since"]),
        "; ".join(program_remarks(row)),
    )


def program_remarks(row: dict[str, Any]) -> list[str]:
    """What is to be known of a program's runs."""
    remarks = []
    if row["due"] is not None and row["state"] == "backoff":
        remarks.append(f"starts again in {format_s(max(0.0, row['due']))}")
    if row.get("awaits"):
        remarks.append(f"starts when {clean(named(row['awaits']))} is ready")
    if row["state"] == "starting" and row["pid"] is not None:
        remarks.append("not ready yet")
    if row.get("reloading"):
        remarks.append("reloads")
    if row["state"] == "given-up":
        remarks.append(f"`banken start {clean(row['name'])}` tries it again")
    elif row["failures"]:
        remarks.append(plural(row["failures"], "restart") + " without a stable run")
    if row.get("why"):
        remarks.append(clean(row["why"]))
    if row["adopted"]:
        remarks.append("adopted from a former supervisor")
    return remarks


WATCHDOGS = Table(
    ("STATE", "NAME", "LEFT", "SILENT", "TIMEOUT", "PID", "INCIDENTS", "REMARKS"), range(2, 7), cells, COLOURS
)
PROGRAM_COLOURS = {
    "given-up": "bold red",
    "backoff": "red",
    "queued": "yellow",
    "starting": "yellow",
    "stopping": "yellow",
    "running": "green",
    "stopped": "cyan",
}

PROGRAMS = Table(("STATE", "PROGRAM", "PID", "FOR", "REMARKS"), (2, 3), program_cells, PROGRAM_COLOURS)
