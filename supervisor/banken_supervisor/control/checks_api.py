"""Requests about checks: what people ask, and what the process that runs them asks for its work."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from banken_supervisor.control.arguments import (
    OFFSET_MAX,
    RequestRefused,
    integer_of,
    matcher_of,
    pattern_of,
)
from banken_supervisor.control.key_rights import shown
from banken_supervisor.engine.check_state import TOOK_BOUNDS_S
from banken_supervisor.engine.checks import RUNNER
from banken_supervisor.engine.descriptions import results_data
from banken_supervisor.engine.states import State
from banken_supervisor.processes.namespaces import SPACE

if TYPE_CHECKING:
    from banken_supervisor.config.placed_checks import PlacedCheck
    from banken_supervisor.control.view import ControlView

ROWS_MAX = 200
"""Checks in one reply; a further request from ``next`` on gets more."""

OWNERS_MAX = 100
"""Owners whose processes one reply has: to look at a thousand five times a second would make verdicts late."""

ASKED_MAX = 1_000
"""Checks that wait to be run at once."""


def checks(view: ControlView, args: dict[str, Any]) -> Any:
    """Rows of the checks whose name, or whose owner's, fits ``name``: ``offset``, ``limit``."""
    pattern = pattern_of(args)
    offset = integer_of(args, "offset", 0, OFFSET_MAX, 0)
    limit = integer_of(args, "limit", 1, ROWS_MAX, ROWS_MAX)
    fits, placed = matcher_of(pattern), view.checks.placed
    rows: list[dict[str, Any]] = []
    place = offset
    for check in placed[offset:]:
        place += 1
        if fits(check.name) or fits(check.of):
            rows.append(_row(view, check))
            if len(rows) >= limit:
                break
    return {"rows": rows, "next": place if place < len(placed) else None, "total": len(placed)}


def _row(view: ControlView, check: PlacedCheck) -> dict[str, Any]:
    """One check as people see it; seconds."""
    record, now = view.driver.engine.get(check.name), view.driver.now
    details = None if record is None else record.details
    state = None if details is None else details.check
    due = None if state is None or state.next_at is None else state.next_at - now
    return {
        "name": check.name,
        "check_of": check.of,
        "label": check.label,
        "every": check.every,
        "limit": check.limit,
        "fails": check.fails,
        "state": "unknown" if record is None else record.state.value,
        "running": record is not None and record.awaited and record.stopped_with is None,
        "number": 0 if state is None else state.number,
        "failed": 0 if state is None else state.failed,
        "next": due,
        "delayed": None if state is None else state.delayed,
        "delayed_for": 0.0 if state is None or state.delayed is None else now - state.delayed_since,
        "results": [] if record is None else results_data(record, now),
    }


def checks_metrics(view: ControlView) -> dict[str, Any] | None:
    """For the metrics; None where there are no checks."""
    engine, placed = view.driver.engine, view.checks.placed
    if not placed:
        return None
    last = dict.fromkeys(("passed", "failed", "none"), 0)
    for check in placed:
        record = engine.get(check.name)
        state = None if record is None or record.details is None or not record.awaited else record.details.check
        result = state.results[-1] if state is not None and state.results else None
        last["none" if result is None else "passed" if result.passed else "failed"] += 1
    runner, counts = engine.get(RUNNER), engine.checks.counts
    return {
        "last": last,
        "results": {"passed": counts.passed, "failed": counts.failed},
        "took": {"bounds": list(TOOK_BOUNDS_S), "counts": list(counts.took), "sum": counts.took_sum},
        "runner_up": runner is not None and runner.state is State.ALIVE,
    }


def check_run(view: ControlView, args: dict[str, Any]) -> Any:
    """Have the check ``name`` run now. ``number``: how many results it has had; the next one is this run's."""
    name = args.get("name")
    if type(name) is not str or all(check.name != name for check in view.checks.placed):
        raise RequestRefused(f"no check is called {shown(name)}; `banken checks` lists them")
    if len(view.checks.asked) >= ASKED_MAX:
        raise RequestRefused(f"{ASKED_MAX} checks wait already to be run at once")
    view.checks.asked[name] = None
    record = view.driver.engine.get(name)
    details = None if record is None else record.details
    return {"number": 0 if details is None or details.check is None else details.check.number}


def check_work(view: ControlView, args: dict[str, Any]) -> Any:
    """What the process that runs the checks is to do. ``version``: of the checks that it has; where these are
    others, a page of them comes, from ``offset`` on. ``asked``: what is to be run now. ``processes``: by owner, pid
    and start of its process, 0 where there is none; of many owners some, the others with the next requests.
    ``pid``: this supervisor's."""
    version, offset = args.get("version"), integer_of(args, "offset", 0, OFFSET_MAX, 0)
    if version is not None and type(version) is not str:
        raise RequestRefused(f"version must be a text or nil, not {shown(version)}")
    mine = view.checks
    body: dict[str, Any] = {"version": mine.version, "checks": None, "next": None, "pid": os.getpid()}
    if version != mine.version or offset:
        page = mine.placed[offset : offset + ROWS_MAX]
        body["checks"] = [
            {"name": c.name, "of": c.of, "program": c.is_programs, "table": _table(view, c)} for c in page
        ]
        body["next"] = offset + ROWS_MAX if offset + ROWS_MAX < len(mine.placed) else None
        body |= {"directory": mine.directory, "at_once": mine.at_once}
        return body
    owners = mine.owners(OWNERS_MAX)
    view.driver.engine.checks.asked([owner for owner, _ in owners], view.driver.now)
    body["processes"] = {owner: _process(view, owner, is_program) for owner, is_program in owners}
    body["asked"] = list(mine.asked)
    body["over"] = [check.name for check in mine.readiness if view.programs.is_ready(check.of)]
    mine.asked.clear()
    return body


def _table(view: ControlView, check: PlacedCheck) -> dict[str, Any]:
    """As it is in the file, and with what the file leaves to the supervisor."""
    table: dict[str, Any] = json.loads(check.table)
    if "output" in table and "log" not in table and (log := view.programs.log_of(check.of)) is not None:
        table["log"] = log
    return table


def _process(view: ControlView, owner: str, is_program: bool) -> tuple[int, int]:
    if is_program:
        process = view.programs.process(owner)
    else:
        record = view.driver.engine.get(owner)
        process = None if record is None else record.owner
    return (0, 0) if process is None or process.boot != SPACE else (process.pid, process.start)


OPS: dict[str, Callable[[ControlView, dict[str, Any]], Any]] = {
    handler.__name__: handler for handler in (checks, check_run, check_work)
}
