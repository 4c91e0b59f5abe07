"""The request ``registry``: what this member of a cluster tells another one of its watchdogs, a page at a time."""

from __future__ import annotations

from itertools import islice
from typing import Any

from banken_supervisor.control.view import ControlView
from banken_supervisor.engine.registry import Entry

ROWS_MAX = 200
"""Rows in one page. It is answered between two turns for feeds: 200 take about 2 ms."""

PART_WATCHED, PART_RELEASED = "watched", "released"


def page(view: ControlView, part: str, offset: int) -> dict[str, Any]:
    """The rows from ``offset`` on, of what is watched or of what was released. ``removals``: where it has grown
    from one page to the next, so many watchdogs were removed, and as many may have been passed over. ``words``:
    which of the operators' words are applied here."""
    driver = view.driver
    engine, now = driver.engine, driver.now
    words = engine.registry.words()  # applies those that waited, before the rows are read
    age = engine.registry.age
    if part == PART_RELEASED:
        found = list(islice(engine.table.released.items(), offset, offset + ROWS_MAX))
        here = engine.table.released_here
        rows: list[list[Any]] = [[name, age(at, now)] for name, at in found if name not in here]
        count, total = len(found), len(engine.table.released)
    else:
        records = list(islice(engine.table, offset, offset + ROWS_MAX))
        rows = [row(told) for each in records if (told := engine.registry.entry(each, now)) is not None]
        count, total = len(records), len(engine)
    end = offset + count
    return {
        "rows": rows, "end": end, "more": end < total, "removals": engine.table.removals,
        "whole": engine.registry.is_whole, "words": list(words),
    }  # fmt: skip


def row(entry: Entry) -> list[Any]:
    """An entry as it travels."""
    name, declaration, resolution, standing, age, left, awaited = entry
    declared: list[Any] | None = None
    if declaration is not None:
        timeout, interval, grace, feeders, callback, progress, end, clean = declaration
        declared = [timeout, interval, grace, feeders.value, callback, progress, end.value, list(clean)]
    return [name, declared, resolution, standing.value, age, left, awaited]
