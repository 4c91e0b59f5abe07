"""The threads of this process, and the asyncio tasks that no thread's stack shows.

Called by the thread of dumps.py. The result is plain data of bounded size. None of the program's own code runs: no
``repr``, no property of a user's class.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from collections.abc import Iterable
from itertools import islice
from traceback import walk_stack
from types import FrameType
from typing import Any

from banken.protocol.limits import shorten

THREADS_MAX = 512
"""Threads reported, the main thread first."""

TASKS_MAX = 256
"""asyncio tasks reported."""

FRAMES_MAX = 32
"""Frames reported of one stack, the innermost ones."""

AWAITS_MAX = 8
"""Tasks reported that one task waits for."""

TEXT_MAX = 256
"""Characters of a name, and of a file's path (its end)."""

_AWAITS = {"cr_frame": "cr_await", "gi_frame": "gi_yieldfrom", "ag_frame": "ag_await"}
"""By the attribute that holds a coroutine's or a generator's frame: the one that holds what it waits for."""

_WRAPPERS = ("async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper")
"""Awaitables without an attribute for what they wait for; the garbage collector knows it."""


def introspect() -> dict[str, Any]:
    """``{threads, threads_left_out, tasks, tasks_left_out}``, of this process, now."""
    threads = _threads()
    tasks = _all_tasks()
    numbers = {id(task): number for number, task in enumerate(tasks)}
    return {
        "threads": threads[:THREADS_MAX],
        "threads_left_out": max(0, len(threads) - THREADS_MAX),
        "tasks": [_task(task, numbers) for task in tasks[:TASKS_MAX]],
        "tasks_left_out": max(0, len(tasks) - TASKS_MAX),
    }


def _threads() -> list[dict[str, Any]]:
    # Without the lock that threading.enumerate() takes: it may be what hangs.
    known: dict[int, threading.Thread] = dict(getattr(threading, "_active", {}))
    found = []
    for ident, innermost in sys._current_frames().items():
        frames = [_frame(each) for each, _ in islice(walk_stack(innermost), FRAMES_MAX)]
        row: dict[str, Any] = {"thread": ident, "tid": None, "name": None, "frames": frames}
        if (thread := known.get(ident)) is not None:
            row.update(tid=thread.native_id, name=shorten(thread.name, TEXT_MAX))
        found.append(row)
    main = threading.main_thread().ident
    return sorted(found, key=lambda row: row["thread"] != main)


def _frame(frame: FrameType) -> dict[str, Any]:
    code = frame.f_code
    return {
        "function": shorten(getattr(code, "co_qualname", code.co_name), TEXT_MAX),
        "file": code.co_filename[-TEXT_MAX:],
        "line": frame.f_lineno or 0,
    }


def _all_tasks() -> list[Any]:
    """The tasks of every loop that can be found, ordered by age where their names show it."""
    tasks_module = sys.modules.get("asyncio.tasks")
    if tasks_module is None:
        return []
    # Up to 3.13 there are sets of all tasks; from 3.14 on each thread keeps its own, and a loop has to be known.
    sets = [getattr(tasks_module, name, ()) for name in ("_all_tasks", "_scheduled_tasks", "_eager_tasks")]
    for loop in _loops():
        with contextlib.suppress(RuntimeError):  # it changes too often to be copied
            sets.append(tasks_module.all_tasks(loop))
    found = {id(task): task for each in sets for task in _copy(each)}
    return sorted((task for task in found.values() if not task.done()), key=_age)


def _copy(some: Iterable[Any]) -> list[Any]:
    """A copy of a set that another thread may change meanwhile, as asyncio.all_tasks makes it."""
    for _ in range(100):
        with contextlib.suppress(RuntimeError):
            return list(some)
    return []


def _loops() -> list[Any]:
    """The event loops that threads are running, from the frames of asyncio itself."""
    found: dict[int, Any] = {}
    for innermost in sys._current_frames().values():
        for frame, _ in walk_stack(innermost):
            if frame.f_globals.get("__name__") in ("asyncio.base_events", "asyncio.runners"):
                mine = frame.f_locals.get("self")
                loop = getattr(mine, "_loop", mine)
                if hasattr(loop, "call_soon_threadsafe"):
                    found[id(loop)] = loop
    return list(found.values())


def _age(task: Any) -> tuple[int, str]:
    """Sorts ``Task-2`` before ``Task-10`` and both before names that a program gave."""
    name = str(task.get_name())
    number = name.removeprefix("Task-")
    return (int(number), name) if number.isdecimal() and len(number) < 12 else (10**12, name)


def _task(task: Any, numbers: dict[int, int]) -> dict[str, Any]:
    """One task: ``awaits_tasks`` are positions in the list of tasks, ``awaits`` the type of what it waits for."""
    frames, running = _chain(task.get_coro())
    waiter = getattr(task, "_fut_waiter", None)
    awaited: list[Any] = [waiter]
    if type(waiter).__name__ == "_GatheringFuture":  # of asyncio.gather
        awaited += getattr(waiter, "_children", ())
    for frame in frames:
        awaited += _awaited_by(frame)
    positions = {numbers[id(each)] for each in awaited if id(each) in numbers and each is not task}
    return {
        "name": shorten(str(task.get_name()), TEXT_MAX),
        "running": running,
        "cancelling": int(getattr(task, "cancelling", int)()),
        "awaits": None if waiter is None else shorten(type(waiter).__name__, TEXT_MAX),
        "awaits_tasks": sorted(positions)[:AWAITS_MAX],
        "frames": [_frame(each) for each in reversed(frames[-FRAMES_MAX:])],
    }


def _chain(awaitable: Any) -> tuple[list[FrameType], bool]:
    """(the frames of a coroutine and of what it awaits, outermost first; whether it runs right now)."""
    frames: list[FrameType] = []
    # An async generator's ag_running is also true while it is suspended in an await: the coroutine's own counts.
    running = bool(getattr(awaitable, "cr_running", False))
    for _ in range(1000):
        if awaitable is None:
            break
        inner = None
        for attribute, onward in _AWAITS.items():
            frame = getattr(awaitable, attribute, None)
            if isinstance(frame, FrameType):
                frames.append(frame)
                inner = getattr(awaitable, onward, None)
                break
        else:
            if type(awaitable).__name__ in _WRAPPERS:
                referents = gc.get_referents(awaitable)
                inner = next((each for each in referents if any(hasattr(each, name) for name in _AWAITS)), None)
        awaitable = inner
    return frames, running


def _awaited_by(frame: FrameType) -> list[Any]:
    """The tasks that asyncio's own wait(), wait_for() and TaskGroup wait for behind a nameless future."""
    module = frame.f_globals.get("__name__")
    if module == "asyncio.taskgroups":
        return _copy(getattr(frame.f_locals.get("self"), "_tasks", ()))
    if module == "asyncio.tasks":
        return [*_copy(frame.f_locals.get("fs") or ()), frame.f_locals.get("fut")]
    return []
