"""Python stacks of another process by py-spy, which needs nothing of that process.

py-spy pauses its target with ptrace, for 10 to 40 ms, so that what it reads belongs together. It cannot pause one
that is stopped already ("unexpected waitpid result"), one in an uninterruptible wait, or one that is traced: those
stand still by themselves and are read without (``--nonblocking``), as is every process where ptrace is refused but
reading is not. Both need the right to trace it: the same user and Yama's ``ptrace_scope`` 0, or CAP_SYS_PTRACE.

A py-spy that has to be killed may leave the SIGSTOP of its attach behind, and the worker stopped: that is undone.
"""

from __future__ import annotations

import os
import shutil
import signal
import sysconfig
from contextlib import suppress
from typing import Any

from banken_supervisor.evidence import process_facts
from banken_supervisor.evidence.size_limits import LINE_MAX, whole
from banken_supervisor.evidence.text import FRAMES_MAX, NAME_MAX, clean, frame, thread
from banken_supervisor.evidence.time_limits import Deadline, TooLate, output
from banken_supervisor.processes.handle import ProcessHandle
from banken_supervisor.text.sanitize import ODD, from_json

OUTPUT_MAX = 16 << 20
"""Bytes of JSON that are read of py-spy: about 2,000 threads of 40 frames."""

_STILL = "TtD"
"""States in which a process cannot be paused and need not be."""


class StackFault(Exception):
    """No stacks; the message says why and, where something helps, what."""


def find() -> str | None:
    """The py-spy of this installation, else that on the PATH; None: there is none."""
    mine = os.path.join(sysconfig.get_path("scripts"), "py-spy")
    return mine if os.access(mine, os.X_OK) else shutil.which("py-spy")


def dump(
    py_spy: str, process: ProcessHandle, state: str, traced: bool, seconds: float
) -> tuple[list[dict[str, Any]], str]:
    """(the threads, what was less than it should be or empty). StackFault when there are none.

    ``state``: its state's letter, ``traced``: whether something traces it. See ``threads_of`` for a thread.
    """
    deadline = Deadline(seconds)
    doubt = ""
    if state not in _STILL and not traced:
        try:
            return _run(py_spy, process, deadline.left(seconds * 0.6)), ""
        except TooLate as fault:
            doubt = str(fault) + _let_go(process)
        except StackFault as fault:
            doubt = str(fault)
    try:
        threads = _run(py_spy, process, deadline.left(), "--nonblocking")
    except (TooLate, StackFault) as fault:
        raise StackFault("; without pausing: ".join(filter(None, [doubt, str(fault)]))) from None
    return threads, f"stacks were read without pausing it, for pausing failed: {doubt}" if doubt else ""


def threads_of(data: bytes) -> list[dict[str, Any]]:
    """py-spy's JSON, as ``text.thread`` makes threads. StackFault."""
    try:
        return [_thread(each) for each in from_json(data)]
    except ODD as fault:
        raise StackFault(f"py-spy wrote something that is not understood: {clean(repr(fault), NAME_MAX)}") from None


def _run(py_spy: str, process: ProcessHandle, seconds: float, *options: str) -> list[dict[str, Any]]:
    argv = [py_spy, "dump", "--json", "--full-filenames", *options, "--pid", str(process.pid)]
    try:
        code, out, errors = output(argv, seconds, OUTPUT_MAX)
    except OSError as fault:
        raise StackFault(f"{py_spy} cannot be started: {fault.strerror}") from None
    if code != 0:
        lines = errors.partition("Stack backtrace")[0].replace("Caused by:", "").splitlines()
        said = "; ".join(line.strip().removeprefix("Error: ") for line in lines if line.strip())
        raise StackFault(clean(f"py-spy ended with {code}: {said or 'it said nothing'}", 2 * NAME_MAX))
    if found := threads_of(out):
        return found
    raise StackFault("py-spy found no Python thread")


def _thread(found: dict[str, Any]) -> dict[str, Any]:
    tid, frames = found.get("os_thread_id"), found["frames"]
    return thread(
        whole(found["thread_id"], 2**63),
        None if tid is None else whole(tid, 2**31),
        found.get("thread_name"),
        main=tid == found["pid"],
        active=bool(found["active"]),
        gil=bool(found["owns_gil"]),
        frames=[
            frame(each["name"], each["filename"], whole(each["line"], LINE_MAX)) for each in frames[:FRAMES_MAX]
        ],
        frames_left_out=max(0, len(frames) - FRAMES_MAX),
    )


def _let_go(process: ProcessHandle) -> str:
    """Undo the stop that a killed py-spy left, and only that: it was not stopped before."""
    bit = 1 << (signal.SIGSTOP - 1)
    with suppress(OSError):  # gone, or not ours to continue
        if process_facts.facts(process.pid)["state"] == "T" or any(
            process_facts.signal_sets(process.pid, tid)["SigPnd"] & bit for tid in process_facts.tids(process.pid)
        ):
            process.signal(signal.SIGCONT)
            return "; it was left stopped, and was continued"
    return ""
