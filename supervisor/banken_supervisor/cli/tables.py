"""Tables: aligned text for pipes, rich's for terminals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from banken_supervisor.cli.printing import fancy

if TYPE_CHECKING:
    from rich import table


class Table(NamedTuple):
    """One kind of table."""

    header: Sequence[str]
    right: Collection[int]
    """columns that are aligned to the right"""
    cells: Callable[[Any], Sequence[str]]
    """one row as texts"""
    colours: Mapping[str, str] = {}
    """of the words in the column ``coloured``"""
    coloured: int = 0

    def print(self, rows: Iterable[Any]) -> None:
        """Print it, for a terminal or for a pipe."""
        if not fancy():
            click.echo("\n".join(self.lines(rows)))
            return
        from rich.console import Console

        Console(highlight=False).print(self.rich(rows))

    def lines(self, rows: Iterable[Any]) -> list[str]:
        """Aligned, without colours."""
        table = [self.header, *map(self.cells, rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return [
            "  ".join(
                cell.rjust(width) if place in self.right else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]

    def rich(self, rows: Iterable[Any], *, wrap: bool = True) -> table.Table:
        """The table for a terminal; ``wrap``: the last column may take several lines."""
        from rich.table import Table
        from rich.text import Text

        made = Table(box=None, pad_edge=False, header_style="dim")
        for place, title in enumerate(self.header):
            last = wrap and place == len(self.header) - 1
            made.add_column(
                title,
                justify="right" if place in self.right else "left",
                no_wrap=not last,
                overflow="fold" if last else "ellipsis",
            )
        for row in map(self.cells, rows):  # as Text: what workers wrote is no markup
            made.add_row(
                *(Text(c, self.colours.get(c, "") if i == self.coloured else "") for i, c in enumerate(row))
            )
        return made
