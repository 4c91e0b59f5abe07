"""Where it hangs, in one line, which people read first. Pure.

    MainThread in `fetch` (job.py:42), in queue.get, waiting in futex_wait (a lock or a condition)

The frame that is named is the innermost one that is not plumbing of the standard library; the outermost plumbing
that it called says what it asked for, and the kernel what it waits in. An event loop's thread only ever shows the
selector: there the task is named, found by following what the loop's first task waits for.
"""

from __future__ import annotations

import re
from itertools import islice, takewhile
from typing import Any

from banken_supervisor.text import sanitize
from banken_supervisor.text.durations import format_s

HEADLINE_MAX = 400
"""Characters."""

BUSY = 0.5
"""Share of one CPU from which on a process counts as running."""

STEPS_MAX = 32
"""Tasks followed from the first one."""

_library = re.compile(r".*[/\\]lib(?:64)?[/\\]python3(?:\.\d+)?t?[/\\]|.*[/\\]python\d+\.zip[/\\]")
_installed = re.compile(r".*[/\\](?:site|dist)-packages[/\\]")

WORDS = {
    start: words
    for words, starts in {
        "a lock or a condition": "futex",
        "input or output, or a timer": (
            "ep_poll do_epoll_wait epoll_ poll ppoll do_sys_poll do_poll do_select select pselect"
        ),
        "time to pass": "hrtimer_nanosleep do_nanosleep nanosleep clock_nanosleep",
        "what it waited for before an interruption": "restart_syscall",
        "a writer at the other end of a pipe": "pipe_read anon_pipe_read",
        "a reader at the other end of a pipe": "pipe_write anon_pipe_write",
        "a child process to end": "do_wait wait",
        "a file lock": "locks_lock flock",
        "a connection": "inet_csk_accept accept connect",
        "data from a Unix socket": "unix_stream_read",
        "data from a socket": "sk_wait_data recv",
        "data from a socket or a terminal": "wait_woken",
        "room in a socket": "send",
        "the disk": "fsync fdatasync io_schedule",
        "a network file system": "nfs rpc_wait",
    }.items()
    for start in starts.split()
}
"""What a place in the kernel, or a system call, waits for, by the start of its name (the longest match counts)."""


_STOPS = {
    "Z": "its main thread has ended, other threads run on",
    "T": "stopped by a signal",
    "D": "in an uninterruptible wait in the kernel",
}
"""What must be said first of a process in such a state."""


def headline(evidence: dict[str, Any], verdict: float | None = None) -> str:
    """One line, without control characters. ``verdict``: when it fell, wall clock; None: not known."""
    process = evidence["process"] or {}
    letter = process.get("state", "")
    if process.get("ended"):
        how = f" ({process['exit_status']})" if process.get("exit_status") else ""
        parent = f"its parent, pid {process.get('parent')}, has not collected it"
        parts = [f"has ended{how}, a zombie: {parent} (state Z)"]
    else:
        stop = f"stopped by pid {process.get('tracer')}, which traces it" if letter == "t" else _STOPS.get(letter)
        parts = [f"{stop} (state {letter})" if stop else "", _place(evidence)]
    if evidence.get("moved"):
        late = None if verdict is None else max(0.0, evidence["looked"] - verdict)
        taken = "taken later" if late is None else f"taken {format_s(late)} after the verdict"
        # What it does now is not where it was stuck. What it did while it began to move may be.
        parts = [f"it moves again: {taken}", *(parts if evidence["moved"] == "meanwhile" else ())]
    return sanitize.line("; ".join(filter(None, parts)), HEADLINE_MAX)


def plumbing(frame: dict[str, Any]) -> bool:
    """Whether a frame is the standard library's."""
    file = frame["file"]
    library = _library.match(file) and not _installed.match(file)
    return bool(library) or file == "" or file.startswith("<frozen ")


def where(frames: list[dict[str, Any]]) -> str:
    """The place in a stack (innermost first), and what of the library it is in."""
    if not frames:
        return "a place without a Python frame"
    own = next((number for number, frame in enumerate(frames) if not plumbing(frame)), None)
    if own is None:
        return spot(frames[0])
    text = spot(frames[own])
    if _installed.match(frames[own]["file"]):
        ours = (each for each in frames[own:] if not plumbing(each) and not _installed.match(each["file"]))
        text += "".join(f" from {spot(caller)}" for caller in islice(ours, 1))
    if own:
        asked = frames[own - 1]  # as ``queue.get``, ``asyncio.locks.acquire``: module and function of the library
        module = re.sub(r"(?:[/\\]__init__)?\.py$", "", short(asked["file"])).replace("/", ".").replace("\\", ".")
        text += f", in {module}.{_function(asked)}"
    return text


def spot(frame: dict[str, Any]) -> str:
    """```fetch` (job.py:42)``."""
    return f"`{_function(frame)}` ({short(frame['file'])}:{frame['line']})"


