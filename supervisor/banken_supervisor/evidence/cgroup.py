"""The memory limit that a container or a unit sets: a worker at its limit hangs in ways no stack explains."""

from __future__ import annotations

import os
from typing import Any

from banken_supervisor.evidence.text import clean

ROOT = "/sys/fs/cgroup"

UNLIMITED = 1 << 60
"""Bytes; cgroup v1 writes "no limit" as a number just below 2**63."""


def memory(pid: int) -> dict[str, Any] | None:
    """``{path, bytes, bytes_max}`` of the cgroup that bounds a process's memory; None: none does, or unknown.

    Both versions' usual places are tried; one limit further up in the tree is not looked for.
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
            found = _limit(f"{ROOT}{path}", "memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            found = _limit(f"{ROOT}/memory{path}", "memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        if found is not None:
            return {"path": clean(path, 200), "bytes": found[0], "bytes_max": found[1]}
    return None


def _limit(directory: str, limit: str, usage: str) -> tuple[int, int] | None:
    """(bytes used, the limit) of one group."""
    try:
        values = []
        for name in (usage, limit):
            with open(os.path.join(directory, name), encoding="ascii") as file:
                values.append(int(file.read(64)))
    except (OSError, ValueError):  # no such file, or "max"
        return None
    return (values[0], values[1]) if values[1] < UNLIMITED else None
