"""Which columns of a table fit a width. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich.text import Text

GAP = 2
"""Cells between two columns."""

NAMES = ("NAME", "PROGRAM")
"""Titles of columns that are as wide as the longest name."""


class Column(NamedTuple):
    """One column of a table. Widths in cells."""

    title: str
    least: int
    most: int = 0
    """where there is room it grows up to this; 0: it does not grow"""
    fold: int = 0
    """the columns with the highest number are left out first; 0: never left out"""
    right: bool = False
    sort: str = ""
    """by what a click on its title sorts; empty: by nothing"""
    cell: Callable[[Any, int], str | Text] = lambda row, width: ""
    """what it shows of a row in so many cells; a longer text is cut"""


class Placed(NamedTuple):
    column: Column
    width: int


def fit(columns: Sequence[Column], width: int) -> list[Placed]:
    """The columns that fit ``width``, each as wide as it must be; the rest goes to those that grow, in equal parts.

    Where not even those fit that are never left out, the last of them is cut.
    """
    shown = list(columns)
    while _least(shown) > width and (foldable := [each for each in shown if each.fold]):
        shown.remove(max(foldable, key=lambda each: each.fold))
    widths = [each.least for each in shown]
    room = max(0, width - _least(shown))
    while room and (growing := [n for n, each in enumerate(shown) if widths[n] < each.most]):
        for number in growing[:room]:
            widths[number] += 1
        room -= min(room, len(growing))
    return [Placed(each, size) for each, size in zip(shown, widths, strict=True)]


def _least(columns: Sequence[Column]) -> int:
    return sum(each.least for each in columns) + GAP * max(0, len(columns) - 1)


def for_names(columns: Sequence[Column], longest: int, width: int) -> list[Column]:
    """The columns, that of the names as wide as the longest, but at most a quarter of ``width``."""
    return [
        each._replace(most=max(each.least, min(longest, width // 4, each.most))) if each.title in NAMES else each
        for each in columns
    ]
