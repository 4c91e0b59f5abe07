"""What a process uses with all that it started, by /proc or, where the run has one, by its control group.

A control group knows what has left the tree. Of memory the private pages of all are added, and the largest shared
part once: resident sizes would count what a database shares among its processes many times.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from banken_supervisor.processes.control_groups import PREFIX

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """Of a whole tree."""

    memory: int
    """bytes"""
    cpu_s: float
    """CPU seconds since it began"""
    files: int
    """open descriptors; -1: they are another user's, and cannot be seen"""
    children: int
    """processes but the first"""
    age_s: float
    """seconds since the first began"""
    cpu_of: str
    """what cpu_s was counted in: it cannot be compared with another's"""


class _Stat(NamedTuple):
    parent: int
    cpu: int
    """ticks, with those of children that were collected"""
    start: int


def usage(pid: int, start: int) -> Usage:
    """Of the process and its descendants. ProcessLookupError: it has ended."""
    found = {int(each): stat for each in os.listdir("/proc") if each.isdecimal() and (stat := _stat(each))}
    first = found.get(pid)
    if first is None or first.start != start:
        raise ProcessLookupError(f"pid {pid} has ended")
    tree, pending = {pid}, [pid]
    children: dict[int, list[int]] = {}
    for each, stat in found.items():
        children.setdefault(stat.parent, []).append(each)
    while pending:
        for each in children.get(pending.pop(), ()):
            if each not in tree:
                tree.add(each)
                pending.append(each)
    with open("/proc/uptime", "rb") as file:
        age = float(file.read().split()[0]) - start / _TICKS
    group = _group(pid)
    cpu_s, cpu_of = sum(found[each].cpu for each in tree) / _TICKS, "processes"
    memory = _memory(tree)
    count = len(tree)
    if group:
        members = _number(f"{group}/pids.current") or len(_read(f"{group}/cgroup.procs").split())
        count = max(count, members)
        if (used := _group_memory(group)) is not None:
            memory = used
        if (micros := _field(f"{group}/cpu.stat", "usage_usec")) is not None:
            cpu_s, cpu_of = micros / 1e6, group
    return Usage(memory, cpu_s, _files(tree), count - 1, age, cpu_of)


def _stat(pid: str) -> _Stat | None:
    """None: it has ended. Zombies hold nothing, but their CPU time counts."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read(4096).rpartition(b")")[2].split()
        return _Stat(int(fields[1]), sum(map(int, fields[11:15])), int(fields[19]))
    except (OSError, ValueError, IndexError):
        return None


def _memory(tree: set[int]) -> int:
    private, shared = 0, 0
    for pid in tree:
        pages = _read(f"/proc/{pid}/statm").split()
        if len(pages) > 2:
            private += int(pages[1]) - int(pages[2])
            shared = max(shared, int(pages[2]))
    return (private + shared) * _PAGE


def _files(tree: set[int]) -> int:
    total = 0
    for pid in tree:
        try:
            total += len(os.listdir(f"/proc/{pid}/fd"))
        except PermissionError:
            return -1
        except OSError:
            continue
    return total


def _group(pid: int) -> str | None:
    """The directory of the run's own control group; None: it has none."""
    line = next((each for each in _read(f"/proc/{pid}/cgroup").splitlines() if each.startswith("0::")), "")
    path = line[3:]
    own = next((part for part in path.split("/") if part.startswith(PREFIX)), None)
    if own is None:
        return None
    path = path[: path.index(own) + len(own)]
    root = next((line.split()[1] for line in _read("/proc/self/mounts").splitlines() if " cgroup2 " in line), None)
    return None if root is None or not os.path.isdir(f"{root}{path}") else f"{root}{path}"


def _group_memory(group: str) -> int | None:
    """Without the file cache that the kernel can take back, as others count it."""
    used = _number(f"{group}/memory.current")
    inactive = _field(f"{group}/memory.stat", "inactive_file") or 0
    return None if used is None else max(0, used - inactive)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""


def _number(path: str) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdecimal() else None


def _field(path: str, name: str) -> int | None:
    words = (line.split() for line in _read(path).splitlines())
    return next(
        (int(each[1]) for each in words if len(each) == 2 and each[0] == name and each[1].isdecimal()), None
    )
