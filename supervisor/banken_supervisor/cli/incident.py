"""``banken incident``: one incident whole: what happened, what was done, and where it hung."""

from __future__ import annotations

from typing import Any

import click

from banken_supervisor.cli import exit_codes, journals
from banken_supervisor.cli.completion_items import incidents
from banken_supervisor.cli.durations import format_s
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.incidents import clock
from banken_supervisor.cli.options import address_option
from banken_supervisor.cli.printing import clean, to_json
from banken_supervisor.text.event_text import field, sentence
from banken_supervisor.text.reasons import gist, telling

SAID_MAX = 300
"""Characters of one event, or of one of its fields, in the timeline."""


@click.command(short_help="Show one incident: its timeline and the evidence.")
@click.argument("incident_id", metavar="ID", shell_complete=incidents)
@click.option("--json", "as_json", is_flag=True, help="Print one object, the evidence whole.")
@journals.journal_option
@address_option
def command(incident_id: str, as_json: bool, journal: str | None, address: str | None) -> None:
    """Show one incident: when it was opened, what was done about it and with what result, and the evidence that was
    taken: every thread's stack, what the process waited for, what it used.

    `banken incidents` lists the IDs; `last` is the newest.
    """
    from banken_supervisor.journal import reading
    from banken_supervisor.journal.reading import whole

    path = journals.place(address, journal)
    if incident_id == "last":
        newest = journals.read(path, lambda: reading.incidents(path, limit=1))
        incident_id = newest[0].id if newest else incident_id
    story = journals.read(path, lambda: reading.incident(path, incident_id))
    if story is None:
        raise Failure(f"no incident is called {incident_id!r}; `banken incidents` lists them", exit_codes.NOT_SO)
    if as_json:
        click.echo(to_json(whole(story), indent=2))
        return
    click.echo("\n".join(in_words(story)))


def in_words(story: Any) -> list[str]:
    """The whole of an incident, as lines for a terminal."""
    return _lines(story)


def _lines(story: Any) -> list[str]:
    from banken_supervisor.evidence import feeds_text, render

    record = story.incident
    lines = [f"{clean(record.name)}: {record.cause}, incident {record.id}", ""]
    facts = [
        ("opened", clock(record.opened)),
        ("closed", "open" if record.closed is None else f"{clock(record.closed)} ({record.how})"),
        ("silence", _silence(record)),
        ("feeds", feeds_text(feeds, record.silence) if (feeds := _feeds(story)) else None),
        ("pid", record.pid),
        ("status", record.status),
        ("progress", record.progress),
        ("reason", gist(record.reason) if record.reason else None),
    ]
    lines += [f"  {what:8}  {clean(value)}" for what, value in facts if value is not None]
    if record.reason and len(record.reason.splitlines()) > 1:
        lines += ["  in full", *(f"    {clean(line)}" for line in record.reason.splitlines())]
    lines += ["", "Timeline"]
    lines += [f"  {clock(event.time)[11:]}  {_fact_lines(event)}" for event in story.events]
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


def _silence(record: Any) -> str | None:
    told = telling({"cause": record.cause, "silence": record.silence, "timeout": record.timeout})
    silence = format_s(told["silence"]) if "silence" in told else None
    timeout = f"timeout {format_s(told['timeout'])}" if "timeout" in told else "no timeout"
    return ", ".join(each for each in (silence, timeout) if each is not None)


def _feeds(story: Any) -> list[list[float]]:
    """The last feeds before the verdict, as its event has them."""
    for event in story.events:
        if event.type == "expired":
            feeds: list[list[float]] = event.data.get("feeds", []) if isinstance(event.data, dict) else []
            return feeds
    return []


def _fact_lines(event: Any) -> str:
    data = event.data if isinstance(event.data, dict) else {"data": event.data}
    left_out = ("incident", "seq", "time", "type", "name", "timeout", "age", "pid", "feeds")
    said = sentence({**data, "type": event.type, "name": event.name})
    if said is not None:
        return f"{event.type:15}  {clean(said)[:SAID_MAX]}"
    parts = [
        clean(field(key, value))[:SAID_MAX]
        for key, value in telling(data).items()
        if key not in left_out and value is not None
    ]
    return f"{event.type:15}  {', '.join(parts)}".rstrip()
