"""Callbacks: what is bound to which watchdog or name, and a report of each run."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any

from banken.protocol.incidents import Incident
from banken.protocol.limits import encodable
from banken.watchdog.callback_invocation import Callback, Run, taking_incident
from banken_supervisor.actions.callback_process import CallbackFailed
from banken_supervisor.actions.job import How, Job
from banken_supervisor.actions.keyed_executor import THREADS_MAX, KeyedExecutor
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.processes.callback_runner import TRACE_MAX

TIME_LIMIT = 30.0
"""Seconds a callback may run before it is reported as stuck."""

_TYPES = {
    How.DONE: EventType.CALLBACK_DONE,
    How.RAISED: EventType.CALLBACK_FAILED,
    How.STUCK: EventType.CALLBACK_STUCK,
    How.REFUSED: EventType.CALLBACK_SKIPPED,
    How.DROPPED: EventType.CALLBACK_SKIPPED,
    How.WAITS: EventType.CALLBACK_FAILED,
}


class Callbacks:
    """What is bound to watchdogs and names, and its runs. ``report`` is called from any thread, with the event of
    each run's end. At most one runs at a time for each watchdog and kind."""

    def __init__(
        self,
        report: Callable[[Event], None],
        *,
        time_limit: float = TIME_LIMIT,
        threads_max: int = THREADS_MAX,
    ) -> None:
        self._report = report
        self._time_limit = time_limit
        self._jobs = KeyedExecutor("banken-callback", self._ran, threads_max=threads_max)
        self.counts = self._jobs.counts
        self.patience = self._jobs.patience
        self.check = self._jobs.check
        self.close = self._jobs.close
        self._bound: dict[str, Run] = {}
        """by watchdog"""
        self._named: dict[str, Run] = {}
        """by the name that declarations use"""

    def bind(self, watchdog: str, callback: Callback | None) -> None:
        """What to run for one watchdog; None: nothing."""
        _set(self._bound, watchdog, callback)

    def name(self, name: str, callback: Callback | None) -> None:
        """What to run for a declaration that names ``name``; None: nothing."""
        _set(self._named, name, callback)

    def call(self, name: str, incident: Incident) -> None:
        """Call what is bound to ``name`` on this thread, and raise what it raises. LookupError: nothing is."""
        named = self._named.get(name)  # a reload may take it away meanwhile
        if named is None:
            raise LookupError(f"no callback is called {name!r} here")
        named(incident)

    def has(self, name: str, named: str | None) -> bool:
        """Whether there is something to run for this watchdog, whose declaration names a callback or none."""
        return named is not None or name in self._bound

    def run(self, incident: Incident, named: str | None, owner: Hashable = None) -> None:
        """Run what is bound to the incident's watchdog, and what its declaration names. ``owner``: the watchdog's,
        whose runs take turns with those of others."""
        bound = self._bound.get(incident.name)
        if bound is not None:
            self._submit(incident.name, bound, incident, owner)
        if named is None:
            return
        found = self._named.get(named)
        if found is None:
            known = ", ".join(sorted(self._named)) or "none"
            text = f"no callback is called {named!r} here; known: {known}"
            self._publish(EventType.CALLBACK_FAILED, incident, 0.0, text)
        else:
            self._submit(f"{incident.name}\0{named}", found, incident, owner)

    def _submit(self, key: str, run: Run, incident: Incident, owner: Hashable) -> None:
        self._jobs.submit(Job(key, partial(run, incident), incident, owner, key, self._time_limit, outside=True))

    def _ran(self, job: Job, how: How, value: Any, seconds: float) -> None:
        text, more = "" if how is How.DONE else value, {}
        if isinstance(value, CallbackFailed):
            text, more = value.trace, value.data
        elif how is How.RAISED:
            text = encodable("".join(traceback.format_exception(value))[-TRACE_MAX:])
        self._publish(_TYPES[how], job.about, seconds, text, more)

    def _publish(
        self, kind: EventType, incident: Incident, seconds: float, text: str, more: Mapping[str, Any] | None = None
    ) -> None:
        data = {"incident": incident.id, "run": incident.run, "seconds": seconds, **(more or {})}
        self._report(Event(kind, incident.name, data | {"text": text} if text else data))


def _set(table: dict[str, Run], key: str, callback: Callback | None) -> None:
    if callback is None:
        table.pop(key, None)
    else:
        table[key] = taking_incident(callback)
