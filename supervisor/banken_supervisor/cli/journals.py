"""Where the journal of an address is, for the commands that read it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import click

from banken.address import option_for, resolve
from banken_supervisor.cli.group import Failure
from banken_supervisor.operator_client.supervisor_client import ask

T = TypeVar("T")

ASK_S = 0.5
"""Seconds to wait for a supervisor to say where its journal is; without one the usual place is looked at."""

journal_option = click.option("--journal", metavar="FILE", help="The journal's file.  [default: the supervisor's]")


def usual_place(address: str | None) -> str | None:
    """Where a supervisor at this address keeps its journal unless told otherwise; None: it has no directory."""
    directory = resolve(address).directory
    return None if directory is None else os.path.join(directory, "journal.db")


def place(address: str | None, journal: str | None) -> str:
    """The journal's file; a Failure if there is none."""
    if journal is None:
        state = (ask(address, ASK_S, "summary") or {}).get("journal")
        journal = usual_place(address) if state is None else str(state["path"])
    if journal is None or not os.path.exists(journal):
        hint = f"`banken run{option_for(resolve(address).text)}` keeps one"
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
