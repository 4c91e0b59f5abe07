"""What /proc tells of a process. Its environment is never read: secrets are kept there."""

from __future__ import annotations

import os
import time
from itertools import islice
from typing import Any

from banken_supervisor.evidence.text import clean, decoded

STATES = {
    "R": "running or ready to run",
    "S": "sleeping",
    "D": "in an uninterruptible wait in the kernel: no signal reaches it, not even SIGKILL",
    "T": "stopped by a signal",
    "t": "stopped by a debugger or tracer",
    "Z": "a zombie: it has ended and its parent has not collected it",
    "X": "dead",
    "I": "an idle kernel thread",
    "P": "parked",
}

CPU_S = 0.1
"""How long is looked whether it uses the CPU, seconds."""

TASKS_MAX = 512
"""Threads of a process that are looked at."""

CHILDREN_MAX = 64
ARGUMENTS_MAX = 32
ARGUMENT_MAX = 256
"""Characters of one argument of the command line."""

FDS_COUNTED_MAX = 65_536
"""Descriptors counted one by one, on a kernel (before 6.2) that does not tell their number."""

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def facts(pid: int) -> dict[str, Any]:
    """State, CPU seconds, memory and threads, all from one line of the kernel. OSError: the process is gone."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        line = file.read(4096)
    fields = line.rpartition(b")")[2].split()
    letter = fields[0].decode("ascii", "replace")
    return {
        "state": letter,
        "state_words": STATES.get(letter, "a state that banken does not know"),
        "parent": int(fields[1]),
        "threads": int(fields[17]),
        "cpu_user_s": int(fields[11]) / _TICKS,
        "cpu_system_s": int(fields[12]) / _TICKS,
        "rss_bytes": int(fields[21]) * _PAGE,
        "vms_bytes": int(fields[20]),
        "exit_status": _exit_status(letter, fields),
        "tracer": _tracer(pid),
    }


def cpu_share(pid: int, seconds: float = CPU_S) -> float | None:
    """CPU used during ``seconds`` from now: 1.0 is one whole CPU. None: it cannot be known."""
    before, began = _cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    after, ended = _cpu_seconds(pid), time.monotonic()
    if before is None or after is None or ended <= began:
        return None
    return round(max(0.0, after - before) / (ended - began), 3)


def tids(pid: int) -> list[int]:
    """The threads of a process, the first ``TASKS_MAX`` of them, the main thread first."""
    with os.scandir(f"/proc/{pid}/task") as entries:
        found = [int(entry.name) for entry in islice(entries, TASKS_MAX)]
    return sorted(found, key=lambda tid: (tid != pid, tid))


def descriptors(pid: int) -> dict[str, Any]:
    """``{fds, fds_max}``: open file descriptors and how many it may open; None where that may not be read."""
    path = f"/proc/{pid}/fd"
    count: int | None
    try:
        count = os.stat(path).st_size
        if not count:
            with os.scandir(path) as entries:
                count = sum(1 for _ in islice(entries, FDS_COUNTED_MAX))
    except OSError:
        count = None
    return {"fds": count, "fds_max": _fds_max(pid)}


def children(pid: int, threads: list[int]) -> list[int]:
    """Pids of its children, at most ``CHILDREN_MAX``."""
    found: list[int] = []
    for tid in threads:
        try:
            with open(f"/proc/{pid}/task/{tid}/children", encoding="ascii") as file:
                found += map(int, file.read(8 * CHILDREN_MAX).split()[:CHILDREN_MAX])
        except (OSError, ValueError):  # a thread that ended, or a kernel without it
            continue
        if len(found) >= CHILDREN_MAX:
            break
    return found[:CHILDREN_MAX]


def command_line(pid: int) -> list[str]:
    """Its arguments, cut. May block for as long as the process's memory map is locked in the kernel."""
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        data = file.read(ARGUMENTS_MAX * ARGUMENT_MAX)
    parts = data.removesuffix(b"\0").split(b"\0") if data else []
    return [decoded(part, ARGUMENT_MAX) for part in parts[:ARGUMENTS_MAX]]


def signal_sets(pid: int, tid: int | None = None) -> dict[str, int]:
    """``{SigCgt, SigBlk, ShdPnd, …}`` as numbers whose bit n-1 stands for signal n. OSError: gone."""
    where = f"/proc/{pid}/status" if tid is None else f"/proc/{pid}/task/{tid}/status"
    with open(where, "rb") as file:
        lines = file.read(16_384).splitlines()
    found = (line.decode("ascii", "replace").split(":", 1) for line in lines if line[:3] in (b"Sig", b"Shd"))
    return {name: int(value, 16) for name, value in found if name != "SigQ"}


def _cpu_seconds(pid: int) -> float | None:
    """CPU time of another process, in nanoseconds' grain: what clock_getcpuclockid(3) makes of a pid."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except (OSError, AttributeError, OverflowError):
        try:
            found = facts(pid)
        except OSError:
            return None
        return float(found["cpu_user_s"] + found["cpu_system_s"])


def _exit_status(letter: str, fields: list[bytes]) -> str | None:
    """How a zombie ended, in words; None for the living, and for 0: it looks the same where it may not be read."""
    if letter != "Z" or len(fields) < 50:
        return None
    status = int(fields[49])
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)}"
    return f"exit code {os.WEXITSTATUS(status)}" if status else None


def _tracer(pid: int) -> int:
    """Pid of the process that traces it, as a debugger does; 0: none."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file.read(16_384).splitlines():
                if line.startswith(b"TracerPid:"):
                    return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return 0


def _fds_max(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            for line in file.read(8192).splitlines():
                if line.startswith(b"Max open files"):
                    return int(clean(line.split()[3].decode("ascii", "replace"), 20))
    except (OSError, ValueError, IndexError):  # "unlimited" too
        pass
    return None
