"""Runs checks in their time: spread, so many at once and no more, each within its limit."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from math import inf
from typing import Protocol

from banken_supervisor.check_runner.stalls import Stalls
from banken_supervisor.checks.outcome import Outcome, outcome
from banken_supervisor.checks.subject import Subject

log = logging.getLogger("banken.checks")

SOON_S = 0.3
"""Seconds in which all checks have run once after a start, or after a change of the config."""

OVER_S = 0.5
"""Seconds beyond its limit after which a run is ended from outside: it did not keep to its limit itself."""

AGAIN_MAX = 2
"""How often a run is done again at once, because this process stood still during it."""

END_GAP = 0.1
"""Share of ``every`` between two runs that ends of processes bring: the first end is looked at at once; what ends
all the time brings ten runs in ``every`` at most, each of which may read all of /proc."""

DELAY_S = 0.05
"""Seconds between two looks at the checks that wait for a place. Each is told once in ``every``, while it waits."""

NAMED_MAX = 3
"""Running checks that the reason of a delay names."""

RETRY_S = 1.0
"""Seconds after which a check that could not be run is tried again, at the latest."""

_SPREAD = 0.6180339887498949
"""Multiples of the golden ratio spread any number of checks evenly (Knuth, TAOCP 6.4)."""


class Check(Protocol):
    """What a check of the config offers here."""

    @property
    def every(self) -> float:
        """Seconds from one run to the next."""

    @property
    def limit(self) -> float:
        """Seconds that a run may take."""

    async def run(self, subject: Subject) -> Outcome:
        """Look once."""


@dataclass(eq=False)
class Entry:
    """One check of one name."""

    name: str
    owner: str
    is_programs: bool
    """whether it is to be run only while there is a process"""
    check: Check
    subject: Subject
    key: object
    """what it was made of"""
    phase: float
    """loop time of one of its runs; the others are multiples of ``every`` away"""
    due: float
    task: asyncio.Task[None] | None = None
    is_asked: bool = False
    """it is run once more when it ends"""
    is_gone: bool = False
    is_over: bool = False
    """what it looks for was seen: it is not run until that is wanted again"""
    end_at: float | None = None
    """loop time at which it is to run because a process that it holds has ended"""
    no_end_before: float = 0.0
    """loop time before which such an end brings no further run"""
    told_at: float | None = None
    """loop time at which it was last said that it waits for a place"""
    turn: int = field(default=0)
    """of its place in the queue that counts"""


@dataclass(frozen=True)
class Wanted:
    """One check as it is to be run."""

    name: str
    owner: str
    is_programs: bool
    check: Check
    key: object


class Runner:
    """``tell`` is called with each result: name, outcome, seconds that it took, seconds until the next run.
    ``delayed`` is called with the name of a check that could not be run yet, and why, again and again."""

    def __init__(
        self,
        tell: Callable[[str, Outcome, float, float], None],
        at_once: int = 100,
        delayed: Callable[[str, str], None] = lambda name, why: None,
    ) -> None:
        self.at_once = at_once
        self.stalls = Stalls()
        self._tell = tell
        self._delayed = delayed
        self._loop = asyncio.get_running_loop()
        self._entries: dict[str, Entry] = {}
        self._queue: list[tuple[float, int, Entry]] = []
        self._waiting: deque[Entry] = deque()
        """due, while others have all the places"""
        self._running: dict[Entry, None] = {}
        self._look_at = 0.0
        """loop time of the next look at those that wait"""
        self._turns = count(1)
        self._wake = asyncio.Event()

    def set(self, wanted: list[Wanted]) -> None:
        """These checks from now on; those that are as they were go on as they were."""
        now, kept = self._loop.time(), set[str]()
        for place, each in enumerate(wanted):
            kept.add(each.name)
            before = self._entries.get(each.name)
            if before is not None and (before.key, before.owner) == (each.key, each.owner):
                continue
            if before is not None:
                self._drop(before)
            part = place * _SPREAD % 1.0
            every = each.check.every
            entry = Entry(
                each.name, each.owner, each.is_programs, each.check, Subject(each.owner), each.key,
                now + part * every, now + part * min(every, SOON_S),
            )  # fmt: skip
            entry.subject.run_now = partial(self._run_after_end, entry)
            self._entries[each.name] = entry
            self._plan(entry)
        for name in self._entries.keys() - kept:
            self._drop(self._entries.pop(name))

    def set_processes(self, processes: Mapping[str, tuple[int, int]]) -> None:
        """The processes of some owners: pid and start, 0 where there is none."""
        for entry in self._entries.values():
            if (found := processes.get(entry.owner)) is None:
                continue
            pid, start = found
            if (entry.subject.pid, entry.subject.start) == (pid, start):
                continue
            entry.subject.pid, entry.subject.start = pid, start
            if entry.is_programs and pid and entry.task is None:
                # A new process is looked at soon, not when the former one would have been.
                entry.due = self._loop.time() + min(entry.check.every, SOON_S) * (entry.phase % 1.0)
                self._plan(entry)

    def set_over(self, names: Collection[str]) -> None:
        """These are not run for now: the programs that they make ready are ready."""
        for name, entry in self._entries.items():
            entry.is_over = name in names

    def run_now(self, name: str) -> None:
        """Somebody wants this one's result."""
        if (entry := self._entries.get(name)) is not None:
            self._run_now(entry)

    async def serve(self) -> None:
        """Run them for ever."""
        watch = asyncio.create_task(self.stalls.watch())
        try:
            while True:
                self._wake.clear()
                self._begin_due()
                times = [self._queue[0][0]] if self._queue else []
                if self._waiting:
                    times.append(self._look_at)
                wait = max(0.0, min(times) - self._loop.time()) if times else None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
        finally:
            watch.cancel()
            for entry in self._entries.values():
                self._drop(entry)

    def _plan(self, entry: Entry) -> None:
        entry.turn = next(self._turns)
        heapq.heappush(self._queue, (entry.due, entry.turn, entry))
        self._wake.set()

    def _run_now(self, entry: Entry) -> None:
        if entry.task is not None:
            entry.is_asked = True
        elif not entry.is_gone:
            entry.due = self._loop.time()
            self._plan(entry)

    def _run_after_end(self, entry: Entry) -> None:
        """A process that it holds has ended: it runs at once, or a little after the last run for such a reason."""
        at = max(self._loop.time(), entry.no_end_before)
        if entry.task is not None:
            entry.end_at = at
        elif not entry.is_gone and at < entry.due:
            entry.end_at = entry.due = at
            self._plan(entry)

    def _drop(self, entry: Entry) -> None:
        entry.is_gone = True
        if (task := entry.task) is not None:
            task.cancel()
            task.add_done_callback(lambda ended: self._end(entry))  # one that has not begun runs no `finally`
        else:
            entry.subject.close()

    def _end(self, entry: Entry) -> None:
        """Its run is over, and its place free. May be called again."""
        entry.task = None
        self._running.pop(entry, None)
        if entry.is_gone:
            entry.subject.close()
        self._wake.set()

    def _begin_due(self) -> None:
        now = self._loop.time()
        due: list[Entry] = []
        while self._queue and self._queue[0][0] <= now:
            _, turn, entry = heapq.heappop(self._queue)
            if not entry.is_gone and entry.turn == turn:
                due.append(entry)
        self._waiting += due
        while self._waiting and len(self._running) < self.at_once:
            entry = self._waiting.popleft()
            if entry.is_gone or entry.task is not None:
                continue
            if entry.is_over or (entry.is_programs and not entry.subject.pid):
                entry.end_at = None  # it would be due again at once, for ever
                self._plan_next(entry)
                continue
            if entry.told_at is not None:
                # It has a whole timeout from now on.
                self._delayed(entry.name, f"is run late: {self._places} were taken ([supervisor] checks_at_once)")
                entry.told_at = None
            if entry.end_at is not None:
                entry.end_at, entry.no_end_before = None, now + entry.check.every * END_GAP
            self._running[entry] = None
            entry.task = asyncio.create_task(self._run(entry))
        if now >= self._look_at:
            self._look_at, due = now + DELAY_S, list(self._waiting)
        self._tell_delayed(due, now)

    @property
    def _places(self) -> str:
        return f"all places ({self.at_once})"

    def _tell_delayed(self, due: list[Entry], now: float) -> None:
        """Say of each that waits for a place that it was not run: nobody may be judged by that."""
        if not self._waiting:
            return
        others = f" and {len(self._running) - NAMED_MAX} more" if len(self._running) > NAMED_MAX else ""
        names = ", ".join(each.name for each in islice(self._running, NAMED_MAX))
        why = f"is not run yet: {self._places} are taken ([supervisor] checks_at_once) by {names}{others}"
        for entry in due:
            is_run = entry.task is not None or entry.is_gone or entry.is_over
            if is_run or (entry.is_programs and not entry.subject.pid):
                continue
            if entry.told_at is None or now - entry.told_at >= entry.check.every:
                entry.told_at = now
                self._delayed(entry.name, why)

    def _plan_next(self, entry: Entry, within: float = inf) -> None:
        """Its next run is at its phase, at least half of ``every`` after the last one was due; or within so many
        seconds."""
        now, every = self._loop.time(), entry.check.every
        after = max(now, entry.due + every / 2)
        entry.due = entry.phase + every * max(0.0, -(-(after - entry.phase) // every))
        if entry.end_at is not None:
            entry.due = min(entry.due, max(now, entry.end_at))
        if entry.is_asked:
            entry.is_asked, entry.due = False, now
        entry.due = min(entry.due, now + within)
        self._plan(entry)

    async def _run(self, entry: Entry) -> None:
        try:
            for again in range(AGAIN_MAX + 1):
                began = self._loop.time()
                found = await _bounded(entry)
                took = self._loop.time() - began
                if found.passed or again == AGAIN_MAX or not self.stalls.since(began):
                    break
                self._delayed(entry.name, "is run again: the process that runs the checks stood still")
        finally:
            self._end(entry)
        if found.passed is None:
            self._plan_next(entry, RETRY_S)
            self._delayed(entry.name, found.text)
            return
        self._plan_next(entry)
        self._tell(entry.name, found, took, max(0.0, entry.due - self._loop.time()))


async def _bounded(entry: Entry) -> Outcome:
    """One run; whatever goes wrong in the check itself is a failure that says so."""
    check = entry.check
    try:
        async with asyncio.timeout(check.limit + OVER_S):
            return await check.run(entry.subject)
    except TimeoutError:
        return outcome(False, f"no result within {check.limit:g} s: the run was ended")
    except Exception as fault:  # one check's fault is not the others'
        log.exception("the check %s has a fault of its own", entry.name)
        return outcome(False, f"a fault of the check itself: {type(fault).__name__}: {fault}")
