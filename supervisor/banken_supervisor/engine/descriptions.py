"""What events and callbacks say about a watchdog and its open incident."""

from __future__ import annotations

from typing import Any

from banken.protocol.messages import ProcessIdentity
from banken_supervisor.engine.effects import Event, EventType, RunCallback
from banken_supervisor.engine.record import OpenIncident, Record


def callback_run(record: Record, incident: OpenIncident, due: float, now: float) -> RunCallback:
    """One run of the callback, for the deadline ``due``."""
    details = record.detailed()
    return RunCallback(
        name=record.name,
        callback=record.declaration.callback,
        incident=incident.id,
        cause=incident.cause,
        opened=incident.opened,
        silence=max(0.0, now - record.fed_at),  # after a restart ``fed_at`` may lie ahead
        timeout=record.declaration.timeout,
        due=due,
        run=incident.runs,
        reason=incident.reason,
        status=details.status,
        progress=details.progress,
    )


def incident_data(record: Record, run: RunCallback, now: float) -> dict[str, Any]:
    """What an event says about an open incident; durations in seconds."""
    data: dict[str, Any] = {
        "incident": run.incident,
        "cause": run.cause.value,
        "run": run.run,
        "silence": run.silence,
        "timeout": run.timeout,
        "late": now - run.due,
        "age": now - run.opened,
        **process_data(record),
    }
    for key in ("reason", "status", "progress"):
        value = getattr(run, key)
        if value is not None:
            data[key] = value
    return data


def process_data(record: Record) -> dict[str, int]:
    """The process that feeds it, where one is known."""
    return {} if record.owner is None else {"pid": record.owner.pid}


def exited_event(record: Record, process: ProcessIdentity, status: int | None, said: dict[str, Any]) -> Event:
    """A process has ended, and that opens no incident. ``status``: None where it is not known."""
    known = {} if status is None else {"status": status}
    return Event(EventType.EXITED, record.name, {**said, "pid": process.pid, **known})


def declared_event(record: Record, by: str) -> Event:
    """What is in force for it now, and by whom: operator, worker, defaults, or learnt."""
    declaration = record.declaration
    data = {"timeout": declaration.timeout, "interval": declaration.interval, "grace": declaration.grace, "by": by}
    return Event(EventType.DECLARED, record.name, {**data, **process_data(record)})


def results_data(record: Record, now: float) -> list[dict[str, Any]]:
    """Its last results as plain data, the newest last; ``age``: seconds."""
    state = None if record.details is None else record.details.check
    if state is None:
        return []
    return [{"age": now - r.at, "passed": r.passed, "took": r.took, "text": r.text} for r in state.results]


def check_data(record: Record, now: float) -> dict[str, Any]:
    """What an event says about the incident of a check, besides."""
    check = None if record.policy is None else record.policy.check
    return {} if check is None else {"check_of": check.of, "results": results_data(record, now)}
