"""Which programs start after which, as ``after`` says: names and patterns become names; circles are faults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from banken_supervisor.config.faults import KeyPath, Problem
from banken_supervisor.config.models import ProgramTable
from banken_supervisor.config.names import matches, numbered
from banken_supervisor.config.numbering import filled
from banken_supervisor.config.parsing import Parsed
from banken_supervisor.engine.patterns import is_pattern
from banken_supervisor.text.quoting import quoted


def started_after(table: ProgramTable, number: int, name: str, every: Sequence[str]) -> tuple[str, ...]:
    """The programs that are to be ready before this process of the table starts. ``every``: all there are."""
    wanted = [filled(each, number) for each in table.after]
    return tuple(
        each for each in every if any(each == one or (matches(each, one) and each != name) for one in wanted)
    )


def order_problems(parsed: Parsed) -> Iterator[Problem]:
    """Programs that wait for what there is not, or for each other."""
    every = [name for _, table in parsed.programs for _, name in numbered(table)]
    known = set(every)
    after: dict[str, tuple[str, ...]] = {}
    paths: dict[str, KeyPath] = {}
    for path, table in parsed.programs:
        for place, each in enumerate(table.after):
            one = filled(each, 0)
            if one not in known and not (is_pattern(one) and any(matches(name, one) for name in every)):
                what = "matches no program" if is_pattern(one) else "is no program"
                yield Problem((*path, "after", place), f"{quoted(each)} {what} of this file")
        if table.after:
            for number, name in numbered(table):
                after[name], paths[name] = started_after(table, number, name, every), path
    yield from _circles(after, paths)


def _circles(after: dict[str, tuple[str, ...]], paths: dict[str, KeyPath]) -> Iterator[Problem]:
    done: set[str] = set()
    for start in after:
        way, pending = [start], [iter(after[start])]
        while way and start not in done:
            other = next(pending[-1], None)
            if other is None:
                done.add(way.pop())
                pending.pop()
            elif other in way:
                circle = [*way[way.index(other) :], other]
                yield Problem((*paths[other], "after"), f"goes round in a circle: {' -> '.join(circle[:20])}")
                done.update(way)
                break
            elif other in after and other not in done:
                way.append(other)
                pending.append(iter(after[other]))
