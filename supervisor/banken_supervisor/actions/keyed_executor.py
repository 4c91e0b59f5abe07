"""Threads for all work that may take long: callbacks, actions, program work, files.

Jobs of one lane run one after the other in the order in which they came; those of different lanes side by side. The
threads are daemons of our own, made when no idle one is left, up to a bound: the standard pool cannot be shut down
past a job that hangs. A job that outlives its limit is reported as stuck and its thread replaced.

Jobs of one owner (a process, whose watchdogs they are about) leave threads and room to those of others.

Jobs that wait for the outside (a server, a command) get only a share of the threads. When a network fails,
everything expires and every webhook hangs, and just then the supervisor must be able to kill and restart.

Where the system gives no thread, the jobs that lack one are reported and wait; it is asked again with a growing
pause.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable
from itertools import islice
from math import inf
from time import monotonic
from typing import Any

from banken.threads import NO_THREAD, start_daemon
from banken_supervisor.actions.job import How, Job, WasEnded, begin
from banken_supervisor.actions.ready_lanes import ReadyLanes, count_more

THREADS_MAX = 64
"""Jobs that run at once, stuck ones not counted."""

STUCK_MAX = 256
"""Stuck threads that are replaced. With so many, jobs that wait for the outside are refused; with twice as many,
all are."""

QUEUE_MAX = 20_000
"""Jobs that wait. One owner's may be as many as fit in besides."""

RESERVED = 8
"""Threads for owners that use fewer than this."""

STOPPED = "the supervisor stopped before it began"

RETRY_MIN, RETRY_MAX = 0.1, 5.0
"""Seconds until a thread is asked for again where the system gave none: the pause doubles from one to the other."""


class _Lane:
    __slots__ = ("name", "pending", "running")

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.pending: deque[Job] = deque()
        self.running: Job | None = None


