"""``banken journal``: look whether the journal is whole, write it out, make it small."""

from __future__ import annotations

import sys

import click

from banken_supervisor.cli import exit_codes, journals
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import address_option
from banken_supervisor.cli.printing import clean, plural, print_json


@click.group(short_help="Check the journal, export it, or make its file smaller.")
def command() -> None:
    """Check the journal, export it, or make its file smaller; all while a supervisor writes it, and without one."""


@command.command(short_help="Say all that is wrong with the journal.")
@click.option("--json", "as_json", is_flag=True, help='Print {"file", "ok", "problems": […]}.')
@journals.journal_option
@address_option
def check(as_json: bool, journal: str | None, address: str | None) -> int:
    """Read all of the journal, and say what is wrong: SQLite's own structure, every row's checksum and content,
    rows that belong to no incident. Exit code 1 if anything is.

    A supervisor that finds its journal damaged, or of another version, moves it aside and begins a new one.
    """
    from banken_supervisor.journal import checking

    path = journals.place(address, journal)
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


@command.command(short_help="Write every row as a line of JSON.")
@click.option("-o", "--output", metavar="FILE", help="Write to FILE, which must not exist.  [default: stdout]")
@journals.journal_option
@address_option
def export(output: str | None, journal: str | None, address: str | None) -> None:
    """Write every row of the journal as one line of JSON with its `table`: registry, incidents, steps, evidence,
    events. What cannot be read becomes a line with `problem`, and the exit code is 1.
    """
    from banken_supervisor.journal import checking

    path = journals.place(address, journal)
    problems: list[str] = []
    if output is None:
        journals.read(path, lambda: checking.export(path, sys.stdout, problems))
        sys.stdout.flush()
        _complete(path, problems)
        return
    try:
        with open(output, "x", encoding="utf-8") as file:
            count = journals.read(path, lambda: checking.export(path, file, problems))
    except FileExistsError:
        raise Failure(f"{clean(output)} exists already; it is not written over") from None
    except OSError as fault:
        raise Failure(f"{clean(output)} cannot be written: {fault.strerror}") from None
    click.echo(f"{clean(output)}: {plural(count, 'row')}")
    _complete(path, problems)


def _complete(path: str, problems: list[str]) -> None:
    """A Failure where an export is not all that there was."""
    if problems:
        raise Failure(
            f"{clean(path)}: what could not be read is missing ({plural(len(problems), 'line')} with `problem` "
            "instead); `banken journal check` tells what is wrong"
        )


@command.command(short_help="Give the space of deleted rows back to the disk.")
@journals.journal_option
@address_option
def vacuum(journal: str | None, address: str | None) -> None:
    """Give the space of deleted rows back to the disk.

    Safe while a supervisor writes: it goes on watching and keeps what it has to write until this is done. Meanwhile
    the disk must hold the file twice.
    """
    from banken_supervisor.evidence.evidence_text import bytes_text
    from banken_supervisor.journal import checking

    path = journals.place(address, journal)
    before, after = checking.vacuum(path)
    click.echo(f"{clean(path)}: {bytes_text(before)} before, {bytes_text(after)} now")
