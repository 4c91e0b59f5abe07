"""The threads that run actions.

The actions of one watchdog run strictly in the order in which they were submitted, so that evidence is taken before
anything is killed; those of different watchdogs run side by side. As in callbacks.py the threads are daemons of our
own, made when no idle one is left, up to a bound: the standard pool cannot be shut down past an action that hangs.
One that outlives its limit is reported as stuck, its thread is replaced, and the next action of its watchdog goes
on.

Actions that wait for the outside (a server, a command) get only a share of the threads. When a network fails,
everything expires and every webhook hangs, and just then the supervisor must be able to kill and restart.
"""

from __future__ import annotations

import contextlib
import os
import threading
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from time import monotonic
from typing import Any

from banken_supervisor.recovery import bounds
from banken_supervisor.recovery.base import HANDED, Action, Outcome, Subject, World
from banken_supervisor.recovery.jobs import Chain, Job, Report, What, for_each

__all__ = ["Executor", "Report", "What"]

THREADS_MAX = 64
"""Actions that run at once, stuck ones not counted."""

OUTSIDE_SHARE = 0.75
"""The part of the threads that may wait for the outside."""

STUCK_MAX = 256
"""Stuck threads that are replaced. With so many, actions that wait for the outside are skipped; with twice as many,
all are."""

QUEUE_MAX = 20_000
"""Actions that wait, of all watchdogs together."""

EVIDENCE_MAX = 32
"""Incidents whose evidence is kept for their later actions."""


