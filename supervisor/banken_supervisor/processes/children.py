"""The children of a process."""

from __future__ import annotations

import contextlib
import os


def children_of(pid: int) -> list[int]:
    """The pids of its children, of all its threads; none on a kernel that does not list them."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
    return found
