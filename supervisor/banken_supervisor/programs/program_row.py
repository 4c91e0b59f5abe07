"""One program as clients see it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from banken_supervisor.processes.handle import ProcessHandle
from banken_supervisor.programs.engine.record import Program
from banken_supervisor.programs.engine.states import ProgramState
from banken_supervisor.programs.spawn import Child


def row(
    each: Program, child: Child | None, main: ProcessHandle | None, reloading: Collection[str], now: float
) -> dict[str, Any]:
    """``child``: the process that was started, or is the program now. Seconds. ``state`` is "starting" until it is
    ready. ``ready``: it is up and ready, or it has ended in order after it was."""
    is_starting = each.state is ProgramState.RUNNING and not each.ready
    return {
        "name": each.name,
        "state": ProgramState.STARTING.value if is_starting else each.state.value,
        "since": now - each.since,
        "ready": each.ready and (child is not None or each.state is ProgramState.STOPPED),
        "awaits": list(each.awaits) if each.state is ProgramState.QUEUED else [],
        "reloading": each.name in reloading,
        "pid": None if main is None else main.pid,
        "adopted": child is not None and not child.own,
        "failures": each.failures,
        "log": each.spec.log,
        "due": None if each.due is None else each.due - now,
        "killed": each.killed,
        "why": each.why if each.state is ProgramState.STOPPED else "",
    }
