"""What a thread waits for in the kernel: the system call, its file or connection, the place.

psutil has neither system calls nor wait channels; its connections are those of its own network namespace, not of
the process's.
"""

from __future__ import annotations

import os
import platform
import socket
import struct
from typing import Any

from banken_supervisor.evidence.text import clean

TEXT_MAX = 200
"""Characters of a file's name."""

NET_BYTES_MAX = 1 << 20
"""Bytes read of a table of connections, about 7,000 of them."""

_ON_A_FILE = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "ioctl": (16, 29), "pread64": (17, 67),
    "pwrite64": (18, 68), "readv": (19, 65), "writev": (20, 66), "connect": (42, 203), "accept": (43, 202),
    "sendto": (44, 206), "recvfrom": (45, 207), "sendmsg": (46, 211), "recvmsg": (47, 212), "fcntl": (72, 25),
    "flock": (73, 32), "fsync": (74, 82), "fdatasync": (75, 83), "accept4": (288, 242), "recvmmsg": (299, 243),
}  # fmt: skip
"""Calls whose first argument is a file descriptor, which says what is waited for: their numbers on x86_64, and on
the machines with the kernel's generic table; -1: none there."""

_OTHERS = {
    "open": (2, -1), "poll": (7, -1), "select": (23, -1), "pause": (34, -1), "nanosleep": (35, 101),
    "wait4": (61, 260), "semop": (65, 193), "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133),
    "futex": (202, 98), "restart_syscall": (219, 128), "semtimedop": (220, -1), "clock_nanosleep": (230, 115),
    "epoll_wait": (232, -1), "mq_timedreceive": (243, -1), "waitid": (247, 95), "openat": (257, 56),
    "pselect6": (270, 72), "ppoll": (271, 73), "epoll_pwait": (281, 22), "io_uring_enter": (426, 426),
    "epoll_pwait2": (441, 441),
}  # fmt: skip

_TABLE = {"x86_64": 0, "aarch64": 1, "riscv64": 1}.get(platform.machine())

NAMES = {} if _TABLE is None else {each[_TABLE]: name for name, each in (_ON_A_FILE | _OTHERS).items()}
"""The calls that a process waits in, by this machine's numbers."""


def wait(pid: int, tid: int, *, target: bool = False) -> dict[str, Any]:
    """``{state, wchan, syscall, fd, target}`` of one thread; what cannot be read is None.

    ``target``: also look up what the descriptor is: a path, ``pipe:[…]``, or a connection's two ends.
    """
    base = f"/proc/{pid}/task/{tid}"
    call = _read(f"{base}/syscall", 256).split()  # "running", or a number and its arguments
    number = int(call[0]) if len(call) > 1 and call[0].isdigit() else None
    name = None if number is None else NAMES.get(number, f"syscall {number}")
    fd = int(call[1], 16) & 0xFFFFFFFF if name in _ON_A_FILE else None
    stat = _read(f"{base}/stat", 4096).rpartition(b")")[2].split()
    place = clean(_read(f"{base}/wchan", 256).decode(errors="replace"), 64).strip()
    return {
        "state": stat[0].decode("ascii", "replace") if stat else None,
        "wchan": place if place not in ("", "0") else None,
        "syscall": name,
        "fd": fd,
        "target": describe(pid, fd) if target and fd is not None else None,
    }


def describe(pid: int, fd: int) -> str | None:
    """What an open descriptor of another process is; None if it cannot be seen."""
    try:
        link = clean(os.readlink(f"/proc/{pid}/fd/{fd}"), TEXT_MAX)
    except OSError:
        return None
    return (connection(pid, link[8:-1]) if link.startswith("socket:[") else None) or link


def connection(pid: int, inode: str) -> str | None:
    """A socket's two ends, ``tcp 10.0.0.1:4711 to 10.0.0.5:5432``, or a Unix socket's path; None: not found."""
    for table in ("tcp", "tcp6", "udp", "udp6", "unix"):
        for line in _read(f"/proc/{pid}/net/{table}", NET_BYTES_MAX).decode(errors="replace").splitlines()[1:]:
            fields = line.split(None, 10 if table != "unix" else 7)
            if table == "unix":
                if len(fields) > 6 and fields[6] == inode:
                    path = fields[7] if len(fields) > 7 else "without a name"
                    return clean(f"unix {path}", TEXT_MAX)
            elif len(fields) > 9 and fields[9] == inode:
                return f"{table} {_end(fields[1])} to {_end(fields[2])}"
    return None


def _end(text: str) -> str:
    """``0100007F:1F90`` as ``127.0.0.1:8080``: the kernel writes an address as 32-bit words of the host's order."""
    address, _, port = text.partition(":")
    try:
        words = struct.unpack(f">{len(address) // 8}I", bytes.fromhex(address))
        raw = struct.pack(f"={len(words)}I", *words)
        host = socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, raw)
        return f"{host}:{int(port, 16)}" if len(words) == 1 else f"[{host}]:{int(port, 16)}"
    except (ValueError, struct.error):
        return text


def _read(path: str, bytes_max: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(bytes_max)
    except OSError:  # not ours to read, or gone
        return b""
