"""One process, held by a pidfd, so that a reused pid is never taken for the process that had it before.

A process is identified by boot id, pid and start time. The start time is read *after* the pidfd was opened: if it
is the expected one, the descriptor means this process from then on. Needs pidfd_open, hence Linux.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
from typing import Self

from banken.process_identity import process_start
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.processes.namespaces import SPACE, pid_here
from banken_supervisor.processes.shortage import Shortage, is_shortage

SUPPORTED = hasattr(os, "pidfd_open") and any(SPACE)
"""Whether this system can identify a process for certain."""


_GET_INFO = 0xC040FF0B
"""PIDFD_GET_INFO of <linux/pidfd.h>: its answer is 64 bytes long."""

_INFO = struct.Struct("=QQ11Ii")
"""``struct pidfd_info``: mask, cgroup, eleven ids, and the status as wait() has it."""

_INFO_EXIT = 8
"""PIDFD_INFO_EXIT, Linux 6.15: the status of a process that was collected, by whomever."""


class ProcessError(Exception):
    """The process cannot be identified for certain now; whether it lives is not known. ``kind``: one word."""

    kind = "unknown"


class ProcessUnheld(ProcessError, Shortage):
    """The system has no descriptor or memory for a handle now; later it may."""


class ProcessRemote(ProcessError):
    """It runs on another host, or ran before the last boot."""

    kind = "remote"


class ProcessGone(ProcessError):
    """It has ended, and nothing of it is left."""

    kind = "gone"


class ProcessReplaced(ProcessGone):
    """It has ended, and its pid belongs to another process."""

    kind = "reused"


def _kernel_tells() -> bool:
    release = os.uname().release.split(".")
    with contextlib.suppress(ValueError, IndexError):
        return SUPPORTED and (int(release[0]), int(release[1])) >= (6, 15)
    return False


STATUS_KNOWN = _kernel_tells()
"""Whether the kernel tells how any process ended, child or not."""


def is_local(who: ProcessIdentity) -> bool:
    """Whether it is, or was, a process of this host's present boot that can be identified."""
    return SUPPORTED and who.start > 0 and pid_here(who) > 0


def real_user(pid: int) -> int | None:
    """The user id of a process, by the kernel's word and whatever its rights are now; None: there is none."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(b"Uid:"))
    except (OSError, StopIteration):
        return None


def runs_as(who: ProcessIdentity, uid: int) -> bool:
    """Whether this process of this host is there, and is the user's: the user itself may signal it."""
    pid = pid_here(who)
    return process_start(pid) == who.start and real_user(pid) == uid


def _unreadable(pid: int) -> ProcessError:
    """Why the start time of a process that lives was not found."""
    text = f"the start time of pid {pid} cannot be read from /proc"
    try:
        os.close(os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC))
    except OSError as fault:
        return (ProcessUnheld if is_shortage(fault) else ProcessError)(f"{text}: {fault.strerror}")
    return ProcessUnheld(f"{text}, and now it can")


