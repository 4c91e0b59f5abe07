"""``banken history``: how reliable one watchdog was."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from banken_supervisor.cli import journals, sparkline
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.incident import TABLE
from banken_supervisor.cli.options import DURATION, NAME, address_option
from banken_supervisor.cli.printing import clean, clock, print_json
from banken_supervisor.operator_client.supervisor_client import ask
from banken_supervisor.text.counts import plural
from banken_supervisor.text.durations import NEVER_S, format_s
from banken_supervisor.text.reasons import unjudged

if TYPE_CHECKING:
    from banken_supervisor.journal.reading import History
    from banken_supervisor.journal.uptime import Uptime

SHOWN = 10
"""Incidents in the table, unless --limit says otherwise."""

ASK_S = 1.0
"""Seconds to wait for a supervisor, for what it knows now."""


class Known(NamedTuple):
    """What there is to tell."""

    name: str
    row: dict[str, Any] | None
    """as the supervisor has it now, with ``feeds``; None: it does not watch it, or none answers"""
    answered: bool
    """a supervisor answered"""
    kept: History | None
    """None: there is no journal"""
    until: float
    clipped: bool
    """the journal begins later than was asked for"""
    result: Uptime
    incidents: list[Any]
    """of the period, newest first"""


@click.command(short_help="Show how reliable NAME was: uptime, gaps, incidents.")
@click.argument("name", type=NAME)
@click.option(
    "--since", type=DURATION, default="7d", show_default=True, metavar="TIME", help="The period, up to now."
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=SHOWN,
    show_default=True,
    metavar="N",
    help="Incidents in the table.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one object, with all incidents of the period.")
@journals.journal_option
@address_option
def command(name: str, since: float, limit: int, as_json: bool, journal: str | None, address: str | None) -> None:
    """Show how reliable NAME was: the share of the time without an incident, the incidents by cause, mean time
    between failures and to recovery, the gaps between the last feeds, and the last incidents.

    It reads the journal's file, and works without a supervisor; the gaps are the running supervisor's. The period
    begins no earlier than the journal. Time for which no supervisor ran counts as up: nothing is known of it.

    An incident that a restart ended is over (reborn) when the new process runs; what hangs after that is another.
    """
    known = gather(name, since, journal, address)
    if as_json:
        print_json(_plain(known))
        return
    click.echo("\n".join(_lines(known)))
    if limit and known.incidents:
        click.echo()
        _TABLE.print(known.incidents[:limit])
        if limit < len(known.incidents):
            click.echo(f"… and {len(known.incidents) - limit:,} more; `banken incidents {name}` lists them")


def _nameless(row: Sequence[str]) -> Sequence[str]:
    """The name stands above the table."""
    return *row[:2], *row[3:]


_TABLE = TABLE._replace(
    header=_nameless(TABLE.header), right=(3,), cells=lambda each: _nameless(TABLE.cells(each)), coloured=4
)


def gather(name: str, length: float, journal: str | None, address: str | None) -> Known:
    """All about one watchdog in the last ``length`` seconds. A Failure: nothing is known, or there is no
    journal."""
    from banken_supervisor.journal import reading, uptime

    found = ask(address, ASK_S, "look", names=[name], feeds=True)
    answered = found is not None
    row = next(iter(found["rows"]), None) if answered else None
    kept = None
    try:
        path = journals.place(address, journal, journals.on_stderr)
    except Failure:
        if row is None or journal is not None:
            raise
    else:
        kept = journals.read(path, lambda: reading.history(path, name))
    if row is None and kept is not None and not (kept.incidents or kept.events or kept.registered):
        where = "" if answered else " (and no supervisor answers)"
        raise Failure(f"nothing is known of a watchdog called {name!r}{where}; `banken status` lists them")
    now = time.time()
    if kept is None:
        return Known(name, row, answered, None, now, False, uptime.uptime([], now, now), [])
    result = uptime.of(kept, length, now)
    start = now - result.period
    of_period = [each for each in kept.incidents if each.closed is None or each.closed >= start]
    return Known(name, row, answered, kept, now, result.period < length - 1e-6, result, of_period)


def _lines(known: Known) -> list[str]:
    from banken_supervisor.journal.uptime import percent

    lines = [f"{known.name}: {_now(known)}", ""]
    if known.kept is None:
        lines.append("  no journal is kept: nothing is known of the past")
    else:
        result = known.result
        period = f"the last {format_s(result.period)}"
        if known.clipped:
            period += f", since the journal begins ({clock(known.until - result.period)})"
        causes = Counter(each.cause for each in known.incidents)
        lines += [
            f"  period   {period}",
            f"  uptime   {percent(result.share)}, down for {format_s(result.down)}",
            "  causes   " + (", ".join(f"{clean(c)} {n:,}" for c, n in causes.most_common()) or "no incident"),
        ]
        if result.mtbf is not None:
            lines.append(f"  MTBF     {format_s(result.mtbf)} ({plural(result.failures, 'failure')})")
        if result.mttr is not None:
            lines.append(f"  MTTR     {format_s(result.mttr)}")
        lines += [f"  not readable: {clean(problem)}" for problem in known.kept.problems]
    feeds = known.row.get("feeds", []) if known.row is not None else []
    if known.row is not None and feeds:
        gaps = [gap for _, gap in feeds]
        ticks = sparkline.TICKS if sparkline.supports(sys.stdout.encoding) else sparkline.PLAIN_TICKS
        drawn = sparkline.sparkline(gaps, known.row["timeout"], len(gaps), ticks)
        lines.append(
            f"  gaps     {drawn}  the last {len(gaps)}, longest {format_s(max(gaps))}, "
            f"{sparkline.rate_text(sparkline.rate(feeds))}; a full block is the timeout"
        )
    return lines


def _now(known: Known) -> str:
    row = known.row
    if row is None:
        return "not watched now" if known.answered else "no supervisor answers; from the journal"
    said = [clean(row["state"])]
    if row["state"] != "running":
        said.append(f"silent for {format_s(row['silence'])}")
    if row["left"] is not None and row["left"] < NEVER_S and row["state"] in ("alive", "waiting"):
        said.append(f"due in {format_s(max(0.0, row['left']))}")
    if row["timeout"] < NEVER_S:
        said.append(f"timeout {format_s(row['timeout'])}" + (" (default)" if row.get("by") == "default" else ""))
    if (why := unjudged(row)) is not None:
        said.append(why)
    return ", ".join(said)


def _plain(known: Known) -> dict[str, Any]:
    """For programs: seconds; times since 1970 (UTC)."""
    from banken_supervisor.journal.reading import plain

    result = known.result
    past = {
        "since": known.until - result.period,
        "period": result.period,
        "uptime": result.share,
        "down": result.down,
        "failures": result.failures,
    }
    return {
        "name": known.name,
        "now": known.row,
        "until": known.until,
        **(dict.fromkeys(past) if known.kept is None else past),
        "causes": dict(Counter(each.cause for each in known.incidents)),
        "mtbf": result.mtbf,
        "mttr": result.mttr,
        "gaps": [gap for _, gap in known.row.get("feeds", [])] if known.row is not None else [],
        "incidents": [plain(each) for each in known.incidents],
        "problems": [] if known.kept is None else list(known.kept.problems),
    }
