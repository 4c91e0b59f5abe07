"""The identity of this process. It travels with every feed, so that a restarted worker differs from the old one."""

from __future__ import annotations

import os

from banken.protocol.limits import BOOT_SIZE, NONCE_SIZE
from banken.protocol.messages import ProcessIdentity

_own: tuple[int, ProcessIdentity] | None = None


def own_identity() -> ProcessIdentity:
    """This process's identity: the same until the process ends, another one in each forked child."""
    global _own
    pid = os.getpid()
    if _own is None or _own[0] != pid:
        _own = pid, ProcessIdentity(boot_id(), pid, process_start(), os.urandom(NONCE_SIZE))
    return _own[1]


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
