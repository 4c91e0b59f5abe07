"""What the other members of a cluster answer, read with care: they may be of another version, or broken."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from banken.protocol.limits import SECONDS_MAX, check_name, check_seconds
from banken.protocol.messages import declare
from banken_supervisor.control.registry_page import PART_WATCHED, ROWS_MAX
from banken_supervisor.engine.hearing import Heard, Timer
from banken_supervisor.engine.registry import NO_WORDS, Entry, Standing, Words
from banken_supervisor.text.sanitize import ODD

AGE_MAX = 1e10
"""Seconds; a larger age is none."""


class Released(NamedTuple):
    """A watchdog that was released."""

    age: float
    """seconds since then"""


Said = Heard | Released
"""What a member says of a watchdog."""


class Page(NamedTuple):
    """One page of another member's registry."""

    watched: list[Entry]
    released: list[tuple[str, float]]
    """names, and seconds since they were released"""
    end: int
    """where the next page begins"""
    more: bool
    removals: int
    """how many watchdogs were removed there so far"""
    whole: bool
    """whether that member knows all"""
    words: Words = NO_WORDS
    """which of the operators' words it has applied"""


def read_page(part: str, answer: Mapping[str, Any]) -> Page:
    """A page from what a member has answered. ValueError and others of ODD: it is none. A row that is not
    understood is passed over: a newer banken may say more."""
    rows, end, removals = answer["rows"], answer["end"], answer["removals"]
    if type(rows) is not list or len(rows) > ROWS_MAX or type(end) is not int or type(removals) is not int:
        raise ValueError("no page of a registry")
    whole, words = answer["whole"] is True, _read_words(*answer.get("words", NO_WORDS))
    page = Page([], [], end, answer["more"] is True, removals, whole, words)
    for each in rows:
        try:
            if part == PART_WATCHED:
                page.watched.append(_read_entry(*each))
            else:
                page.released.append((check_name(each[0]), _number(each[1])))
        except ODD:
            continue
    return page


def _read_words(identity: Any, since: Any, revision: Any) -> Words:
    if type(identity) is not str or type(since) is not int or type(revision) is not int:
        raise ValueError("no words of operators")
    return Words(identity, since, revision)


def _read_entry(
    name: Any, declared: Any, resolution: Any, standing: Any, age: Any, left: Any, awaited: Any
) -> Entry:
    if type(awaited) is not bool:
        raise TypeError(awaited)
    return Entry(
        check_name(name), None if declared is None else declare(*declared),
        check_seconds(resolution, "resolution", zero=True), Standing(standing), _number(age),
        None if left is None else min(_number(left), SECONDS_MAX), awaited,
    )  # fmt: skip


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not 0.0 <= value <= AGE_MAX:
        raise ValueError(value)
    return float(value)


def heard_of(answer: Any) -> dict[str, Said]:
    """What another member's answer says of each name; of what is not understood, nothing."""
    found: dict[str, Said] = {}
    with suppress(*ODD):
        for name, age in answer.get("released", ()):
            found[name] = Released(_number(age))
    with suppress(*ODD):
        for row in answer["rows"]:
            with suppress(*ODD):
                found[row["name"]] = Heard(*(_timer(row["timers"][each]) for each in Heard._fields))
    return found


def _timer(found: Any) -> Timer | None:
    if found is None:
        return None
    age, left = map(float, found)
    return Timer(age, left) if age >= 0.0 and left > 0.0 else None
