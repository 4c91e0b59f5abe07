"""The world of a whole simulation: one clock, processes, and their threads as greenlets. Nothing in it is real.

A thread runs until it waits for something; then the next event of a heap happens. So one seed gives one order of
all steps. ``World.installed`` puts the clocks, locks, threads and random numbers of this world in the place of the
real ones, in every module of the product that has them by name. (As arguments they would cost each ``feed()`` its
speed.) The product's own code is not touched.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import queue
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from math import inf
from types import SimpleNamespace
from typing import Any
from unittest import mock

from greenlet import GreenletExit, getcurrent, greenlet

from banken import process_identity
from banken.protocol.messages import ProcessIdentity

from . import whole_threads as threads

BEGIN = 1_000.0
"""What the monotonic clock shows at the begin."""
DATE = 1_800_000_000.0
"""Seconds since 1970 at the begin."""
BOOT = b"one-boot"
STEP = 0.00002
"""Seconds from the start of a thread, or a wake-up, to its first step."""
TAIL = 300
"""Lines of the trace that are kept."""


class Armed:
    """Something that happens when a process passes a point, after it has passed it ``count`` times."""

    def __init__(self, point: str, count: int, do: Callable[[], None]) -> None:
        self.point, self.count, self.do = point, count, do


class Process:
    """One process. ``pid`` is never used again."""

    def __init__(self, world: World, name: str) -> None:
        world.pids += 1
        self.world, self.name, self.pid = world, name, world.pids
        self.identity = ProcessIdentity(BOOT, self.pid, 7_000 + self.pid, world.random.randbytes(4))
        self.alive = True
        self.status: int | None = None
        """how it ended: exit status, or minus the signal"""
        self.stopped, self.resumed = False, 0.0
        """whether it is stopped, and when it last went on"""
        self.armed: list[Armed] = []
        self.ended: list[Callable[[], None]] = []
        """called when it has ended"""
        self.gives_threads = True
        self._deferred: list[Callable[[], None]] = []
        self._stops = 0
        world.processes[self.pid] = self

    def do(self, what: Callable[[], None]) -> None:
        """Now, or when it goes on; never if it has ended."""
        if not self.alive:
            return
        if self.stopped:
            self._deferred.append(what)
        else:
            what()

    def stop(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT so many seconds later. In its own step it stands still at that place."""
        self._stops += 1
        number, self.stopped = self._stops, True
        self.world.after(seconds, lambda: self._go_on(number))
        task = self.world.task
        if task is not None and task.process is self:
            self._deferred.append(task.waker(None))
            task.switch()

    def _go_on(self, number: int) -> None:
        if number != self._stops or not self.alive:
            return
        self.stopped, self.resumed = False, self.world.now
        waiting, self._deferred = self._deferred, []
        for what in waiting:
            self.do(what)

    def end(self, status: int) -> None:
        """It ends at once, wherever its threads are."""
        if not self.alive:
            return
        self.alive, self.status = False, status
        self._deferred.clear()
        for each in self.ended:
            each()
        task = self.world.task
        if task is not None and task.process is self:
            task.switch()


class Task:
    """One thread of a process."""

    def __init__(self, process: Process, work: Callable[[], Any], name: str) -> None:
        self.process, self.name, self.done = process, name, False
        self.waiters: list[Callable[[], None]] = []
        self._ticket = 0
        self._value: Any = None
        self._work = work
        self.greenlet = greenlet(self._run, process.world.hub)
        process.world.tasks.append(self)
        process.world.after(STEP, self.waker(None))

    def _run(self, _: Any = None) -> None:
        world = self.process.world
        try:
            self._work()
        except GreenletExit:
            raise
        except BaseException as fault:
            world.broken.append(f"{self.process.name}/{self.name}: {type(fault).__name__}: {fault}")
            if not world.over:
                world.show_fault(fault)
        finally:
            self.done = True
            if self.process.alive and not world.over:
                for each in self.waiters:
                    world.after(0.0, each)

    def waker(self, value: Any) -> Callable[[], None]:
        """What ends the wait that begins now, or goes on; once."""
        self._ticket += 1
        return self.also(value)

    def also(self, value: Any) -> Callable[[], None]:
        """Another one for the same wait."""
        ticket = self._ticket

        def wake() -> None:
            if ticket == self._ticket and not self.done and self.process.alive:
                if self.process.stopped:
                    self.process._deferred.append(wake)
                    return
                self._ticket += 1
                self._value = value
                world = self.process.world
                before, world.task = world.task, self
                self.greenlet.switch()
                world.task = before

        return wake

    def switch(self) -> Any:
        """Wait until the waker is called; what it was made with."""
        self.process.world.hub.switch()
        if not self.process.alive or self.process.world.over:
            raise GreenletExit
        return self._value