class KeyedExecutor:
    """``report(job, how, value, seconds)`` is called from any thread; for what ``check`` finds and ``submit``
    refuses, from the caller's. For one lane it is called in order, before the next job begins. All methods are for
    any thread, and none for a signal handler.

    ``outside_max``: threads that may wait for the outside; None: all.
    """

    def __init__(
        self,
        name: str,
        report: Callable[[Job, How, Any, float], None],
        *,
        threads_max: int = THREADS_MAX,
        outside_max: int | None = None,
    ) -> None:
        self._name = name
        self._report = report
        self._threads_max = threads_max
        self._outside_max = threads_max if outside_max is None else outside_max
        self._changed = threading.Condition(threading.Lock())
        self._lanes: dict[Hashable, _Lane] = {}
        """those with something pending or running"""
        self._ready: dict[bool, ReadyLanes[_Lane]] = {False: ReadyLanes(), True: ReadyLanes()}
        """those whose next job may begin, by whether it waits for the outside"""
        self._running: set[Job] = set()
        self._stuck: set[Job] = set()
        self._begun: dict[Hashable, set[Job]] = {}
        """by subject: those that run or are stuck"""
        self._same: set[Hashable] = set()
        self._pending = 0
        self._waiting_of, self._running_of = Counter[Hashable](), Counter[Hashable]()
        """by owner"""
        self._outside = 0
        self._threads = 0
        self._idle = 0
        """threads that hold no job: they sleep, or will look for one before they do"""
        self._asleep = 0
        self._is_called = False
        """one of those that sleep was woken, and has not looked for a job yet"""
        self._made = 0
        self._pause = RETRY_MIN
        self._retry_at = 0.0
        """monotonic time before which no thread is asked for; 0: the last one asked for was given"""
        self._closed = False

    def submit(self, job: Job) -> None:
        """Have it run after everything that was submitted for its lane before."""
        with self._changed:
            if self._closed:
                return
            others = 0 if job.owner == job.lane else self._waiting_of[job.owner]
            if self._pending + max(1, others) > QUEUE_MAX:
                refused = f"{self._pending} others wait already"
            elif job.same is not None and job.same in self._same:
                refused = "an earlier run has not ended"
            else:
                refused = ""
                if job.same is not None:
                    self._same.add(job.same)
                lane = self._lanes.setdefault(job.lane, _Lane(job.lane))
                lane.pending.append(job)
                self._pending += 1
                count_more(self._waiting_of, job.owner, 1)
                self._make_ready(lane)
        if refused:
            self._send_report(job, How.REFUSED, refused)
        else:
            self._add_threads()

    def drop(self, lane_names: Iterable[Hashable] | None, which: Callable[[Job], bool]) -> list[Job]:
        """Take back those of these lanes (None: of all) that have not begun. It costs what is in these, whatever
        else there is."""
        dropped: list[Job] = []
        with self._changed:
            for lane in filter(None, map(self._lanes.get, list(self._lanes) if lane_names is None else lane_names)):
                found = [job for job in lane.pending if which(job)]
                if not found:
                    continue
                lane.pending = deque(job for job in lane.pending if not which(job))
                self._pending -= len(found)
                for job in found:
                    count_more(self._waiting_of, job.owner, -1)
                self._same.difference_update(job.same for job in found)
                self._make_ready(lane)
                dropped += found
        if dropped:
            self._add_threads()
        return dropped

    def begun(self) -> list[Job]:
        """Those that run or are stuck."""
        with self._changed:
            return [*self._running, *self._stuck]

    def begun_about(self, subject: Hashable) -> list[Job]:
        """Those of this subject; it costs what there is of it."""
        with self._changed:
            return list(self._begun.get(subject, ()))

    def counts(self) -> dict[str, int]:
        """How many run, are stuck and wait, and on how many threads."""
        with self._changed:
            return {
                "running": len(self._running),
                "stuck": len(self._stuck),
                "queued": self._pending,
                "threads": self._threads + len(self._stuck),
            }

    def patience(self, real: float) -> float | None:
        """Seconds until ``check`` may have something to do; None: not before a job begins. ``real``: monotonic."""
        if not self._running and not self._retry_at:
            return None
        with self._changed:
            due = min((job.started + job.limit_s for job in self._running), default=inf)
            due = min(due, self._retry_at or inf)
        return None if due == inf else max(0.01, due - real)

    def check(self, real: float) -> None:
        """Report those that have run for too long, replace their threads, ask again for one that was not given."""
        if not self._running and not self._retry_at:
            return
        with self._changed:
            overdue = [job for job in self._running if real - job.started >= job.limit_s]
            for job in overdue:
                job.stuck = True
                self._threads -= 1
                self._stuck.add(job)
                self._leave(job)
            if self._startable():
                self._wake_one()  # a place is free
        for job in overdue:
            end = job.end  # its thread may set it meanwhile
            if end is not None:
                text = end(job.limit_s)
            else:
                text = f"still running after its limit of {job.limit_s:g} s; its thread was replaced"
            if text:
                self._send_report(job, How.STUCK, text, job.limit_s)
        self._add_threads()

    def close(self, wait: float, *, finish: bool = False) -> int:
        """Take nothing more and wait for what runs, with ``finish`` also for what waits: at most ``wait`` seconds.
        How many then ran or were stuck. Called again, it waits again. What has not begun is reported."""
        deadline = monotonic() + wait
        with self._changed:
            self._closed = True
            abandoned = [] if finish else self._abandon()
            self._changed.notify_all()
            while (self._running or self._pending) and (left := deadline - monotonic()) > 0:
                self._changed.wait(left)
            abandoned += self._abandon()
            left_over = len(self._running) + len(self._stuck)
        for job in abandoned:
            self._send_report(job, How.DROPPED, STOPPED)
        return left_over

    # -- under the lock -----------------------------------------------------------------------------

    def _abandon(self) -> list[Job]:
        """Those that have not begun: they are not begun any more."""
        abandoned = [job for lane in self._lanes.values() for job in lane.pending]
        for lane in self._lanes.values():
            lane.pending.clear()
        for ready in self._ready.values():
            ready.clear()
        self._pending = 0
        return abandoned

    def _make_ready(self, lane: _Lane) -> None:
        """Put the lane where its next job belongs, or nowhere."""
        next_ = lane.pending[0] if lane.pending and lane.running is None else None
        for outside, ready in self._ready.items():
            if next_ is None or next_.outside != outside:
                ready.discard(lane.name)
            elif lane.name not in ready:
                ready.add(lane.name, lane, next_.owner)
                self._wake_one()
        if next_ is None and lane.running is None:
            self._lanes.pop(lane.name, None)

    def _startable(self) -> int:
        """How many lanes could go on at once if there were threads for all."""
        return len(self._ready[False]) + max(0, min(len(self._ready[True]), self._outside_max - self._outside))

    def _take(self) -> Job | None:
        """Begin the next job that may begin."""
        lane = self._next_lane(False, len(self._running), self._threads_max)
        if lane is None and self._outside < self._outside_max:
            lane = self._next_lane(True, self._outside, self._outside_max)
        if lane is None:
            return None
        job = lane.running = lane.pending.popleft()
        job.started = monotonic()
        self._pending -= 1
        count_more(self._waiting_of, job.owner, -1)
        count_more(self._running_of, job.owner, 1)
        self._outside += job.outside
        self._running.add(job)
        self._begun.setdefault(job.subject, set()).add(job)
        return job

    def _next_lane(self, outside: bool, used: int, most: int) -> _Lane | None:
        reserved = min(RESERVED, most // 4)
        is_free = used < most - reserved
        return self._ready[outside].take(lambda owner: is_free or self._running_of[owner] < reserved)

    def _leave(self, job: Job) -> None:
        """It no longer takes one of the threads: it has ended, or is stuck."""
        self._running.discard(job)
        self._outside -= job.outside
        count_more(self._running_of, job.owner, -1)
        if not (job.stuck and job.holds_lane):
            self._free(job)
        if self._closed:
            self._changed.notify_all()

    def _wake_one(self) -> None:
        """Have a sleeping thread look for a job: one at a time, which wakes the next one if there is more to do. Of
        many short jobs the first threads do most; were all woken at once, they would wait for the interpreter's
        lock, and the loop with them. (Go's scheduler wakes its threads so: src/runtime/proc.go.)"""
        if self._asleep and not self._is_called:
            self._is_called = True
            self._changed.notify()

    def _free(self, job: Job) -> None:
        lane = self._lanes[job.lane]
        lane.running = None
        self._make_ready(lane)

    # -- the threads --------------------------------------------------------------------------------

    def _add_threads(self) -> None:
        """Threads for what could begin, within the bound."""
        while True:
            with self._changed:
                if self._idle >= self._startable():
                    self._retry_at, self._pause = 0.0, RETRY_MIN
                    return
                if self._closed or self._threads >= self._threads_max or monotonic() < self._retry_at:
                    return
                self._threads += 1
                self._idle += 1  # it will be, in a moment
                self._made += 1
            if start_daemon(self._work, f"{self._name}-{self._made}") is None:
                with self._changed:
                    self._threads -= 1
                    self._idle -= 1
                    self._retry_at = monotonic() + self._pause
                    self._pause = min(2 * self._pause, RETRY_MAX)
                    room = max(1, self._threads_max - self._threads)
                    first = [lane.pending[0] for each in self._ready.values() for lane in islice(each, room)]
                    lacking = [job for job in first if not job.waits]
                    for job in lacking:
                        job.waits = True
                for job in lacking:
                    self._send_report(job, How.WAITS, f"{NO_THREAD}; it begins when there is one")
                return

    def _work(self) -> None:
        while (job := self._next()) is not None:
            with contextlib.suppress(BaseException):  # out of memory, say: what waits must still begin
                # Reported before the next one of the lane begins, so that reports come in order.
                how, value = self._perform(job)
                if not isinstance(value, WasEnded):
                    self._send_report(job, how, value, monotonic() - job.started)
            with self._changed:
                self._same.discard(job.same)
                self._begun[job.subject].discard(job)
                if not self._begun[job.subject]:
                    del self._begun[job.subject]
                if job.stuck:  # it came back after all; its place was taken
                    self._stuck.discard(job)
                    if job.holds_lane:
                        self._free(job)
                    break
                self._leave(job)
                self._idle += 1
        self._add_threads()

    def _next(self) -> Job | None:
        with self._changed:
            while True:
                job = self._take()
                if job is not None or self._closed:
                    self._threads -= job is None
                    self._idle -= 1
                    if self._startable():
                        self._wake_one()
                    return job
                self._asleep += 1
                try:
                    self._changed.wait()
                except MemoryError:  # it ends: another one is made when there is something to do
                    self._threads -= 1
                    self._idle -= 1
                    return None
                finally:
                    self._asleep -= 1
                    self._is_called = False

    def _perform(self, job: Job) -> tuple[How, Any]:
        if len(self._stuck) >= (STUCK_MAX if job.outside else 2 * STUCK_MAX):
            return How.REFUSED, f"{len(self._stuck)} others are stuck"
        process = os.getpid()
        begin(job)
        try:
            try:
                return How.DONE, job.work()
            finally:
                if os.getpid() != process:  # it forked, and this is the child: no second supervisor may live on
                    os._exit(0)
        except BaseException as fault:  # noqa: BLE001  # SystemExit and KeyboardInterrupt too
            return How.RAISED, fault

    def _send_report(self, job: Job, how: How, value: Any, seconds: float = 0.0) -> None:
        with contextlib.suppress(Exception):  # a fault of the listener must not end us
            self._report(job, how, value, seconds)
