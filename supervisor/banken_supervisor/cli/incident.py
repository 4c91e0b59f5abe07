"""``banken incidents``: what went wrong, and what became of it; ``banken incident``: all of one."""

from __future__ import annotations

import time
from typing import Any

import click

from banken_supervisor.cli import completion, journals
from banken_supervisor.cli.events import description
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import DURATION, address_option
from banken_supervisor.cli.printing import Table, clean, clock, fancy, print_json
from banken_supervisor.text.counts import plural
from banken_supervisor.text.durations import format_s
from banken_supervisor.text.reasons import gist, telling

UNSAID = frozenset({"incident", "seq", "time", "type", "name", "timeout", "age", "pid", "feeds", "results"})
"""Fields that the timeline does not show, or that stand above it."""

SAID_MAX = 300
"""Characters of one event, or of one of its fields, in the timeline."""


@click.command(short_help="List incidents, the newest first.")
@click.argument("name", required=False, shell_complete=completion.watched)
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.watched,
    help="The same; repeatable.",
)
@click.option("--open", "open_only", is_flag=True, help="Only those that are open, given up or not.")
@click.option("--since", type=DURATION, metavar="TIME", help="Only those that were open within TIME, such as 1h.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="At most N.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@journals.journal_option
@address_option
def incidents(
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

    It reads the journal's file, and works without a supervisor. In a cluster the other members are asked, too: each
    has what it acted on. `banken incident ID` shows one whole.
    """
    from banken_supervisor.cli.cluster_incidents import with_others
    from banken_supervisor.journal.reading import find, plain

    path = journals.place(address, journal, journals.on_stderr)
    after = None if since is None else time.time() - since
    wanted = (*names, *([name] if name is not None else ()))
    found = journals.read(path, lambda: find(path, wanted, open_only, after, limit))
    if journal is None:
        found, missing = with_others(address, found, wanted, open_only, after, limit)
        for member, why in missing.items():
            click.echo(f"{clean(member)}: {clean(why)}; what it alone has acted on is missing here", err=True)
    if as_json:
        print_json([plain(each) for each in found])
    elif not found:
        click.echo("no open incident" if open_only else "no incident")
    else:
        TABLE.print(found)
        if len(found) == limit:
            click.echo(f"… the newest {plural(limit, 'incident')}; `--limit` shows more")


def _standing(record: Any) -> str:
    """How it ended; of an open one that it is open, and whether it was given up."""
    if record.closed is not None:
        return clean(record.how)
    return "open" if record.how is None else f"open, {clean(record.how)}"


def cells(record: Any) -> tuple[str, ...]:
    """One row of the table, as texts."""
    lasted = (record.closed or time.time()) - record.opened
    return (
        clock(record.opened, time.time() if fancy() else None),
        clean(record.id),
        clean(record.name),
        record.cause,
        format_s(max(0.0, lasted)),
        _standing(record),
        clean(gist(record.reason)) if record.reason else "",
    )


TABLE = Table(
    ("OPENED", "INCIDENT", "NAME", "CAUSE", "LASTED", "STATE", "REASON"),
    (4,),
    cells,
    {
        "open": "red",
        "open, given-up": "bold red",
        "lost": "yellow",
        "forgotten": "yellow",
        "fed": "green",
        "passed": "green",
        "ready": "green",
    },
    coloured=5,
)


@click.command(short_help="Show one incident: its timeline and the evidence.")
@click.argument("incident_id", metavar="ID", shell_complete=completion.incidents)
@click.option("--json", "as_json", is_flag=True, help="Print one object, the evidence whole.")
@journals.journal_option
@address_option
def incident(incident_id: str, as_json: bool, journal: str | None, address: str | None) -> None:
    """Show one incident: when it was opened, what was done about it and with what result, and the evidence that was
    taken: every thread's stack, what the process waited for, what it used.

    `banken incidents` lists the IDs; `last` is the newest.
    """
    from banken_supervisor.journal import reading
    from banken_supervisor.journal.reading import whole

    path = journals.place(address, journal, journals.on_stderr)
    if incident_id == "last":
        newest = journals.read(path, lambda: reading.incidents(path, limit=1))
        incident_id = newest[0].id if newest else incident_id
    story = journals.read(path, lambda: reading.incident(path, incident_id))
    if story is None:
        raise Failure(f"no incident is called {incident_id!r}; `banken incidents` lists them")
    if as_json:
        print_json(whole(story))
        return
    click.echo("\n".join(in_words(story)))


def in_words(story: Any) -> list[str]:
    """The whole of an incident, as lines for a terminal."""
    from banken_supervisor.evidence import feeds_text, render

    record = story.incident
    opened: dict[str, Any] = next((_data(event) for event in story.events if event.type == "expired"), {})
    feeds, results = opened.get("feeds"), opened.get("results")
    lines = [f"{clean(record.name)}: {record.cause}, incident {clean(record.id)}", ""]
    facts = [
        ("opened", clock(record.opened)),
        ("state", _standing(record)),
        ("closed", None if record.closed is None else clock(record.closed)),
        ("silence", _silence(record)),
        ("feeds", feeds_text(feeds, record.silence) if feeds else None),
        ("pid", record.pid),
        ("status", record.status),
        ("progress", record.progress),
        ("reason", gist(record.reason) if record.reason else None),
    ]
    lines += [f"  {what:8}  {clean(value)}" for what, value in facts if value is not None]
    if record.reason and len(record.reason.splitlines()) > 1:
        lines += ["  in full", *(f"    {clean(line)}" for line in record.reason.splitlines())]
    if isinstance(results, list) and results:
        lines += ["", f"The last {plural(len(results), 'result')}", *map(_result, results)]
    lines += ["", "Timeline"]
    for event in story.events:
        facts_of = {**_data(event), "type": event.type, "name": event.name}
        said = description(facts_of, UNSAID, SAID_MAX)
        lines.append(f"  {clock(event.time, record.opened)}  {clean(event.type):15}  {said}".rstrip())
    for step in story.steps:
        output = step.text.partition("\n")[2]
        if output:
            lines += ["", f"Output of {clean(step.action)} (step {step.step + 1}, run {step.run})"]
            lines += [f"  {clean(line)}" for line in output.splitlines()]
    for each in story.evidence:
        lines += ["", f"Evidence, taken {clock(each.taken)}"]
        lines += [f"  {line}" for line in render(each.data)]
    lines += [f"\nnot readable: {clean(problem)}" for problem in story.problems]
    return lines


def _result(one: Any) -> str:
    """A result of a check, as the verdict had it."""
    if not isinstance(one, dict):
        return f"  {clean(one)}"
    said = "passed" if one.get("passed") else "failed"
    age, took = (format_s(round(float(one.get(key) or 0.0), 3)) for key in ("age", "took"))
    return f"  {age:>8} before  {said} in {took}: {clean(one.get('text', ''))}"


def _data(event: Any) -> dict[str, Any]:
    return event.data if isinstance(event.data, dict) else {"data": event.data}


def _silence(record: Any) -> str | None:
    told = telling({"cause": record.cause, "silence": record.silence, "timeout": record.timeout})
    silence = format_s(told["silence"]) if "silence" in told else None
    timeout = f"timeout {format_s(told['timeout'])}" if "timeout" in told else "no timeout"
    return ", ".join(each for each in (silence, timeout) if each is not None)