class Executor:
    """Runs actions in ``world``. ``report`` is called from any thread, with what became of each."""

    def __init__(self, world: World, report: Callable[[Report], None], *, threads_max: int = THREADS_MAX) -> None:
        self._world = world
        self._report = report
        self._threads_max = threads_max
        self._outside_max = max(1, int(threads_max * OUTSIDE_SHARE))
        self._wake = threading.Condition(threading.Lock())
        self._chains: dict[str, Chain] = {}
        """those with something pending or running"""
        self._ready: OrderedDict[str, Chain] = OrderedDict()
        """those whose next action may begin"""
        self._ready_outside: OrderedDict[str, Chain] = OrderedDict()
        """the same, where that action waits for the outside"""
        self._running: set[Job] = set()
        self._stuck: set[Job] = set()
        self._evidence: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
        self._pending = 0
        self._outside = 0
        self._threads = 0
        self._idle = 0
        self._made = 0
        self._closed = False

    def submit(self, actions: Iterable[Action], subject: Subject, chain_name: str | None = None) -> None:
        """Have these actions run in this order, after everything that was submitted for the watchdog before.

        An action of the same incident that has not ended is not begun again. ``chain_name``: after everything of
        that name instead; ``cancel`` then leaves alone what has not begun.
        """
        skipped = []
        with self._wake:
            if self._closed:
                return
            name = subject.incident.name if chain_name is None else chain_name
            chain = self._chains.get(name) or Chain(name)
            for action in actions:
                job = Job(action, subject, name)
                if self._pending >= QUEUE_MAX:
                    skipped.append((job, f"{QUEUE_MAX} actions wait already"))
                elif self._under_way(chain, job):
                    skipped.append((job, "an earlier run of this action has not ended"))
                else:
                    chain.pending.append(job)
                    self._pending += 1
            if chain.pending:
                self._chains[chain.name] = chain
                self._make_ready(chain)
        for job, why in skipped:
            self._tell(job, job.report(What.SKIPPED, why))
        self._hire()

    def cancel(self, name: str, incident: str | None = None) -> int:
        """An incident of ``name`` ended (None: whichever is open): drop what has not begun, tell what runs.

        Notices of recovery stay. How many were dropped.
        """
        with self._wake:
            for job in (*self._running, *self._stuck):
                if job.subject.incident.name == name and job.belongs(incident):
                    job.ended.set()
            chain = self._chains.get(name)
            if chain is None:
                return 0
            dropped = [job for job in chain.pending if job.belongs(incident)]
            if dropped:
                chain.pending = deque(job for job in chain.pending if not job.belongs(incident))
                self._pending -= len(dropped)
                self._make_ready(chain)
        for job in dropped:
            self._tell(job, job.report(What.DROPPED, "the incident ended before"))
        self._hire()
        return len(dropped)

    def counts(self) -> dict[str, int]:
        """How many run, are stuck and wait."""
        with self._wake:
            return {
                "running": len(self._running),
                "stuck": len(self._stuck),
                "queued": self._pending,
                "threads": self._threads + len(self._stuck),
            }

    def patience(self, real: float) -> float | None:
        """Seconds until ``check`` may find one stuck; None: none runs. ``real``: monotonic time."""
        if not self._running:
            return None
        with self._wake:
            due = [job.started + job.action.limit_s for job in self._running if job.started is not None]
        return max(0.01, min(due) - real) if due else None

    def check(self, real: float) -> None:
        """Report those that have run for too long, replace their threads, and go on with their watchdogs."""
        overdue = []
        with self._wake:
            for job in list(self._running):
                assert job.started is not None
                if real - job.started >= job.action.limit_s:
                    job.stuck = True
                    self._threads -= 1
                    self._stuck.add(job)
                    overdue.append(job)
                    self._leave(job)
        for job in overdue:
            text = f"still running after its limit of {job.action.limit_s:g} s; its thread was replaced"
            self._tell(job, job.report(What.STUCK, text, seconds=job.action.limit_s))
        self._hire()

    def close(self, wait: float) -> int:
        """Begin nothing more; wait at most ``wait`` seconds for what runs. How many then ran or were stuck."""
        deadline = monotonic() + wait
        with self._wake:
            self._closed = True
            for job in (*self._running, *self._stuck):
                job.ended.set()
            self._wake.notify_all()
            while self._running and (left := deadline - monotonic()) > 0:
                self._wake.wait(left)
            return len(self._running) + len(self._stuck)

    # -- under the lock -----------------------------------------------------------------------------

    def _under_way(self, chain: Chain, job: Job) -> bool:
        """Whether the same action waits, runs or is stuck for the same incident."""
        if job.subject.others:  # a message of many is always a new one
            return False
        if chain.running is not None and chain.running.key == job.key:
            return True
        return any(each.key == job.key for each in (*chain.pending, *self._stuck))

    def _make_ready(self, chain: Chain) -> None:
        """Put the chain where its next action belongs, or nowhere."""
        next_ = chain.pending[0] if chain.pending and chain.running is None else None
        right = None if next_ is None else self._ready_outside if next_.action.outside else self._ready
        for ready in (self._ready, self._ready_outside):
            if ready is not right:
                ready.pop(chain.name, None)
        if right is not None and chain.name not in right:
            right[chain.name] = chain
            self._wake.notify()
        if next_ is None and chain.running is None:
            self._chains.pop(chain.name, None)

    def _startable(self) -> int:
        """How many chains could begin at once if there were threads for all."""
        return len(self._ready) + max(0, min(len(self._ready_outside), self._outside_max - self._outside))

    def _take(self) -> Job | None:
        """Begin the next action that may begin."""
        if self._ready:
            _, chain = self._ready.popitem(last=False)
        elif self._ready_outside and self._outside < self._outside_max:
            _, chain = self._ready_outside.popitem(last=False)
        else:
            return None
        job = chain.running = chain.pending.popleft()
        job.begin()
        self._pending -= 1
        self._outside += job.action.outside
        self._running.add(job)
        return job

    def _leave(self, job: Job) -> None:
        """It no longer stands in anyone's way: it has ended, or is stuck."""
        self._running.discard(job)
        self._outside -= job.action.outside
        chain = self._chains[job.chain]
        chain.running = None
        self._make_ready(chain)
        if job.action.outside and self._ready_outside:
            self._wake.notify()  # a place among those that wait for the outside is free

    # -- the threads --------------------------------------------------------------------------------

    def _hire(self) -> None:
        """Threads for what could begin, within the bound."""
        while True:
            with self._wake:
                if self._closed or self._threads >= self._threads_max or self._idle >= self._startable():
                    return
                self._threads += 1
                self._idle += 1  # it will be, in a moment
                self._made += 1
                thread = threading.Thread(target=self._work, name=f"banken-action-{self._made}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system gives no thread now; what waits begins when another one is free
                with self._wake:
                    self._threads -= 1
                    self._idle -= 1
                return

    def _work(self) -> None:
        while (job := self._next()) is not None:
            with contextlib.suppress(BaseException):  # out of memory, say: what waits must still begin
                # Told before the next one of the watchdog begins, so that reports come in order.
                report = self._perform(job)
                if report is not None:
                    self._tell(job, report)
            with self._wake:
                if job.stuck:  # it came back after all; its place was taken
                    self._stuck.discard(job)
                    return
                self._leave(job)
                self._idle += 1
                if self._closed:
                    self._wake.notify_all()

    def _next(self) -> Job | None:
        with self._wake:
            while not self._closed:
                job = self._take()
                if job is not None:
                    self._idle -= 1
                    return job
                self._wake.wait()
            self._threads -= 1
            self._idle -= 1
            return None

    def _perform(self, job: Job) -> Report | None:
        if len(self._stuck) >= (STUCK_MAX if job.action.outside else 2 * STUCK_MAX):
            return job.report(What.SKIPPED, f"{len(self._stuck)} actions are stuck")
        assert job.started is not None
        data: dict[str, Any] = {}
        process = os.getpid()
        try:
            try:
                outcome = job.action.run(self._informed(job.subject), self._world, job.ended)
            finally:
                if os.getpid() != process:  # it forked, and this is the child: no second supervisor may live on
                    os._exit(0)
            if outcome is HANDED:
                return None
            if not isinstance(outcome, Outcome):
                raise TypeError(f"an action returns an Outcome, not {type(outcome).__name__}")
            kind = What.DONE if outcome.ok else What.FAILED
            text, data = str(outcome.text), bounds.plain(outcome.data)
            self._keep_evidence(job, data)
        except BaseException as fault:  # noqa: BLE001
            # SystemExit and KeyboardInterrupt too: an action ends nothing but itself.
            kind, (text, data) = What.FAILED, _raised(fault, job.action.hidden)
        return job.report(kind, text, data, monotonic() - job.started)

    def _informed(self, subject: Subject) -> Subject:
        """The subject with the evidence that was taken after it was written; so with the others."""
        if subject.others:
            subject = replace(subject, others=tuple(map(self._informed, subject.others)))
        if subject.evidence is not None:
            return subject
        with self._wake:
            found = self._evidence.get(subject.incident.id)
        return subject if found is None else replace(subject, evidence=found)

    def _keep_evidence(self, job: Job, data: dict[str, Any]) -> None:
        found = data.get("evidence")
        if isinstance(found, dict):
            with self._wake:
                self._evidence[job.subject.incident.id] = found
                while len(self._evidence) > EVIDENCE_MAX:
                    self._evidence.popitem(last=False)

    def _tell(self, job: Job, report: Report) -> None:
        # Posting a letter raises nothing; whatever else listens must not end us.
        with contextlib.suppress(Exception):
            for each in for_each(report, job.subject):
                self._report(each)


def _raised(fault: BaseException, hidden: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """What an action raised: one line with its type and message, and as its output the traceback.

    First hidden, then cut: half a secret would not be found.
    """
    said = bounds.redact("".join(traceback.format_exception_only(fault)), hidden)
    whole = bounds.redact("".join(traceback.format_exception(fault)), hidden)
    return bounds.line(" ".join(said.split())), {"output": bounds.text(whole, keep_end=True)}