def _function(frame: dict[str, Any]) -> str:
    return str(frame["function"].rpartition("<locals>.")[2])


def short(file: str) -> str:
    """A path as far as it says something: below site-packages or the library, else the file's name."""
    for pattern in (_installed, _library):
        if match := pattern.match(file):
            return file[match.end() :]
    return re.split(r"[/\\]", file)[-1]


def waiting(wait: dict[str, Any] | None) -> str:
    """What a thread waits in, and for: ``waiting in read of pipe:[4711] (…)``; empty: it does not, or unknown."""
    if not wait or wait.get("state") in ("R", "T", "t", None):
        return ""
    call, place = wait.get("syscall"), wait.get("wchan")
    if call and wait.get("fd") is not None:
        return f"waiting in {call} of {wait.get('target') or 'descriptor ' + str(wait['fd'])}"
    # A place that says nothing ("do_syscall_64") is worth less than the name of the call.
    for name in (place, call):
        if name and (starts := [start for start in WORDS if name.startswith(start)]):
            return f"waiting in {name} ({WORDS[max(starts, key=len)]})"
    return f"waiting in {call or place}" if call or place else ""


def main_thread(threads: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The main thread; None: it is not among them."""
    return next((thread for thread in threads if thread["main"]), None)


def scope_thread(evidence: dict[str, Any]) -> dict[str, Any] | None:
    """The thread that is in the late work; None: no work is late, or its thread is not known."""
    scope = evidence.get("scope") or {}
    threads: list[dict[str, Any]] = evidence["threads"]
    for key, wanted in (("tid", scope.get("tid")), ("name", scope.get("thread"))):
        found = [thread for thread in threads if wanted and thread[key] == wanted]
        if len(found) == 1:
            return found[0]
    return None


def _place(evidence: dict[str, Any]) -> str:
    scope = evidence.get("scope")
    work = f"{scope['name']!r} for {scope['age']:.1f} s: " if scope else ""
    return work + _stack_place(evidence, scope_thread(evidence))


def _stack_place(evidence: dict[str, Any], late: dict[str, Any] | None) -> str:
    """Where the ``late`` thread is; None: the main one."""
    threads, process = evidence["threads"], evidence["process"] or {}
    thread = late or main_thread(threads)
    doing = _doing(thread, process, late["wait"] if late else evidence.get("main_wait"))
    if thread is None:
        other = f", one of its other threads in {where(threads[0]['frames'])}" if threads else ""
        return ", ".join(filter(None, ["the main thread's stack is not known", doing])) + other
    name = thread["name"] or "the main thread"
    if _in_loop(thread["frames"]):
        if (task := task_of(evidence)) is not None:
            count = len(evidence["tasks"]) + evidence["tasks_left_out"]
            text = f"{name} runs an event loop" + (f" of {count} tasks" if count > 1 else "")
            text += f"; task {task['name']} in {where(task['frames'])}"
            text += f", awaiting a {task['awaits']}" if task["awaits"] else ""
            return text + (", cancelled but not ended" if task["cancelling"] else "")
        doing = f"{doing}; which task hangs is known only after client.enable_dumps()"
    return ", ".join(filter(None, [f"{name} in {where(thread['frames'])}", doing]))


def _doing(thread: dict[str, Any] | None, process: dict[str, Any], wait: dict[str, Any] | None) -> str:
    """Running, or waiting for what; and whether it holds the interpreter lock."""
    share = process.get("cpu_now")
    parts = [waiting(wait)]
    if not parts[0] and share is not None and ((wait or {}).get("state") == "R" or share >= BUSY):
        parts = [f"running (CPU {share:.0%})"]
    if thread is not None and thread["gil"]:
        parts.append("holding the interpreter lock")
    return ", ".join(filter(None, parts))


def _in_loop(frames: list[dict[str, Any]]) -> bool:
    """Whether a thread stands in asyncio's loop itself, and not in something that the loop called."""
    loop = re.compile(r"[/\\]asyncio[/\\](?:base_events|runners|unix_events)\.py$")
    return any(loop.search(frame["file"]) for frame in takewhile(plumbing, frames))


def task_of(evidence: dict[str, Any]) -> dict[str, Any] | None:
    """The task that is in the late work; else the one at the end of what the first one waits for."""
    tasks, wanted = evidence["tasks"], (evidence.get("scope") or {}).get("task")
    named = [task for task in tasks if wanted and task["name"] == wanted]
    return named[0] if len(named) == 1 else stuck_task(tasks)


def stuck_task(tasks: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The task at the end of what the first one waits for; None: there is no task."""
    path, following = [0], [0]
    while following and len(path) <= STEPS_MAX and tasks:
        path.append(following[0])
        awaited = tasks[path[-1]]["awaits_tasks"]
        following = [each for each in awaited if each < len(tasks) and each not in path]
    return tasks[path[-1]] if tasks else None
