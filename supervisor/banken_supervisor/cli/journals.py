"""``banken journal``, and what all commands share that read one: where the journal of an address is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

import click

from banken.address import option_for, resolve_all
from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import address_option
from banken_supervisor.cli.printing import clean, print_json
from banken_supervisor.operator_client.supervisor_client import ask, usual_journal
from banken_supervisor.text.counts import plural

T = TypeVar("T")

INCOMPLETE = ("failing", "lagging")
"""States of a journal in which it does not have all that has happened."""

ASK_S = 0.5
"""Seconds to wait for a supervisor to say where its journal is; without one the usual place is looked at."""

journal_option = click.option("--journal", metavar="FILE", help="The journal's file.  [default: the supervisor's]")


def place(address: str | None, journal: str | None, tell: Callable[[str], object] = lambda text: None) -> str:
    """The journal's file; a Failure if there is none. ``tell`` is called with a line where its supervisor says that
    it does not have all."""
    where = resolve_all(address)[0]
    if journal is None and where.directory is None:
        raise Failure(
            f"the journal is a file on the host of {where.text}: look at it there, or give --journal FILE"
        )
    if journal is None:
        state = (ask(address, ASK_S, "summary") or {}).get("journal")
        journal = usual_journal(address) if state is None else str(state["path"])
        if state is not None and state["state"] in INCOMPLETE:
            why = f" ({clean(state['reason'])})" if state["reason"] else ""
            tell(
                f"the journal is {state['state']}{why}: what happened meanwhile may be missing; see `banken status`"
            )
    try:
        exists = journal is not None and bool(os.stat(journal))
    except PermissionError:
        raise Failure(f"you may not read {journal}: only its supervisor's own user may, or root") from None
    except OSError:
        exists = False
    if journal is None or not exists:
        hint = f"`banken run{option_for(where.text)}` keeps one"
        raise Failure(f"there is no journal at {journal}; {hint}")
    return journal


def read(path: str, reading: Callable[[], T]) -> T:
    """What ``reading`` gives; a Failure where the journal cannot be read."""
    from banken_supervisor.journal import JournalError

    try:
        return reading()
    except JournalError as fault:
        said = str(fault)
        raise Failure(said if path in said else f"the journal {path}: {said}") from None


def on_stderr(text: str) -> None:
    """Tell people, and not who reads the output."""
    click.echo(text, err=True)


@click.group(short_help="Check the journal, export it, or make its file smaller.")
def journal() -> None:
    """Check the journal, export it, or make its file smaller; all while a supervisor writes it, and without one."""


@journal.command(short_help="Say all that is wrong with the journal.")
@click.option("--json", "as_json", is_flag=True, help='Print {"file", "ok", "problems": […]}.')
@journal_option
@address_option
def check(as_json: bool, journal: str | None, address: str | None) -> int:
    """Read all of the journal, and say what is wrong: SQLite's own structure, every row's checksum and content,
    rows that belong to no incident. Exit code 1 if anything is.

    A supervisor that finds its journal damaged, or of another version, moves it aside and begins a new one.
    """
    from banken_supervisor.journal import checking

    path = place(address, journal, on_stderr)
    problems = checking.check(path)
    if as_json:
        print_json({"file": path, "ok": not problems, "problems": problems})
    elif problems:
        click.echo(f"{clean(path)}: {plural(len(problems), 'problem')}")
        for problem in problems:
            click.echo(f"  {clean(problem)}")
        if len(problems) == checking.PROBLEMS_MAX:
            click.echo("  … and perhaps more: these are all that are told")
    else:
        click.echo(f"{clean(path)}: sound")
    return exit_codes.NOT_SO if problems else exit_codes.OK


@journal.command(short_help="Write every row as a line of JSON.")
@click.option("-o", "--output", metavar="FILE", help="Write to FILE, which must not exist.  [default: stdout]")
@journal_option
@address_option
def export(output: str | None, journal: str | None, address: str | None) -> None:
    """Write every row of the journal as one line of JSON with its `table`: registry, incidents, steps, evidence,
    events. What cannot be read becomes a line with `problem`, and the exit code is 1.
    """
    from banken_supervisor.journal import checking

    path = place(address, journal, on_stderr)
    problems: list[str] = []
    try:
        with (
            nullcontext(sys.stdout)
            if output is None
            else open(output, "x", encoding="utf-8", opener=_private) as file
        ):
            count = read(path, lambda: checking.export(path, file, problems))
            file.flush()
    except OSError as fault:
        if output is None:
            raise
        there = isinstance(fault, FileExistsError)
        why = "exists already; it is not written over" if there else f"cannot be written: {fault.strerror}"
        raise Failure(f"{clean(output)} {why}") from None
    if output is not None:
        click.echo(f"{clean(output)}: {plural(count, 'row')}")
    if problems:
        raise Failure(
            f"{clean(path)}: what could not be read is missing ({plural(len(problems), 'line')} with `problem` "
            "instead); `banken journal check` tells what is wrong"
        )


def _private(path: str, flags: int) -> int:
    """What workers said may hold secrets."""
    return os.open(path, flags, 0o600)


@journal.command(short_help="Give the space of deleted rows back to the disk.")
@journal_option
@address_option
def vacuum(journal: str | None, address: str | None) -> None:
    """Give the space of deleted rows back to the disk.

    Safe while a supervisor writes: it goes on watching and keeps what it has to write until this is done. Meanwhile
    the disk must hold the file twice.
    """
    from banken_supervisor.evidence.evidence_text import bytes_text
    from banken_supervisor.journal import checking

    path = place(address, journal, on_stderr)
    before, after = checking.vacuum(path)
    click.echo(f"{clean(path)}: {bytes_text(before)} before, {bytes_text(after)} now")
