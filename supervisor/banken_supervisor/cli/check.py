"""``banken check``: a plugin for Nagios and all that speak its language: one line, and an exit code from 0 to 3."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from banken.errors import BankenError, RequestFailed, Unreachable
from banken_supervisor.cli import journals
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.leader_incidents import down_by, leader_of
from banken_supervisor.cli.options import DURATION, NAMES, all_of, reading_address_option
from banken_supervisor.cli.places import BAD, WORST_FIRST, severity
from banken_supervisor.cli.printing import clean
from banken_supervisor.engine.patterns import is_pattern
from banken_supervisor.operator_client.pager import FEW, all_rows
from banken_supervisor.operator_client.supervisor_client import connect
from banken_supervisor.text import cluster_text, upward_text
from banken_supervisor.text.counts import plural
from banken_supervisor.text.durations import format_s
from banken_supervisor.text.reasons import gist, unjudged

if TYPE_CHECKING:
    from banken.control import Control

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")

STATES = ("alive", "waiting", "paused", "expired", "given-up")
"""Those of the performance data; an idle watchdog counts as alive there, a running one as waiting."""

NAMED_MAX = 5
"""Watchdogs that the line names, at most; of the others it says how many."""

TEXT_MAX = 300
"""Characters of the line before its figures: some pagers show no more."""

STALLS_S = 600.0
"""A stall of the supervisor is told for so long, unless --since says otherwise."""


class Thresholds(NamedTuple):
    """As Nagios has them: alert when more than so many are down; None: never."""

    warning: int | None
    critical: int | None


class Finding(NamedTuple):
    """What was found, to be judged."""

    counts: Mapping[str, int]
    """watchdogs by state"""
    down: list[dict[str, Any]]
    """rows of those that are given up or expired, the longest first"""
    only: dict[str, Any] | None = None
    """the row of the one that was asked for by its name"""
    past: int | None = None
    """incidents within --since; None: not asked for"""
    past_names: tuple[str, ...] = ()
    """whose they were, of those that are well now"""
    trouble: tuple[str, ...] = ()
    """what is wrong with the supervisor itself"""
    leader: str | None = None
    """the member of the cluster that has opened some of them"""


@contextlib.contextmanager
def _told_in_one_line() -> Iterator[None]:
    """A fault becomes one line on stdout and exit code 3."""
    try:
        yield
    except (click.exceptions.Exit, click.Abort):
        raise
    except click.UsageError as fault:
        text = f"wrong arguments: {fault.format_message()}"
    except (BankenError, click.ClickException) as fault:
        text = str(fault)
    except Exception as fault:  # noqa: BLE001  (a traceback would be taken for a warning: its exit code is 1)
        text = f"this plugin failed: {type(fault).__name__}: {fault}"
    else:
        return
    click.echo(line(UNKNOWN, text))
    raise click.exceptions.Exit(UNKNOWN)


class Plugin(click.Command):
    """A command that Nagios can read whatever happens."""

    @_told_in_one_line()
    def make_context(self, *args: Any, **more: Any) -> click.Context:
        return super().make_context(*args, **more)

    @_told_in_one_line()
    def invoke(self, ctx: click.Context) -> Any:
        return super().invoke(ctx)


@click.command(cls=Plugin, short_help="Check them as a Nagios plugin does: one line, exit code 0 to 3.")
@click.argument("names", metavar="[NAME]...", nargs=-1, type=NAMES)
@click.option(
    "-w",
    "--warning",
    type=click.IntRange(min=0),
    metavar="N",
    help="Warning if more than N are down.  [default: never]",
)
@click.option(
    "-c",
    "--critical",
    type=click.IntRange(min=0),
    metavar="N",
    help="Critical if more than N are down.  [default: 0; never if only --warning is given]",
)
@click.option(
    "--since",
    type=DURATION,
    metavar="TIME",
    help="Warn also of those that are well again but had an incident within TIME.",
)
@reading_address_option
def command(
    names: tuple[str, ...], warning: int | None, critical: int | None, since: float | None, address: str | None
) -> int:
    """Check all watchdogs, or those of these names or patterns, and print one line as a Nagios plugin does, with
    performance data. Down is who is expired or given up; who is paused or waits for its first feed is not.
    A member of a cluster that does not lead asks the leader what is down.

    \b
    Exit codes:
      0  OK
      1  WARNING   more than --warning are down, an incident within --since,
                   trouble with the journal, descriptors, memory, cluster or [upward]
                   of the supervisor, a stall of it within --since (else
                   10 minutes), or the cluster's leader does not answer
      2  CRITICAL  more than --critical are down
      3  UNKNOWN   no supervisor, no such watchdog, wrong arguments
    """
    if critical is None and warning is None:
        critical = 0
    if warning is not None and critical is not None and warning > critical:
        raise click.UsageError(f"--warning {warning} would never come before --critical {critical}")
    thresholds = Thresholds(warning, critical)
    with connect(address) as control:
        found = _find(control, names, since)
    code, text = judge(found, thresholds)
    click.echo(line(code, text, figures(found, thresholds)))
    return code


def judge(found: Finding, thresholds: Thresholds) -> tuple[int, str]:
    """Exit code, and the text that says why."""
    count = sum(found.counts.get(state, 0) for state in BAD)
    code = OK
    if found.trouble or found.past_names or (thresholds.warning is not None and count > thresholds.warning):
        code = WARNING
    if thresholds.critical is not None and count > thresholds.critical:
        code = CRITICAL
    for named in range(NAMED_MAX, 0, -1):  # fewer, before what is wrong with the supervisor itself is cut off
        text = _text(found, count, named)
        if len(text) <= TEXT_MAX:
            break
    return code, text


def _text(found: Finding, count: int, named: int) -> str:
    """What was found, with the names of so many. ``count``: how many are down."""
    if found.only is not None:
        parts = [_one(found.only)]
    else:
        parts = [", ".join(f"{found.counts[state]:,} {state}" for state in WORST_FIRST if found.counts.get(state))]
        if found.down:
            shown = [_one(row) for row in found.down[:named]]
            more = [f"and {count - len(shown):,} more"] if count > len(shown) else []
            parts.append("; ".join(shown + more))
    if found.past_names:
        rest = len(found.past_names) - named
        who = ", ".join(found.past_names[:named]) + (f" and {rest:,} more" if rest > 0 else "")
        parts.append(f"well again: {who}")
    if found.leader is not None:
        parts.append(f"by {found.leader}, which leads the cluster")
    parts += found.trouble
    head = ": ".join(filter(None, parts[:2]))
    return "; ".join([head, *parts[2:]]) if head else "nobody is watched"


def figures(found: Finding, thresholds: Thresholds) -> list[str]:
    """Performance data: ``label=value[unit];warning;critical;least``, by the plugin guidelines."""
    warning, critical = ("" if value is None else str(value) for value in thresholds)
    counts = Counter(found.counts)
    counts["alive"] += counts.pop("idle", 0)
    counts["waiting"] += counts.pop("running", 0)
    told = [f"down={sum(counts[state] for state in BAD)};{warning};{critical};0"]
    told += [f"{state}={counts[state]};;;0" for state in STATES]
    if found.past is not None:
        told.append(f"incidents={found.past};;;0")
    if found.only is not None:
        told.append(f"silence={max(0.0, found.only['silence']):.3f}s;;;0")
    return told


def line(code: int, text: str, told: list[str] | None = None) -> str:
    """``BANKEN OK - 12 alive | down=0;;0;0 …``: one line, whatever is in ``text``; a bar begins the figures."""
    words = " ".join(clean(text).replace("|", "/").split())
    if len(words) > TEXT_MAX:
        words = words[: TEXT_MAX - 3] + "..."
    return f"BANKEN {WORDS[code]} - {words}" + (f" | {' '.join(told)}" if told else "")


def _one(row: dict[str, Any]) -> str:
    """One watchdog in a few words."""
    incident = row.get("incident")
    said = f"{row['name']} {row['state']}"
    if incident is not None:
        why = f", {gist(incident['reason'])}" if incident.get("reason") else ""
        return f"{said} ({incident['cause']} {format_s(incident['age'])} ago{why})"
    return f"{said} ({unjudged(row) or 'silent for ' + format_s(row['silence'])})"


def _find(control: Control, names: tuple[str, ...], since: float | None) -> Finding:
    summary = control.request("summary")
    rows: dict[str, dict[str, Any]] = {}
    for name in names:
        rows |= {row["name"]: row for row in all_of(control, name)}
    states = summary["states"]
    if not names and (summary["watchdogs"] <= FEW or any(states.get(state) for state in BAD)):
        rows = {row["name"]: row for row in all_rows(control)}
    trouble = _trouble(summary, since or STALLS_S)
    by_leader: list[dict[str, Any]] = []
    if (leader := leader_of(summary)) is not None:
        try:
            by_leader = [row for row in down_by(control, leader, names) if not names or row["name"] in rows]
        except (RequestFailed, Unreachable) as fault:
            trouble += (f"this member follows {leader}, and does not know what that has opened: {fault}",)
    counts = Counter(row["state"] for row in rows.values()) if rows else Counter(states)
    for row in by_leader:
        before = row["state_here"]
        counts[before] -= 1
        counts[row["state"]] += 1
        rows[row["name"]] = row
    down = [row for row in rows.values() if row["state"] in BAD]
    down.sort(key=lambda row: (severity(row["state"]), -row.get("incident", {}).get("age", row["silence"])))
    only = next(iter(rows.values())) if len(names) == 1 and not is_pattern(names[0]) else None
    finding = Finding(counts, down, only, trouble=trouble, leader=leader if by_leader else None)
    if since is None:
        return finding
    from banken_supervisor.journal import reading

    if summary["journal"] is None:
        raise Failure("--since needs a journal, and this supervisor keeps none")
    path = summary["journal"]["path"]
    past = journals.read(path, lambda: reading.incidents(path, since=time.time() - since))
    whose = [each.name for each in past if not names or each.name in rows]
    well = dict.fromkeys(name for name in whose if all(row["name"] != name for row in down))
    return finding._replace(past=len(whose), past_names=tuple(well))


def _trouble(summary: dict[str, Any], since: float) -> tuple[str, ...]:
    """What is wrong with the supervisor itself."""
    trouble = []
    journal = summary["journal"]
    if journal is not None and journal["state"] not in ("ok", "opening"):
        why = f": {journal['reason']}" if journal["reason"] else ""
        trouble.append(f"journal {journal['state']}{why}")
    if summary["stalls"] and (lately := _stalls(summary, since)):
        trouble.append(f"the supervisor stalled {plural(lately, 'time')} within {format_s(since)}")
    if summary.get("descriptors_short"):
        trouble.append(f"{summary['descriptors']} of {summary['descriptors_max']} descriptors in use")
    if summary.get("memory_short"):
        trouble.append("memory short: new names are refused")
    if (cluster := summary.get("cluster")) is not None:
        trouble += cluster_text.trouble(cluster)
    if (upward := summary.get("upward")) is not None:
        trouble += upward_text.trouble(upward)
    return tuple(trouble)


def _stalls(summary: dict[str, Any], since: float) -> int:
    """Stalls within ``since`` seconds: the journal knows when they were; without one, all if it runs no longer."""
    from banken_supervisor.journal import JournalError, reading

    all_of_them = int(summary["stalls"]) if summary["uptime"] <= since else 0
    if summary["journal"] is None:
        return all_of_them
    try:
        seen = reading.events(summary["journal"]["path"], lambda kind, _: kind == "stalled", limit=1000)
    except JournalError:
        return all_of_them
    begin = max(time.time() - since, summary["started"])
    return sum(each.time >= begin for each in seen)
