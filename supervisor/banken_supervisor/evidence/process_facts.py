"""What the kernel says about a process. Its environment is never read: secrets are kept there.

By psutil as far as it goes. It knows no state's letter, exit status, tracer, signal sets and cgroups; its CPU times
have ticks of 10 ms, too coarse for a tenth of a second; and its ``threads()`` reads a file for each thread.
"""

from __future__ import annotations

import os
import resource
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from banken_supervisor.evidence.text import clean
from banken_supervisor.processes.process_handles import STATES

CPU_S = 0.1
"""How long its use of the CPU is measured, seconds."""

TASKS_MAX = 512
"""Threads of a process that are listed."""

CHILDREN_MAX = 64
ARGUMENTS_MAX = 32
ARGUMENT_MAX = 256
"""Characters of one argument of the command line."""

CGROUP_ROOT = "/sys/fs/cgroup"

UNLIMITED = 1 << 60
"""Bytes; cgroup v1 writes "no limit" as a number just below 2**63."""

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def facts(pid: int) -> dict[str, Any]:
    """State, CPU seconds, memory and threads, all from one line of the kernel. OSError: the process is gone."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        line = file.read(4096)
    fields = line.rpartition(b")")[2].split()
    letter = fields[0].decode("ascii", "replace")
    return {
        **state(letter),
        "parent": int(fields[1]),
        "threads": int(fields[17]),
        "cpu_user_s": int(fields[11]) / _TICKS,
        "cpu_system_s": int(fields[12]) / _TICKS,
        "rss_bytes": int(fields[21]) * _PAGE,
        "vms_bytes": int(fields[20]),
        "exit_status": _exit_status(letter, fields),
        "tracer": int(_status(pid).get("TracerPid", "0")),
    }


def state(letter: str) -> dict[str, str]:
    return {"state": letter, "state_words": STATES.get(letter, "a state unknown to banken")}


def cpu_share(pid: int, seconds: float = CPU_S) -> float | None:
    """CPU used during ``seconds`` from now: 1.0 is one whole CPU. None: it cannot be known."""
    clock = (~pid << 3) | 2  # clock_getcpuclockid(3) makes this clock of a pid; it counts nanoseconds
    try:
        before, began = time.clock_gettime(clock), time.monotonic()
        time.sleep(seconds)
        after, ended = time.clock_gettime(clock), time.monotonic()
    except (OSError, OverflowError):
        return None
    return round(max(0.0, after - before) / (ended - began), 3) if ended > began else None


def tids(pid: int) -> list[int]:
    """The threads of a process, the first ``TASKS_MAX`` of them, the main thread first."""
    with os.scandir(f"/proc/{pid}/task") as entries:
        found = [int(entry.name) for entry in islice(entries, TASKS_MAX)]
    return sorted(found, key=lambda tid: (tid != pid, tid))


def descriptors(pid: int) -> dict[str, Any]:
    """``{fds, fds_max}``: open file descriptors and how many it may open; None where that may not be read."""
    try:
        fds = psutil.Process(pid).num_fds()
        fds_max = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
    except (psutil.Error, OSError):
        return {"fds": None, "fds_max": None}
    return {"fds": fds, "fds_max": None if fds_max == resource.RLIM_INFINITY else fds_max}


def children(pid: int) -> list[int]:
    """Pids of its children, at most ``CHILDREN_MAX``. psutil.Error: it is gone."""
    return [each.pid for each in psutil.Process(pid).children()[:CHILDREN_MAX]]


def command_line(pid: int) -> list[str]:
    """Its arguments, cut. May block while the process's memory map is locked in the kernel. psutil.Error: gone."""
    return [clean(each, ARGUMENT_MAX) for each in psutil.Process(pid).cmdline()[:ARGUMENTS_MAX]]


def signal_sets(pid: int, tid: int | None = None) -> dict[str, int]:
    """``{SigCgt, SigBlk, ShdPnd, …}`` as numbers whose bit n-1 stands for signal n. OSError: gone."""
    found = _status(pid, tid)
    return {name: int(found[name], 16) for name in ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")}


def cgroup_memory(pid: int) -> dict[str, Any] | None:
    """``{path, bytes, bytes_max}`` of the cgroup that limits a process's memory; None: none does, or unknown.

    A worker at the memory limit of its container or unit hangs in ways that no stack explains. Both versions' usual
    places are tried; a limit further up in the tree is not searched for.
    """
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            lines = file.read(8192).splitlines()
    except OSError:
        return None
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            names = f"{path}/memory.current", f"{path}/memory.max"
        elif "memory" in controllers.split(","):
            names = f"/memory{path}/memory.usage_in_bytes", f"/memory{path}/memory.limit_in_bytes"
        else:
            continue
        with suppress(OSError, ValueError):  # no such file, or "max"
            used, limit = (int(Path(f"{CGROUP_ROOT}{name}").read_text(encoding="ascii")) for name in names)
            if limit < UNLIMITED:
                return {"path": clean(path, 200), "bytes": used, "bytes_max": limit}
    return None


def _status(pid: int, tid: int | None = None) -> dict[str, str]:
    where = f"/proc/{pid}/status" if tid is None else f"/proc/{pid}/task/{tid}/status"
    with open(where, encoding="ascii", errors="replace") as file:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in file)}


def _exit_status(letter: str, fields: list[bytes]) -> str | None:
    """How a zombie ended, in words; None for the living, and for 0: it looks the same where it may not be read."""
    status = int(fields[49]) if letter == "Z" and len(fields) >= 50 else 0
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)}"
    return f"exit code {os.WEXITSTATUS(status)}" if status else None
