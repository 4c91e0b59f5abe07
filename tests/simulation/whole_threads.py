"""Locks, threads and queues of a simulated world, as the product uses those of the standard library."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .whole_world import Task, World


def of(world: World) -> dict[str, Callable[..., Any]]:
    """What stands in the place of the names in ``threading``."""

    def condition(lock: Lock | None = None) -> Condition:
        return Condition(world, lock or RLock(world))

    def thread(target: Callable[..., Any], args: tuple[Any, ...] = (), name: str = "", **_: Any) -> Thread:
        return Thread(world, target, args, name)

    return {
        "Lock": lambda: Lock(world), "RLock": lambda: RLock(world), "Event": lambda: Event(world),
        "Condition": condition, "Thread": thread,
    }  # fmt: skip


class Lock:
    def __init__(self, world: World) -> None:
        self._world = world
        self._holder: object = None
        self._count = 0
        self._waiting: deque[Callable[[], None]] = deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        world = self._world
        world.passes("lock")
        until = world.now + timeout if timeout >= 0 else inf
        while self._holder is not None and not self._again():
            if not blocking or world.now >= until or world.task is None:
                return False
            self._waiting.append(world.wait(until)(True))
            world.block()
        self._holder = world.task or world
        self._count += 1
        return True

    def _again(self) -> bool:
        return False

    def release(self) -> None:
        if self._holder is None:
            raise RuntimeError("release unlocked lock")
        self._count -= 1
        if not self._count:
            self._holder = None
            while self._waiting:  # some may have given up
                self._world.after(0.0, self._waiting.popleft())

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        if not self._world.over:
            self.release()


class RLock(Lock):
    def _again(self) -> bool:
        return self._holder is (self._world.task or self._world)


class Condition:
    def __init__(self, world: World, lock: Lock) -> None:
        self._world, self._lock = world, lock
        self._waiting: deque[Callable[[], None]] = deque()

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *fault: object) -> None:
        self._lock.__exit__(*fault)

    def wait(self, timeout: float | None = None) -> bool:
        world = self._world
        self._waiting.append(world.wait(inf if timeout is None else world.now + timeout)(True))
        self._lock.release()
        found = world.block()
        self._lock.acquire()
        return bool(found)

    def wait_for(self, is_so: Callable[[], Any], timeout: float | None = None) -> Any:
        until = inf if timeout is None else self._world.now + timeout
        while not (found := is_so()) and self._world.now < until:
            self.wait(None if timeout is None else until - self._world.now)
        return found

    def notify(self, number: int = 1) -> None:
        # A waker of one that has given up does nothing: so all are woken, and each looks again.
        self.notify_all()

    def notify_all(self) -> None:
        while self._waiting:
            self._world.after(0.0, self._waiting.popleft())


class Event:
    def __init__(self, world: World) -> None:
        self._world, self._set = world, False
        self._waiting: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        for each in self._waiting:
            self._world.after(0.0, each)
        self._waiting.clear()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            self._waiting.append(self._world.wait(inf if timeout is None else self._world.now + timeout)(True))
            self._world.block()
        return self._set


class Thread:
    def __init__(self, world: World, target: Callable[..., Any], args: tuple[Any, ...], name: str) -> None:
        self.name, self._world, self._work = name, world, lambda: target(*args)
        self._task: Task | None = None

    def start(self) -> None:
        world = self._world
        task = world.task
        assert task is not None
        if not task.process.gives_threads:
            raise RuntimeError("can't start new thread")
        self._task = world.start(task.process, self._work, self.name)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.done and self._task.process.alive

    def join(self, timeout: float | None = None) -> None:
        task = self._task
        if task is not None and not task.done:
            task.waiters.append(self._world.wait(inf if timeout is None else self._world.now + timeout)(True))
            self._world.block()


class Queue:
    """As queue.Queue, of what the product uses."""

    def __init__(self, world: World, size: int) -> None:
        self._world, self._size = world, size
        self._items: deque[Any] = deque()
        self._filled = Event(world)

    def put_nowait(self, item: Any) -> None:
        if self._size and len(self._items) >= self._size:
            raise queue.Full
        self._items.append(item)
        self._filled.set()

    def get(self) -> Any:
        while not self._items:
            self._filled.clear()
            self._filled.wait()
        return self._items.popleft()