class ProcessHandle:
    """A context manager that owns the descriptor. Not for several threads at once: each opens its own."""

    def __init__(self, pid: int, start: int, fd: int) -> None:
        """Use ``open`` or ``open_pid``."""
        self.pid = pid
        self.own_pid = pid
        """as it knows it itself, in its own pid namespace"""
        self.start = start
        """ticks since boot"""
        self._fd = fd

    @classmethod
    def open(cls, who: ProcessIdentity) -> Self:
        """The process that a worker names. ProcessRemote, ProcessGone, ProcessReplaced; ProcessError: not known."""
        if not SUPPORTED:
            raise ProcessError("this system has no pidfd or no boot id: a process cannot be identified for certain")
        if who.pid <= 0 or who.start <= 0:
            raise ProcessError(f"pid {who.pid} did not say when it started: it may be any process")
        pid = pid_here(who)
        if not pid:
            where = "on another host or boot, or in a container where it was not found"
            raise ProcessRemote(f"pid {who.pid} runs {where}: it cannot be looked at from here")
        handle = cls.open_pid(pid, who.start)
        handle.own_pid = who.pid
        return handle

    @classmethod
    def open_pid(cls, pid: int, start: int | None = None) -> Self:
        """The process ``pid`` that started at ``start``, ticks since boot; None: whichever has the pid now.

        Raises as ``open`` does.
        """
        try:
            fd = os.pidfd_open(pid)
        except (ProcessLookupError, OverflowError):  # a number that no process can have
            raise ProcessGone(f"pid {pid} has ended and left nothing to look at") from None
        except (OSError, ValueError) as fault:
            raise (ProcessUnheld if is_shortage(fault) else ProcessError)(
                f"pid {pid} cannot be held: {getattr(fault, 'strerror', fault)}"
            ) from None
        found = process_start(pid)
        handle = cls(pid, found, fd)
        if found and start in (None, found):
            return handle
        with handle:
            if not found and handle.alive:
                raise _unreadable(pid)
        if not found:
            raise ProcessGone(f"pid {pid} has ended and left nothing to look at")
        raise ProcessReplaced(
            f"pid {pid} is another process by now (started at tick {found}, not {start}): nothing of it is read"
        )

    def fileno(self) -> int:
        """Becomes readable when the process ends."""
        return self._fd

    @property
    def alive(self) -> bool:
        """Whether it has not ended; a zombie has."""
        return not self.wait(0.0)

    @property
    def owns_pid(self) -> bool:
        """Whether the pid still means this process: it lives, or is a zombie."""
        return self.alive or process_start(self.pid) == self.start

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds`` for its end; whether it has ended."""
        poll = select.poll()  # select() takes no descriptor above 1023
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def signal(self, number: int) -> bool:
        """Send a signal to exactly this process; False: it has ended. PermissionError: it is another user's."""
        try:
            signal.pidfd_send_signal(self._fd, number)
        except ProcessLookupError:
            return False
        return True

    def exit_status(self) -> int | None:
        """Collect an ended child of this process; its status, or minus the signal; None: it cannot be known."""
        try:
            result = os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:  # another thread waited for it, SIGCHLD is ignored, or it is no child
            return None
        if result is None:
            return None
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status

    def ended_with(self) -> int | None:
        """How it ended, child or not: its status, or minus the signal; None: it lives, or that cannot be known.

        The kernel tells it of what was collected; of a zombie, /proc does. It may be collected in between.
        """
        for ask in (self._collected_with, self._zombie_with, self._collected_with):
            status = ask()
            if status is not None:
                return status
        return None

    def _collected_with(self) -> int | None:
        answer = bytearray(_INFO.size)
        _INFO.pack_into(answer, 0, _INFO_EXIT, *[0] * 13)
        try:
            fcntl.ioctl(self._fd, _GET_INFO, answer)
        except OSError:  # an older kernel
            return None
        mask, *_, status = _INFO.unpack(answer)
        return os.waitstatus_to_exitcode(status) if mask & _INFO_EXIT else None

    def _zombie_with(self) -> int | None:
        """The status is 0 for whoever may not see it."""
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{self.pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
            if fields[0] == b"Z" and int(fields[19]) == self.start:
                status = int(fields[49])
                if status or self._shows_its_status():
                    return os.waitstatus_to_exitcode(status)
        return None

    def _shows_its_status(self) -> bool:
        """Whether we may see that of a zombie: it is of our own user and group, or we may trace any."""
        with open(f"/proc/{self.pid}/status", "rb") as file:
            words = {line.split()[0]: set(line.split()[1:]) for line in file if line.startswith((b"Uid:", b"Gid:"))}
        own = {b"Uid:": {b"%d" % os.geteuid()}, b"Gid:": {b"%d" % os.getegid()}}
        if words == own:
            return True
        with open(f"/proc/{self.pid}/io", "rb") as file:  # for others it takes the same right as the status does
            return bool(file.read())

    def close(self) -> None:
        """Give the descriptor back. May be called again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()
