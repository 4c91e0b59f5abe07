"""The threads that run actions.

The actions of one watchdog run strictly in the order in which they were submitted, so that evidence is taken before
anything is killed; those of different watchdogs run side by side (banken_supervisor/executor.py). The next action
of a watchdog goes on past one that is stuck.
"""

from __future__ import annotations

import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from banken_supervisor.actions import sanitize
from banken_supervisor.actions.base import HANDED, Action, Outcome, Subject, World
from banken_supervisor.actions.jobs import Report, Run, What, for_each
from banken_supervisor.actions.keyed_executor import THREADS_MAX, How, Job, KeyedExecutor

__all__ = ["Executor", "Report", "What"]

OUTSIDE_SHARE = 0.75
"""The part of the threads that may wait for the outside."""

EVIDENCE_MAX = 32
"""Incidents whose evidence is kept for their later actions."""

_Told = tuple[What, str, dict[str, Any]]


class Executor:
    """Runs actions in ``world``. ``report`` is called from any thread, with what became of each."""

    def __init__(self, world: World, report: Callable[[Report], None], *, threads_max: int = THREADS_MAX) -> None:
        self._world = world
        self._report = report
        self._jobs = KeyedExecutor(
            "banken-action",
            self._ran,
            threads_max=threads_max,
            outside_max=max(1, int(threads_max * OUTSIDE_SHARE)),
        )
        self.counts = self._jobs.counts
        self.patience = self._jobs.patience
        self.check = self._jobs.check
        self._lock = threading.Lock()
        self._evidence: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def submit(self, actions: Iterable[Action], subject: Subject, chain_name: str | None = None) -> None:
        """Have these actions run in this order, after everything that was submitted for the watchdog before.

        An action of the same incident that has not ended is not begun again. ``chain_name``: after everything of
        that name instead; ``cancel`` then leaves alone what has not begun.
        """
        incident = subject.incident
        for action in actions:
            run = Run(action, subject)
            # A message of many is always a new one.
            same = None if subject.others else (id(action), incident.id, subject.recovered)
            self._jobs.submit(
                Job(
                    incident.name if chain_name is None else chain_name,
                    partial(self._perform, run),
                    run,
                    same,
                    action.limit_s,
                    action.outside,
                )
            )

    def cancel(self, name: str, incident: str | None = None) -> int:
        """An incident of ``name`` ended (None: whichever is open): drop what has not begun, tell what runs.

        Notifications of recovery stay. How many were dropped.
        """
        # First what waits, then what runs: one that begins between is told all the same.
        dropped = self._jobs.drop(name, lambda job: job.about.belongs(incident))
        for job in self._jobs.begun():
            if job.about.subject.incident.name == name and job.about.belongs(incident):
                job.about.end()
        for job in dropped:
            self._tell(job.about, job.about.report(What.DROPPED, "the incident ended before"))
        return len(dropped)

    def close(self, wait: float) -> int:
        """Begin nothing more; wait at most ``wait`` seconds for what runs. How many then ran or were stuck."""
        self._jobs.close(0.0)
        for job in self._jobs.begun():
            job.about.end()
        return self._jobs.close(wait)

    # -- on the threads -----------------------------------------------------------------------------

    def _perform(self, run: Run) -> _Told | None:
        """None: it was handed on, and whoever has it tells what becomes of it."""
        try:
            outcome = run.action.run(self._informed(run.subject), self._world, run.begin())
            if outcome is HANDED:
                return None
            if not isinstance(outcome, Outcome):
                raise TypeError(f"an action returns an Outcome, not {type(outcome).__name__}")
            data = sanitize.plain(outcome.data)
            self._keep_evidence(run.subject, data)
            return What.DONE if outcome.ok else What.FAILED, str(outcome.text), data
        except BaseException as fault:  # noqa: BLE001
            # SystemExit and KeyboardInterrupt too: an action ends nothing but itself.
            return What.FAILED, *_raised(fault, run.action.hidden)

    def _ran(self, job: Job, how: How, value: Any, seconds: float) -> None:
        run: Run = job.about
        match how:
            case How.DONE if value is None:
                return
            case How.DONE:
                what, text, data = value
                self._tell(run, run.report(what, text, data, seconds, late=job.stuck))
            case How.RAISED:  # only what telling of a fault has raised itself
                self._tell(run, run.report(What.FAILED, type(value).__name__, None, seconds, late=job.stuck))
            case How.STUCK:
                self._tell(run, run.report(What.STUCK, value, seconds=seconds))
            case How.REFUSED:
                self._tell(run, run.report(What.SKIPPED, value))
            case How.WAITS:
                self._tell(run, run.report(What.FAILED, value))

    def _informed(self, subject: Subject) -> Subject:
        """The subject with the evidence that was taken after it was written; so with the others."""
        if subject.others:
            subject = replace(subject, others=tuple(map(self._informed, subject.others)))
        if subject.evidence is not None:
            return subject
        with self._lock:
            found = self._evidence.get(subject.incident.id)
        return subject if found is None else replace(subject, evidence=found)

    def _keep_evidence(self, subject: Subject, data: dict[str, Any]) -> None:
        found = data.get("evidence")
        if isinstance(found, dict):
            with self._lock:
                self._evidence[subject.incident.id] = found
                while len(self._evidence) > EVIDENCE_MAX:
                    self._evidence.popitem(last=False)

    def _tell(self, run: Run, report: Report) -> None:
        for each in for_each(report, run.subject):
            self._report(each)


def _raised(fault: BaseException, hidden: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """What an action raised: one line with its type and message, and as its output the traceback.

    First hidden, then cut: half a secret would not be found.
    """
    said = sanitize.redact("".join(traceback.format_exception_only(fault)), hidden)
    whole = sanitize.redact("".join(traceback.format_exception(fault)), hidden)
    return sanitize.line(" ".join(said.split())), {"output": sanitize.text(whole, keep_end=True)}
