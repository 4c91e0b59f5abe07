"""What is told about a watchdog and its open incident: to a callback, and to whoever reads events."""

from __future__ import annotations

from typing import Any

from banken_supervisor.core.dog import Dog, OpenIncident
from banken_supervisor.core.effects import Event, EventType, RunCallback


def run_of(dog: Dog, incident: OpenIncident, due: float, now: float) -> RunCallback:
    """One run of the callback, for the deadline ``due``."""
    rare = dog.more()
    return RunCallback(
        name=dog.name,
        callback=dog.declaration.callback,
        incident=incident.id,
        cause=incident.cause,
        opened=incident.opened,
        silence=max(0.0, now - dog.fed_at),  # after a restart it waits from a little later on
        timeout=dog.declaration.timeout,
        due=due,
        run=incident.run,
        reason=incident.reason,
        status=rare.status,
        progress=rare.progress,
    )


def told(dog: Dog, run: RunCallback, now: float) -> dict[str, Any]:
    """What an event says about an open incident; durations in seconds."""
    data: dict[str, Any] = {
        "incident": run.incident,
        "cause": run.cause.value,
        "run": run.run,
        "silence": run.silence,
        "timeout": run.timeout,
        "late": now - run.due,
        "age": now - run.opened,
        **pid_of(dog),
    }
    for key in ("reason", "status", "progress"):
        value = getattr(run, key)
        if value is not None:
            data[key] = value
    return data


def pid_of(dog: Dog) -> dict[str, int]:
    """The process that feeds it, where one is known."""
    return {} if dog.owner is None else {"pid": dog.owner.pid}


def declared(dog: Dog, by: str) -> Event:
    """What holds for it now, and by whose word: operator, worker, defaults, or learnt."""
    declaration = dog.declaration
    data = {"timeout": declaration.timeout, "interval": declaration.interval, "grace": declaration.grace, "by": by}
    return Event(EventType.DECLARED, dog.name, {**data, **pid_of(dog)})
