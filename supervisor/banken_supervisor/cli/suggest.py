"""``banken suggest``: timeouts that fit what was seen."""

from __future__ import annotations

from typing import Any

import click

from banken_supervisor.cli.completion import watchdogs
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import reading_address_option
from banken_supervisor.cli.printing import Table, clean, print_json
from banken_supervisor.operator_client.pager import all_rows
from banken_supervisor.operator_client.supervisor_client import connect
from banken_supervisor.text.durations import NEVER_S, format_s

HEADER = ("NAME", "TIMEOUT", "GAPS", "LONGEST GAP", "PROPOSED")


@click.command(short_help="Propose timeouts from the gaps between feeds.")
@click.argument("name", required=False, shell_complete=watchdogs)
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@reading_address_option
def command(name: str | None, as_json: bool, address: str | None) -> None:
    """Propose a timeout for each watchdog, or those that NAME (or a pattern) fits, from the gaps between feeds.

    With `timeout = "auto"` every gap is seen, and the proposal is in force within its bounds; of other watchdogs
    one gap is seen in each timeout. The proposal is the longest gap seen times a margin, which shrinks from 4.6 (at
    20 gaps) to 1.5, and at least twice what 99.9 % of them stay below. What was seen is forgotten when the
    supervisor ends.
    """
    with connect(address) as control:
        found = all_rows(control, name, "suggest")
        where = control.address.text
    if name is not None and not found:
        raise Failure(f"no watchdog fits {name!r} at {where}; `banken status` lists them")
    if as_json:
        print_json(found)
    elif not found:
        click.echo("no watchdog")
    else:
        Table(HEADER, (1, 2, 3, 4), _cells).print(found)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    proposed = row["proposed"]
    auto = row["auto"]
    return (
        clean(row["name"]),
        ("-" if row["timeout"] >= NEVER_S else format_s(row["timeout"]))
        + ("" if auto is None else f" (auto {format_s(auto[0])}..{format_s(auto[1])})"),
        f"{row['gaps']:,}",
        "-" if row["longest"] is None else format_s(row["longest"]),
        format_s(proposed) if proposed is not None else f"after {row['needed'] - row['gaps']:,} more gaps",
    )
