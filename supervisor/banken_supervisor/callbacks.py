"""Callbacks on threads of their own, where a bad one hurts only itself.

The standard pool cannot be shut down past a callback that hangs, so these are daemon threads: made when no
idle one is left, up to a bound. At most one callback runs at a time for each watchdog and kind. One that
outlives its limit is reported as stuck and no longer counted: another thread takes its place, and if it ever
returns, its thread ends.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from time import monotonic

from banken import calling
from banken.calling import Callback
from banken.model import Incident, encodable
from banken_supervisor.core.effects import EventType

TIME_LIMIT = 30.0
"""Seconds a callback may run before it is reported as stuck."""

THREADS_MAX = 64
"""Callbacks that run at once, stuck ones not counted."""

STUCK_MAX = 256
"""Stuck threads that are replaced; with so many, what is asked for next is refused and reported."""

QUEUE_MAX = 20_000
"""Callbacks that wait for a thread."""

TRACE_MAX = 8192
"""Characters of a traceback that are published; the end is what tells."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one callback."""

    type: EventType
    name: str
    incident: str
    run: int
    seconds: float
    text: str = ""


class _Job:
    __slots__ = ("callback", "incident", "key", "started", "stuck", "with_incident")

    def __init__(self, key: str, callback: Callback, with_incident: bool, incident: Incident) -> None:
        self.key = key
        self.callback = callback
        self.with_incident = with_incident
        self.incident = incident
        self.started: float | None = None
        self.stuck = False


class Callbacks:
    """The executor. ``report`` is called from any thread, with what became of each callback."""

    def __init__(
        self,
        report: Callable[[Report], None],
        *,
        time_limit: float = TIME_LIMIT,
        threads_max: int = THREADS_MAX,
    ) -> None:
        self._report = report
        self._time_limit = time_limit
        self._threads_max = threads_max
        self._lock = threading.Lock()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._jobs: dict[str, _Job] = {}
        """queued and running, by key"""
        self._bound: dict[str, tuple[Callback, bool]] = {}
        self._named: dict[str, tuple[Callback, bool]] = {}
        self._threads = 0
        self._idle = 0
        self._stuck = 0
        self._closed = False

    def bind(self, watchdog: str, callback: Callback | None) -> None:
        """What to run for one watchdog; None: nothing."""
        self._set(self._bound, watchdog, callback)

    def name(self, name: str, callback: Callback | None) -> None:
        """What a declaration that names ``name`` runs."""
        self._set(self._named, name, callback)

    def named(self, name: str) -> Callback | None:
        """What is bound to a name; None: nothing."""
        found = self._named.get(name)
        return None if found is None else found[0]

    def names(self) -> set[str]:
        """All names that something is bound to."""
        return set(self._named)

    @staticmethod
    def _set(table: dict[str, tuple[Callback, bool]], key: str, callback: Callback | None) -> None:
        if callback is None:
            table.pop(key, None)
        else:
            table[key] = callback, calling.wants_incident(callback)

    def run(self, incident: Incident, named: str | None) -> None:
        """Run what is bound to the incident's watchdog, and what its declaration names."""
        bound = self._bound.get(incident.name)
        if bound is not None:
            self._submit(_Job(incident.name, *bound, incident))
        if named is not None:
            found = self._named.get(named)
            if found is None:
                known = ", ".join(sorted(self._named)) or "none"
                text = f"no callback is called {named!r} here; known: {known}"
                self._tell(EventType.CALLBACK_FAILED, incident, 0.0, text)
            else:
                self._submit(_Job(f"{incident.name}\0{named}", *found, incident))

    def counts(self) -> dict[str, int]:
        """How many run, are stuck and wait."""
        with self._lock:
            running = sum(1 for job in self._jobs.values() if job.started is not None)
            return {
                "running": running,
                "stuck": self._stuck,
                "queued": len(self._jobs) - running,
                "threads": self._threads + self._stuck,
            }

    def patience(self, real: float) -> float | None:
        """Seconds until ``check`` may find one stuck; None: none runs. ``real``: monotonic time."""
        if not self._jobs:
            return None
        with self._lock:
            started = [job.started for job in self._jobs.values() if job.started is not None and not job.stuck]
        return max(0.01, min(started) + self._time_limit - real) if started else None

    def check(self, real: float) -> None:
        """Report those that have run for too long, and replace their threads."""
        overdue = []
        with self._lock:
            for job in self._jobs.values():
                if job.started is not None and not job.stuck and real - job.started >= self._time_limit:
                    job.stuck = True
                    self._threads -= 1
                    self._stuck += 1
                    overdue.append(job)
        for job in overdue:
            text = f"still running after its limit of {self._time_limit:g} s; its thread was replaced"
            self._tell(EventType.CALLBACK_STUCK, job.incident, self._time_limit, text)
        if overdue and not self._queue.empty():
            self._hire()

    def close(self, wait: float) -> int:
        """Start nothing more; wait at most ``wait`` seconds for what runs. How many still ran then."""
        with self._lock:
            self._closed = True
        deadline = monotonic() + wait
        while monotonic() < deadline:
            with self._lock:
                if not any(job.started is not None and not job.stuck for job in self._jobs.values()):
                    break
            threading.Event().wait(0.01)
        with self._lock:
            left = sum(1 for job in self._jobs.values() if job.started is not None)
            for _ in range(self._threads):
                self._queue.put(None)
        return left

    def _submit(self, job: _Job) -> None:
        skipped = ""
        with self._lock:
            if self._closed:
                return
            if job.key in self._jobs:
                skipped = "an earlier run of this callback has not ended"
            elif len(self._jobs) >= QUEUE_MAX:
                skipped = f"{QUEUE_MAX} callbacks wait already"
            elif self._stuck >= STUCK_MAX:
                skipped = f"{STUCK_MAX} callbacks are stuck"
            else:
                self._jobs[job.key] = job
        if skipped:
            self._tell(EventType.CALLBACK_SKIPPED, job.incident, 0.0, skipped)
            return
        self._queue.put(job)
        self._hire()

    def _hire(self) -> None:
        """One thread more, if none is idle and the bound allows it."""
        with self._lock:
            if self._idle >= max(1, self._queue.qsize()) or self._threads >= self._threads_max or self._closed:
                return
            self._threads += 1
            number = self._threads + self._stuck
        threading.Thread(target=self._work, name=f"banken-callback-{number}", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            job = self._queue.get()
            with self._lock:
                self._idle -= 1
                if job is None or self._closed:
                    self._threads -= 1
                    return
                job.started = monotonic()
            self._perform(job)
            with self._lock:
                self._jobs.pop(job.key, None)
                if job.stuck:  # it came back after all; its place was taken
                    self._stuck -= 1
                    return

    def _perform(self, job: _Job) -> None:
        kind, text = EventType.CALLBACK_DONE, ""
        process = os.getpid()
        try:
            try:
                calling.call(job.callback, job.with_incident, job.incident)
            finally:
                if os.getpid() != process:  # it forked, and this is the child: no second supervisor may live on
                    os._exit(0)
        except BaseException:  # noqa: BLE001
            # SystemExit and KeyboardInterrupt too: a callback ends nothing but itself.
            kind, text = EventType.CALLBACK_FAILED, encodable(traceback.format_exc()[-TRACE_MAX:])
        assert job.started is not None
        self._tell(kind, job.incident, monotonic() - job.started, text)

    def _tell(self, kind: EventType, incident: Incident, seconds: float, text: str) -> None:
        self._report(Report(kind, incident.name, incident.id, incident.run, seconds, text))
