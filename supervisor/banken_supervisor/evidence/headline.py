"""Where it hangs, in one line, which people read first. Pure.

    MainThread in `fetch` (job.py:42), in queue.get, waiting in futex_wait (a lock or a condition)

The frame that is named is the innermost one that is not plumbing of the standard library; the outermost plumbing
that it called says what it asked for, and the kernel what it waits in. An event loop's thread only ever shows the
selector: there the task is named, found by following what the loop's first task waits for.
"""

from __future__ import annotations

import re
from typing import Any

from banken_supervisor.text import sanitize

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


def headline(evidence: dict[str, Any]) -> str:
    """One line, without control characters."""
    process = evidence["process"] or {}
    parts = [_state(process)]
    if not process.get("ended"):
        parts.append(_place(evidence))
    return sanitize.line("; ".join(filter(None, parts)), HEADLINE_MAX)


def plumbing(frame: dict[str, Any]) -> bool:
    """Whether a frame is the standard library's."""
    file = frame["file"]
    if file.startswith("<frozen ") or file == "":
        return True
    return bool(_library.match(file)) and not _installed.match(file)


def where(frames: list[dict[str, Any]]) -> str:
    """The place in a stack (innermost first), and what of the library it is in."""
    if not frames:
        return "a place without a Python frame"
    own = next((number for number, frame in enumerate(frames) if not plumbing(frame)), None)
    if own is None:
        return spot(frames[0])
    text = spot(frames[own])
    if _installed.match(frames[own]["file"]):
        caller = next((each for each in frames[own:] if not _foreign(each)), None)
        if caller is not None:
            text += f" from {spot(caller)}"
    if own:
        text += f", in {_called(frames[own - 1])}"
    return text


def spot(frame: dict[str, Any]) -> str:
    """```fetch` (job.py:42)``."""
    function = frame["function"].rpartition("<locals>.")[2]
    return f"`{function}` ({short(frame['file'])}:{frame['line']})"


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
        if name and (words := _words(name)):
            return f"waiting in {name} ({words})"
    return f"waiting in {call or place}" if call or place else ""


def main_thread(threads: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The main thread; None: it is not among them."""
    return next((thread for thread in threads if thread["main"]), None)


def _state(process: dict[str, Any]) -> str:
    """What must be said of the state first."""
    letter = process.get("state")
    if letter == "Z" and not process.get("ended"):
        return "its main thread has ended, other threads run on (state Z)"
    if process.get("ended"):
        how = f" ({process['exit_status']})" if process.get("exit_status") else ""
        return f"has ended{how}, a zombie: its parent, pid {process.get('parent')}, has not collected it (state Z)"
    if letter == "T":
        return "stopped by a signal (state T)"
    if letter == "t":
        return f"stopped by pid {process.get('tracer')}, which traces it (state t)"
    if letter == "D":
        return "in an uninterruptible wait in the kernel (state D)"
    return ""


def _place(evidence: dict[str, Any]) -> str:
    threads, process = evidence["threads"], evidence["process"] or {}
    thread = main_thread(threads)
    doing = _doing(thread, process, evidence.get("main_wait"))
    if thread is None:
        other = f", one of its other threads in {where(threads[0]['frames'])}" if threads else ""
        return ", ".join(filter(None, ["the main thread's stack is not known", doing])) + other
    name = thread["name"] or "the main thread"
    if _in_loop(thread["frames"]):
        task = stuck_task(evidence["tasks"])
        if task is not None:
            return f"{name} runs an event loop{_rest(evidence)}; {_task(task)}"
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
    for frame in frames:
        if not plumbing(frame):
            return False
        if re.search(r"[/\\]asyncio[/\\](?:base_events|runners|unix_events)\.py$", frame["file"]):
            return True
    return False


def stuck_task(tasks: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The task at the end of what the first one waits for; None: there is no task."""
    if not tasks:
        return None
    seen = {0}
    position = 0
    for _ in range(STEPS_MAX):
        onward = [each for each in tasks[position]["awaits_tasks"] if each < len(tasks) and each not in seen]
        if not onward:
            break
        position = onward[0]
        seen.add(position)
    return tasks[position]


def _task(task: dict[str, Any]) -> str:
    text = f"task {task['name']} in {where(task['frames'])}"
    if task["awaits"]:
        text += f", awaiting a {task['awaits']}"
    if task["cancelling"]:
        text += ", cancelled but not ended"
    return text


def _rest(evidence: dict[str, Any]) -> str:
    count = len(evidence["tasks"]) + evidence["tasks_left_out"]
    return f" of {count} tasks" if count > 1 else ""


def _called(frame: dict[str, Any]) -> str:
    """``queue.get``, ``asyncio.locks.acquire``: module and function of the library."""
    module = re.sub(r"(?:[/\\]__init__)?\.py$", "", short(frame["file"])).replace("/", ".").replace("\\", ".")
    return f"{module}.{frame['function'].rpartition('<locals>.')[2]}"


def _foreign(frame: dict[str, Any]) -> bool:
    return plumbing(frame) or bool(_installed.match(frame["file"]))


def _words(name: str) -> str:
    fitting = [start for start in WORDS if name.startswith(start)]
    return WORDS[max(fitting, key=len)] if fitting else ""
