"""The reply to ``metrics``: all counters of a supervisor, and short rows of some watchdogs."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from time import process_time
from typing import Any

import psutil

from banken.protocol.incidents import Cause
from banken_supervisor.control.checks_api import checks_metrics
from banken_supervisor.control.view import ControlView
from banken_supervisor.engine.effects import EventType
from banken_supervisor.engine.feed_history import GAP_EDGES
from banken_supervisor.engine.record import Record, deadline
from banken_supervisor.engine.states import State
from banken_supervisor.observability.guard import Place
from banken_supervisor.programs.engine.states import ProgramState

ROWS_MAX = 1_000
"""Maximum of rows: each is several time series and costs the loop about two microseconds."""

_DUE = (State.WAITING, State.ALIVE)


def metrics_snapshot(
    view: ControlView, summary: dict[str, Any], wanted: Iterable[Record] | None, limit: int
) -> dict[str, Any]:
    """``summary`` (the reply to the request of that name) and the fields that only metrics have; seconds, bytes.

    ``rows``: [name, state, silence, left (None: never due), timeout, incidents] of the ``wanted`` watchdogs, at
    most ``limit``. ``wanted`` is None: of all watchdogs, or of none if there are more than ``limit``, because an
    arbitrary part is useless.
    """
    metrics, engine, now = view.metrics, view.driver.engine, view.driver.now
    if wanted is None:
        wanted = engine.table if len(engine) <= limit else ()
    states = view.programs.states()
    return {
        **summary,
        "events": {kind.value: metrics.events[kind.value] for kind in EventType},
        "incidents": {cause.value: metrics.incidents[cause.value] for cause in Cause},
        "acted": [[name, result, count] for (name, result), count in metrics.actions.items()],
        "turn_seconds": metrics.turn_seconds.plain(),
        "lateness": metrics.lateness.plain(),
        "gaps": {
            "bounds": list(GAP_EDGES), "counts": list(engine.history.gap_counts), "sum": engine.history.gap_sum
        },
        "internal_errors": {place.value: view.guard.counts[place.value] for place in Place},
        "program_states": {state.value: states[state] for state in ProgramState},
        "checks": checks_metrics(view),
        "cpu": process_time(),
        "memory": psutil.Process().memory_info().rss,
        "rows": [_row(record, now) for record in islice(wanted, limit)],
    }  # fmt: skip


def _row(record: Record, now: float) -> list[Any]:
    due = deadline(record) if record.state in _DUE else None
    left = None if due is None else due - now
    incidents = 0 if record.details is None else record.details.incidents
    silence = max(0.0, now - record.fed_at)
    return [record.name, record.state.value, silence, left, record.declaration.timeout, incidents]
