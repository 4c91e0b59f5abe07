"""The answer to ``metrics``: every count of a supervisor, and a short row for each of few watchdogs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from time import process_time
from typing import TYPE_CHECKING, Any

from banken.model import Cause
from banken_supervisor.core.dog import Dog, deadline
from banken_supervisor.core.effects import EventType
from banken_supervisor.core.program_states import ProgramState
from banken_supervisor.core.states import State
from banken_supervisor.core.trail import GAP_EDGES
from banken_supervisor.guard import Place

if TYPE_CHECKING:
    from banken_supervisor.loop import Loop

ROWS_MAX = 1_000
"""Watchdogs that get rows, at the most: each is several time series, and costs the loop about two microseconds."""

_DUE = (State.WAITING, State.ALIVE)

UNDUE = (Cause.FAILED.value, Cause.TOO_FAST.value)
"""Causes without a deadline: the worker's own word is the verdict, and nothing can be late."""


def measures(loop: Loop, summary: dict[str, Any], wanted: Iterable[Dog] | None, limit: int) -> dict[str, Any]:
    """``summary`` (what the request of that name gives) and all that only metrics want; seconds, bytes.

    ``rows``: [name, state, silence, left (None: never due), timeout, incidents] of those that are ``wanted``, at
    most ``limit``. Where it is None all have rows, or, if there are more than ``limit``, none: an arbitrary part
    would be worth nothing.
    """
    tally, kennel, now = loop.tally, loop.watch.kennel, loop.watch.now
    dogs: list[Dog] = []
    if wanted is not None:
        dogs = list(islice(wanted, limit))
    elif len(kennel) <= limit:
        dogs = list(kennel.all())
    states = loop.stable.states()
    return {
        **summary,
        "events": {kind.value: loop.events[kind.value] for kind in EventType},
        "incidents": {cause.value: tally.incidents[cause.value] for cause in Cause},
        "acted": [[name, result, count] for (name, result), count in tally.actions.items()],
        "turn_seconds": tally.turns.plain(),
        "lateness": tally.lateness.plain(),
        "gaps": {"bounds": list(GAP_EDGES), "counts": list(kennel.gap_counts), "sum": kennel.gap_sum},
        "internal_errors": {place.value: loop.guard.counts[place.value] for place in Place},
        "program_states": {state.value: states[state] for state in ProgramState},
        "cpu": process_time(),
        "memory": resident(),
        "rows": [_row(dog, now) for dog in dogs],
    }


def late(data: dict[str, Any], spent: float) -> float | None:
    """How late a verdict is handed out, by the data of its event. ``spent``: seconds of this turn so far."""
    return None if data["cause"] in UNDUE else data["late"] + spent


def resident() -> int | None:
    """Bytes of memory that this process holds; None: the system does not tell (only Linux does)."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _row(dog: Dog, now: float) -> list[Any]:
    due = deadline(dog) if dog.state in _DUE else None
    incidents = 0 if dog.rare is None else dog.rare.incidents
    left = None if due is None else due - now
    return [dog.name, dog.state.value, max(0.0, now - dog.fed_at), left, dog.declaration.timeout, incidents]
