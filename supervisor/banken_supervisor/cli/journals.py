"""Where the journal of an address is, for the commands that read it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import click

from banken.address import option_for, resolve
from banken.errors import RequestFailed, Unreachable
from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.operator_client.supervisor_client import is_absent

T = TypeVar("T")

ASK_S = 0.5
"""Seconds to wait for a supervisor to say where its journal is; without one the usual place is looked at."""

journal_option = click.option("--journal", metavar="FILE", help="The journal's file.  [default: the supervisor's]")


def place(address: str | None, journal: str | None) -> str:
    """The journal's file; a Failure if there is none."""
    if journal is None:
        where = resolve(address)
        journal = None if is_absent(where) else _asked(where.text)
        if journal is None and where.directory is not None:
            journal = os.path.join(where.directory, "journal.db")
    if journal is None or not os.path.exists(journal):
        hint = f"`banken run{option_for(resolve(address).text)}` keeps one"
        raise Failure(f"there is no journal at {journal}; {hint}", exit_codes.NOT_SO)
    return journal


def _asked(address: str) -> str | None:
    from banken.control import Control

    try:
        with Control(address, timeout=ASK_S) as control:
            state = control.request("summary").get("journal")
    except (Unreachable, RequestFailed):
        return None
    return None if state is None else str(state["path"])


def read(path: str, reading: Callable[[], T]) -> T:
    """What ``reading`` gives; a Failure where the journal cannot be read."""
    from banken_supervisor.journal import JournalError

    try:
        return reading()
    except JournalError as fault:
        said = str(fault)
        raise Failure(said if path in said else f"the journal {path}: {said}", exit_codes.NOT_SO) from None
