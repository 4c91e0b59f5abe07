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
from itertools import count
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
    """``tell`` is called with each result: name, outcome, seconds that it took, seconds until the next run."""

    def __init__(self, tell: Callable[[str, Outcome, float, float], None], at_once: int = 100) -> None:
        self.at_once = at_once
        self.stalls = Stalls()
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._entries: dict[str, Entry] = {}
        self._queue: list[tuple[float, int, Entry]] = []
        self._waiting: deque[Entry] = deque()
        """due, while others have all the places"""
        self._running = 0
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
            entry.subject.run_now = partial(self._run_now, entry)
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
                wait = None if not self._queue else max(0.0, self._queue[0][0] - self._loop.time())
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

    def _drop(self, entry: Entry) -> None:
        entry.is_gone = True
        if entry.task is not None:
            entry.task.cancel()
        else:
            entry.subject.close()

    def _begin_due(self) -> None:
        now = self._loop.time()
        while self._queue and self._queue[0][0] <= now:
            _, turn, entry = heapq.heappop(self._queue)
            if not entry.is_gone and entry.turn == turn:
                self._waiting.append(entry)
        while self._waiting and self._running < self.at_once:
            entry = self._waiting.popleft()
            if entry.is_gone or entry.task is not None:
                continue
            if entry.is_over or (entry.is_programs and not entry.subject.pid):
                self._plan_next(entry)
                continue
            self._running += 1
            entry.task = asyncio.create_task(self._run(entry))

    def _plan_next(self, entry: Entry) -> None:
        """Its next run is at its phase, at least half of ``every`` after the last one was due."""
        now, every = self._loop.time(), entry.check.every
        after = max(now, entry.due + every / 2)
        entry.due = entry.phase + every * max(0.0, -(-(after - entry.phase) // every))
        if entry.is_asked:
            entry.is_asked, entry.due = False, now
        self._plan(entry)

    async def _run(self, entry: Entry) -> None:
        try:
            for again in range(AGAIN_MAX + 1):
                began = self._loop.time()
                found = await _bounded(entry)
                took = self._loop.time() - began
                if found.passed or again == AGAIN_MAX or not self.stalls.since(began):
                    break
        finally:
            entry.task = None
            self._running -= 1
            if entry.is_gone:
                entry.subject.close()
            self._wake.set()
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
