"""Who this process is: told with every feed, so that a restarted worker is never taken for the old one."""

from __future__ import annotations

import os

from banken.model import Incarnation
from banken.wire import BOOT_SIZE, NONCE_SIZE

_mine: tuple[int, Incarnation] | None = None


def incarnation() -> Incarnation:
    """This process's incarnation; the same for its whole life, another one in each forked child."""
    global _mine
    pid = os.getpid()
    if _mine is None or _mine[0] != pid:
        _mine = pid, Incarnation(boot_id(), pid, process_start(), os.urandom(NONCE_SIZE))
    return _mine[1]


def boot_id() -> bytes:
    """The first 8 bytes of the kernel's random boot id; zeros where the system has none."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return bytes.fromhex(file.read().strip().replace(b"-", b"").decode())[:BOOT_SIZE]
    except (OSError, ValueError):
        return bytes(BOOT_SIZE)


def process_start(pid: int | str = "self") -> int:
    """When a process started, in clock ticks since boot; 0 where that cannot be known."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The second field, the command's name, may hold anything but ends with the last ')'.
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
