"""Commands to programs: what ``start``, ``stop`` and ``restart`` share."""

from __future__ import annotations

import time
from typing import Any

import click

from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.operator_client.supervisor_client import connect

WITHIN_S = 30.0
"""How long a command waits until the program is where it was asked to be."""

LOOK_EVERY_S = 0.05

WANTED = {"start": ("running", "adopted"), "restart": ("running", "adopted"), "stop": ("stopped",)}


def command(what: str, name: str, address: str | None, *, quiet: bool) -> None:
    """Have the supervisor do it, and wait until it is so; a Failure if it is not within WITHIN_S."""
    with connect(address) as control:
        before = next((row for row in control.request("programs")["rows"] if row["name"] == name), None)
        row = control.request("program", what=what, name=name)["rows"][0]
        deadline = time.monotonic() + WITHIN_S
        while not _so(what, row, before):
            if row["state"] == "given-up" and what != "stop":
                break
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK_EVERY_S)
            row = next(each for each in control.request("programs")["rows"] if each["name"] == name)
        pid = "" if row["pid"] is None else f" (pid {row['pid']})"
        if not _so(what, row, before):
            raise Failure(
                f"{name} is {row['state']}{pid}; `banken events` and its log tell more", exit_codes.NOT_SO
            )
    if not quiet:
        click.echo(f"{name} is {row['state']}{pid}")


def _so(what: str, row: dict[str, Any], before: dict[str, Any] | None) -> bool:
    if what == "stop":
        return row["pid"] is None and row["state"] in ("stopped", "given-up")
    anew = what == "start" or before is None or before["pid"] != row["pid"]
    return row["state"] == "running" and row["pid"] is not None and anew