class World:
    """``seed`` decides all that is random. ``show_fault`` gets what a thread raised and nobody caught."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = BEGIN
        self.offset = DATE - BEGIN
        """wall clock less monotonic clock"""
        self.hub = getcurrent()
        self.task: Task | None = None
        self.tasks: list[Task] = []
        self.processes: dict[int, Process] = {}
        self.pids = 100
        self.broken: list[str] = []
        self.over = False
        self.readable: dict[int, Callable[[], bool]] = {}
        """by simulated descriptor: whether there is something to be read"""
        self.tail: deque[str] = deque(maxlen=TAIL)
        self.show_fault: Callable[[BaseException], None] = lambda fault: None
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._tie = 0
        self._hash = hashlib.sha256()

    # -- time -----------------------------------------------------------------------------------------

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        self._tie += 1
        heapq.heappush(self._heap, (self.now + max(0.0, seconds), self._tie, do))

    def start(self, process: Process, work: Callable[[], Any], name: str = "main") -> Task:
        """A thread of this process."""
        return Task(process, work, name)

    def run(self, until: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= until:
            when, _, do = heapq.heappop(heap)
            self.now = max(self.now, when)
            do()
        self.now = until

    def wall(self) -> float:
        return self.now + self.offset

    def monotonic(self) -> float:
        self.passes("clock")
        return self.now

    def sleep(self, seconds: float) -> None:
        task = self.task
        if task is None or seconds <= 0.0:
            return
        wake = task.waker(None)
        self.after(seconds, wake)
        task.switch()

    def wait(self, until: float = inf) -> Callable[[Any], Callable[[], None]]:
        """Makes wakers for the wait of this thread that follows, which ends with None at ``until``."""
        task = self.task
        assert task is not None, "only a thread can wait"
        wake = task.waker(None)
        if until < inf:
            self.after(until - self.now, wake)
        return task.also

    def block(self) -> Any:
        assert self.task is not None
        return self.task.switch()

    def passes(self, point: str) -> None:
        """The running process passes a point where something may happen to it."""
        task = self.task
        if task is None or not task.process.armed:
            return
        armed = task.process.armed
        for each in list(armed):
            if each.point in (point, "any"):
                each.count -= 1
                if each.count < 0:
                    armed.remove(each)
                    each.do()

    # -- the trace ------------------------------------------------------------------------------------

    def say(self, *words: object) -> None:
        """One line of the trace."""
        line = f"{self.now - BEGIN:.6f} {' '.join(map(str, words))}"
        self.tail.append(line)
        self._hash.update(line.encode() + b"\n")

    def fingerprint(self) -> str:
        return self._hash.hexdigest()

    def close(self) -> None:
        """End every thread."""
        self.over = True
        for task in self.tasks:
            if not task.done and task.greenlet:
                self.task = task
                try:
                    task.greenlet.throw()
                except BaseException as fault:
                    if not isinstance(fault, Exception):
                        raise
        self.task = None
        self.tasks.clear()

    # -- in the place of the real world ---------------------------------------------------------------

    @contextmanager
    def installed(self, *more: tuple[Any, Any]) -> Iterator[None]:
        """Inside, the product has this world. ``more``: pairs of what else is replaced, and by what."""
        kinds = SimpleNamespace(**{**vars(threading), **threads.of(self)})
        kinds.current_thread, kinds.main_thread = lambda: self.task, lambda: None
        kinds.get_ident = lambda: id(self.task)
        clock = SimpleNamespace(**{**vars(time), "monotonic": self.monotonic, "sleep": self.sleep})
        clock.time = clock.clock_gettime = lambda *_: self.wall()
        pairs: list[tuple[Any, Any]] = [
            (time, clock), (time.monotonic, self.monotonic), (time.sleep, self.sleep), (time.time, self.wall),
            (threading, kinds), (queue.Queue, lambda size=0: threads.Queue(self, size)),
            (random.random, self.random.random),
            (process_identity.boot_id, lambda: BOOT), (process_identity.own_identity, self.identity), *more,
        ]  # fmt: skip
        with ExitStack() as stack:
            for name, module in sorted(sys.modules.items()):
                if name.partition(".")[0] in ("banken", "banken_supervisor"):
                    for key, value in list(vars(module).items()):
                        for real, instead in pairs:
                            if value is real:
                                stack.enter_context(mock.patch.object(module, key, instead))
            stack.enter_context(mock.patch.object(os, "getpid", self.getpid))
            stack.enter_context(mock.patch.object(os, "urandom", self.random.randbytes))
            try:
                yield
            finally:
                self.close()

    def getpid(self) -> int:
        return 1 if self.task is None else self.task.process.pid

    def identity(self) -> ProcessIdentity:
        assert self.task is not None
        return self.task.process.identity
