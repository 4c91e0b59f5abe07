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

from banken_supervisor.evidence.text import clean, decoded

TEXT_MAX = 200
"""Characters of a file's name."""

NET_BYTES_MAX = 1 << 20
"""Bytes read of a table of connections, about 7,000 of them."""

_X86_64 = {
    0: "read", 1: "write", 2: "open", 3: "close", 7: "poll", 16: "ioctl", 17: "pread64", 18: "pwrite64",
    19: "readv", 20: "writev", 23: "select", 34: "pause", 35: "nanosleep", 42: "connect", 43: "accept",
    44: "sendto", 45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 61: "wait4", 65: "semop", 72: "fcntl",
    73: "flock", 74: "fsync", 75: "fdatasync", 128: "rt_sigtimedwait", 130: "rt_sigsuspend", 202: "futex",
    219: "restart_syscall", 220: "semtimedop", 230: "clock_nanosleep", 232: "epoll_wait", 243: "mq_timedreceive",
    247: "waitid", 257: "openat",
    270: "pselect6", 271: "ppoll", 281: "epoll_pwait", 288: "accept4", 299: "recvmmsg", 426: "io_uring_enter",
    441: "epoll_pwait2",
}  # fmt: skip

_GENERIC = {
    22: "epoll_pwait", 25: "fcntl", 29: "ioctl", 32: "flock", 56: "openat", 57: "close", 63: "read", 64: "write",
    65: "readv", 66: "writev", 67: "pread64", 68: "pwrite64", 72: "pselect6", 73: "ppoll", 82: "fsync",
    83: "fdatasync", 95: "waitid", 98: "futex", 101: "nanosleep", 115: "clock_nanosleep",
    128: "restart_syscall", 133: "rt_sigsuspend",
    137: "rt_sigtimedwait", 193: "semop", 202: "accept", 203: "connect", 206: "sendto", 207: "recvfrom",
    211: "sendmsg", 212: "recvmsg", 242: "accept4", 243: "recvmmsg", 260: "wait4", 426: "io_uring_enter",
    441: "epoll_pwait2",
}  # fmt: skip

NAMES = {"x86_64": _X86_64, "aarch64": _GENERIC, "riscv64": _GENERIC}.get(platform.machine(), {})
"""The calls that a process waits in, by this machine's numbers (the kernel's syscall tables)."""

ON_A_FILE = frozenset(
    {
        "read", "write", "readv", "writev", "pread64", "pwrite64", "ioctl", "connect", "accept", "accept4",
        "sendto", "recvfrom", "sendmsg", "recvmsg", "recvmmsg", "fcntl", "flock", "fsync", "fdatasync", "close",
    }
)  # fmt: skip
"""Those whose first argument is a file descriptor: it says what is waited for."""


def wait(pid: int, tid: int, *, target: bool = False) -> dict[str, Any]:
    """``{state, wchan, syscall, fd, target}`` of one thread; what cannot be read is None.

    ``target``: also look up what the descriptor is: a path, ``pipe:[…]``, or a connection's two ends.
    """
    base = f"/proc/{pid}/task/{tid}"
    name, fd = _syscall(base)
    stat = _read(f"{base}/stat", 4096).rpartition(b")")[2].split()
    place = decoded(_read(f"{base}/wchan", 256), 64).strip()
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
    if link.startswith("socket:["):
        return connection(pid, link[8:-1]) or link
    return link


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


def _syscall(base: str) -> tuple[str | None, int | None]:
    """(name or number of the call, its descriptor); None while it runs, or where that may not be read."""
    fields = _read(f"{base}/syscall", 256).split()
    if len(fields) < 2 or not fields[0].isdigit():
        return None, None
    number = int(fields[0])
    name = NAMES.get(number, f"syscall {number}")
    return name, int(fields[1], 16) & 0xFFFFFFFF if name in ON_A_FILE else None


def _read(path: str, bytes_max: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(bytes_max)
    except OSError:  # not ours to read, or gone
        return b""
