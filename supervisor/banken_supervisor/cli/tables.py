"""Tables: aligned text for pipes, rich's for terminals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from banken_supervisor.cli.printing import columns

if TYPE_CHECKING:
    from rich.table import Table


def rich_table(
    header: Sequence[str],
    right: frozenset[int],
    lines: Sequence[Sequence[str]],
    colours: Mapping[str, str],
    coloured: int = 0,
    *,
    wrap: bool = True,
) -> Table:
    """The table for a terminal; ``colours``: of the words in the column ``coloured``; ``wrap``: the last column
    may take several lines."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, title in enumerate(header):
        last = wrap and place == len(header) - 1
        table.add_column(
            title,
            justify="right" if place in right else "left",
            no_wrap=not last,
            overflow="fold" if last else "ellipsis",
        )
    for line in lines:  # as Text: what workers wrote is no markup
        table.add_row(*(Text(c, colours.get(c, "") if i == coloured else "") for i, c in enumerate(line)))
    return table


def print_table(
    header: Sequence[str],
    right: frozenset[int],
    lines: Sequence[Sequence[str]],
    colours: Mapping[str, str] | None,
    coloured: int = 0,
) -> None:
    """Print it; ``colours`` None: for a pipe, without any."""
    if colours is None:
        click.echo("\n".join(columns(header, lines, right)))
        return
    from rich.console import Console

    Console(highlight=False).print(rich_table(header, right, lines, colours, coloured))
