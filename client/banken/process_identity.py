"""The identity of this process, which travels with every feed, and what has to happen when a fork makes another."""

from __future__ import annotations

import os
import weakref
from typing import Any

from banken.protocol.limits import BOOT_SIZE, NONCE_SIZE
from banken.protocol.messages import ProcessIdentity

_own: tuple[int, ProcessIdentity] | None = None

_FIRST = {"pid": 4026531836, "time": 4026531834}
"""What the kernel calls the first namespace of each kind."""

inherited: list[Any] = []
"""Sockets of a parent process, kept so that nothing finalises them or their contexts."""

_forking: weakref.WeakSet[Any] = weakref.WeakSet()


def own_identity() -> ProcessIdentity:
    """This process's identity: the same until the process ends, another one in each forked child."""
    global _own
    pid = os.getpid()
    if _own is None or _own[0] != pid:
        _own = pid, ProcessIdentity(process_space(), pid, process_start(), os.urandom(NONCE_SIZE))
    return _own[1]


def after_fork(each: Any) -> None:
    """Call ``each._forked()`` in every child that this process forks, as long as the object is in use."""
    _forking.add(each)


def _forked() -> None:
    """A fault of one keeps none of the others from what it has to do; the interpreter tells of it."""
    faults: list[Exception] = []
    for each in list(_forking):
        try:
            each._forked()
        except Exception as fault:  # noqa: BLE001
            faults.append(fault)
    if faults:
        raise ExceptionGroup("after a fork", faults)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def boot_id() -> bytes:
    """The first 8 bytes of the kernel's random boot id; zeros where the system has none."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return bytes.fromhex(file.read().strip().replace(b"-", b"").decode())[:BOOT_SIZE]
    except (OSError, ValueError):
        return bytes(BOOT_SIZE)


def process_space() -> bytes:
    """Where this process's pid and start time have their meaning: the boot id and, in a pid or time namespace other
    than the system's first, their numbers mixed in (docs/wire.md)."""
    boot = boot_id()
    mixed = namespace("pid") << 32 | namespace("time")
    return mix(boot, mixed) if mixed and any(boot) else boot


def namespace(kind: str, pid: int | str = "self", unknown: int = 0) -> int:
    """The number of the namespace that a process is in; 0: the system's first. ``unknown``: there are none, or this
    process may not ask."""
    try:
        number = int(os.readlink(f"/proc/{pid}/ns/{kind}")[len(kind) + 2 : -1])
    except (OSError, ValueError):
        return unknown
    return 0 if number == _FIRST[kind] else number


def mix(boot: bytes, number: int) -> bytes:
    """Both, 8 bytes; the same twice gives what there was before."""
    return (int.from_bytes(boot, "big") ^ number).to_bytes(BOOT_SIZE, "big")


def process_start(pid: int | str = "self") -> int:
    """When a process started, in clock ticks since boot; 0 where that cannot be known."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The second field, the command's name, may hold anything but ends with the last ')'.
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
