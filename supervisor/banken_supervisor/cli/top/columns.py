"""Which columns of a table fit a width. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

GAP = 2
"""Cells between two columns."""


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


class Placed(NamedTuple):
    """A column that is shown."""

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


def for_names(columns: Sequence[Column], title: str, names: Sequence[str], width: int) -> list[Column]:
    """The columns, the one of this title as wide as the longest name, but at most a quarter of ``width``."""
    longest = max(map(len, names), default=0)
    return [
        each._replace(most=max(each.least, min(longest, width // 4, each.most))) if each.title == title else each
        for each in columns
    ]
