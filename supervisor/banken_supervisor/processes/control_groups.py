"""A control group (cgroups(7), version 2) for each run, below the supervisor's own, where that was delegated to it.

A process cannot leave it without rights over both groups, whatever it does to its session and environment, and it
outlives the supervisor. ``Delegate=yes`` in a unit of systemd delegates; so does a container whose own group is
mounted writable.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys

PREFIX = "banken-"
_MOUNT = "/proc/self/mounts"


@functools.cache
def delegated() -> str | None:
    """The directory of this process's own control group, if it was delegated; None: it was not."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        path = _own_path()
        with open(_MOUNT) as file:
            mounts = [line.split() for line in file]
        root = next(fields[1] for fields in mounts if fields[2] == "cgroup2")
    except (OSError, StopIteration):
        return None
    directory = os.path.normpath(f"{root}/{path}")
    # The root of the whole system has no such file, and belongs to the system's manager.
    if not os.path.exists(f"{directory}/cgroup.type") or not os.access(f"{directory}/cgroup.procs", os.W_OK):
        return None
    return directory if path == "/" or _is_marked(directory) else None


def enter(run: str, pid: int) -> None:
    """Put a process that was just started into the group of its run. What it started before stays outside."""
    directory = delegated()
    if directory is None:
        return
    with contextlib.suppress(OSError):  # it is then found by its session and mark
        os.makedirs(f"{directory}/{PREFIX}{run}", exist_ok=True)
        with open(f"{directory}/{PREFIX}{run}/cgroup.procs", "w") as file:
            file.write(str(pid))


def leave(run: str) -> None:
    """Remove the group of a run, of which no process is left."""
    directory = delegated()
    if directory is not None:
        with contextlib.suppress(OSError):  # what got away is still in it
            os.rmdir(f"{directory}/{PREFIX}{run}")


def run_of(pid: int) -> str:
    """The run whose group a process is in; empty: none. OSError: it has ended.

    Only a group below this process's own counts: other users may have groups whose names begin alike.
    """
    if delegated() is None:
        return ""
    with open(f"/proc/{pid}/cgroup", "rb") as file:
        lines = file.read(8192).split(b"\n")
    head = os.fsencode(f"0::{_own_path().rstrip('/')}/{PREFIX}")
    names = (line.removeprefix(head).split(b"/", 1)[0] for line in lines if line.startswith(head))
    return os.fsdecode(next(names, b""))


@functools.cache
def _own_path() -> str:
    """StopIteration: there is no version 2."""
    with open("/proc/self/cgroup") as file:
        return next(line.rstrip("\n")[3:] for line in file if line.startswith("0::"))


def _is_marked(directory: str) -> bool:
    """Whether a manager says that it was delegated, as systemd does."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(directory, name) == b"1":
                return True
    return False
