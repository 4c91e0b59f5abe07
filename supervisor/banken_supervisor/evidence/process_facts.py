"""What the kernel says about a process, and what each of its threads waits for there: the system call, its file or
connection, the place. Its environment is never read: secrets are kept there.

By psutil as far as it goes. It knows no system call, wait channel, state's letter, exit status, tracer, signal sets
and cgroups; its connections are those of its own network namespace, not of the process's; its CPU times have ticks
of 10 ms, too coarse for a tenth of a second; and its ``threads()`` reads a file for each thread.
"""

from __future__ import annotations

import os
import platform
import resource
import socket
import struct
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
