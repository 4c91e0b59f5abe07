"""Text from a worker: thread names, file names and command lines may hold anything."""

from __future__ import annotations

from typing import Any

from banken_supervisor.text import sanitize

NAME_MAX = 256
"""Characters of a function's, a thread's or a file's name."""

BLANK: dict[str, Any] = {
    "version": 1,
    "pid": 0,
    "start": 0,  # ticks since boot
    "taken": 0.0,  # wall clock, seconds since 1970
    "seconds": 0.0,  # how long collecting took
    "identity": "unknown",  # verified, gone, reused, remote, unknown
    "headline": "",  # safe to print
    "looked": 0.0,  # wall clock when its stacks were asked for
    "moved": None,  # before, meanwhile: it was fed again before that, or while they were taken
    "process": None,  # process_facts.facts, cpu_now, fds, fds_max, children, cmdline, cgroup
    "main_wait": None,  # process_facts.wait of the main thread
    "stacks_by": None,  # py-spy, faulthandler, the worker
    "threads": [],  # ``thread`` below, with wait; the main thread first
    "threads_left_out": 0,
    "tasks": [],  # size_limits.answered_tasks, the oldest first
    "tasks_left_out": 0,
    "scope": None,  # the work that is late: name, age and limit in seconds, tid, thread, task
    "problems": [],  # sentences
}
"""Evidence before anything is found."""

FRAMES_MAX = 64
"""Frames kept of one thread, the innermost."""


def clean(what: object, longest: int) -> str:
    """``what`` as a text that can be encoded, cut to ``longest`` characters."""
    return sanitize.text(str(what), longest)


def frame(function: object, file: object, line: int) -> dict[str, Any]:
    """One frame of a stack."""
    return {
        "function": clean(function, NAME_MAX),
        "file": sanitize.text(str(file), NAME_MAX, keep_end=True),
        "line": line,
    }


def thread(ident: int, tid: int | None, name: object, **known: Any) -> dict[str, Any]:
    """One thread, from any source; None: this source does not know it."""
    return {
        "thread": ident,
        "tid": tid,
        "name": clean(name, NAME_MAX) if name and isinstance(name, str) else None,
        "main": False,
        "active": None,
        "gil": None,  # whether it holds the interpreter lock
        "frames": [],  # the innermost first
        "frames_left_out": 0,
        **known,
    }


def stack(thread: dict[str, Any]) -> tuple[tuple[Any, ...], ...]:
    """What two threads with the same stack have in common."""
    return tuple((frame["function"], frame["file"], frame["line"]) for frame in thread["frames"])
