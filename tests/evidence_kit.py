"""What the tests of evidence share: frames, threads, tasks and whole evidence, made up."""

from __future__ import annotations

from typing import Any

from banken_supervisor.evidence.headline import headline


def frame(function: str, file: str = "/srv/app/job.py", line: int = 42) -> dict[str, Any]:
    """One frame."""
    return {"function": function, "file": file, "line": line}


def thread(*frames: dict[str, Any], **other: Any) -> dict[str, Any]:
    """One thread; the main thread unless said otherwise."""
    blank = {"thread": 1, "tid": 10, "name": "MainThread", "main": True, "active": False, "gil": False}
    return {**blank, "frames": list(frames), "frames_left_out": 0, **other}


def task(name: str, *frames: dict[str, Any], **other: Any) -> dict[str, Any]:
    """One asyncio task."""
    blank = {"name": name, "running": False, "cancelling": 0, "awaits": None, "awaits_tasks": []}
    return {**blank, "frames": list(frames), "frames_left_out": 0, **other}


def evidence(*threads: dict[str, Any], **other: Any) -> dict[str, Any]:
    """Evidence of a sleeping process."""
    process = {
        "state": "S",
        "state_words": "sleeping",
        "ended": False,
        "parent": 1,
        "threads": len(threads),
        "cpu_user_s": 1.5,
        "cpu_system_s": 0.25,
        "cpu_now": 0.0,
        "rss_bytes": 24_000_000,
        "vms_bytes": 1,
        "fds": 7,
        "fds_max": 1024,
        "children": [],
        "cmdline": ["python", "job.py"],
        "exit_status": None,
        **other.pop("process", {}),
    }
    blank = {
        "version": 1,
        "pid": 10,
        "start": 5,
        "taken": 1.0,
        "seconds": 0.1,
        "identity": "verified",
        "headline": "",
        "main_wait": None,
        "stacks_by": "py-spy",
        "threads_left_out": 0,
        "tasks_left_out": 0,
    }
    made = {**blank, "process": process, "threads": list(threads), "tasks": [], "problems": [], **other}
    made["headline"] = made["headline"] or headline(made)
    return made


FUTEX = {"state": "S", "wchan": "futex_wait_queue", "syscall": "futex", "fd": None, "target": None}
