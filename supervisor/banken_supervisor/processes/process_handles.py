"""ProcessHandles that are known for certain, looked at and signalled from any thread.

As in lives.py, a process is known by boot id, pid and start time, and the start time is compared *after* its pidfd
was opened: from then on the descriptor means this process and no other. Here it is opened for each call, so that
the executor's threads share nothing with the loop. Needs pidfds, hence Linux; elsewhere every process is one that
is not known.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator

from banken.process_identity import boot_id, process_start
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.processes.process_group import ProcessGroup

_STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "uninterruptible wait",
    "T": "stopped",
    "t": "stopped by a debugger",
    "Z": "zombie",
    "X": "dead",
    "I": "idle",
}


class ProcessHandles:
    """The processes of this host and this boot."""

    def __init__(self) -> None:
        self._boot = boot_id()
        self._able = hasattr(os, "pidfd_open") and any(self._boot)

    def here(self, who: ProcessIdentity) -> bool:
        """Whether it is, or was, one of this host's present boot that can be known for certain."""
        return self._able and who.boot == self._boot and who.start > 0 and who.pid > 0

    def alive(self, who: ProcessIdentity) -> bool:
        """Whether it has not ended. A zombie has."""
        with self._opened(who) as fd:
            return fd is not None and not _readable(fd, 0.0)

    def signal(self, who: ProcessIdentity, number: int) -> bool:
        """Send a signal to exactly this process; False: it has ended, is not known here, or is not to be touched.

        Pid 1 and the supervisor itself are never signalled. PermissionError: it belongs to another user.
        """
        if who.pid in (1, os.getpid()):
            return False
        with self._opened(who) as fd:
            if fd is None or _readable(fd, 0.0):
                return False
            try:
                signal.pidfd_send_signal(fd, number)
            except ProcessLookupError:
                return False
            return True

    def wait_gone(self, who: ProcessIdentity, seconds: float) -> bool:
        """Wait for its end, at most so long; whether it came. True at once for one that is not known here."""
        with self._opened(who) as fd:
            return fd is None or _readable(fd, seconds)

    def state(self, who: ProcessIdentity) -> str:
        """Its state in words and what it waits for in the kernel; ``gone`` when it is."""
        with self._opened(who) as fd:
            if fd is None:
                return "gone"
            letter = _read(who.pid, "stat").rpartition(")")[2].strip()[:1]
            wait = _read(who.pid, "wchan").strip("\0\n 0")
            words = f"{letter} ({_STATES.get(letter, 'unknown')})" if letter else "unknown"
            return f"{words} in {wait}" if wait else words

    def group(self, who: ProcessIdentity) -> ProcessGroup | None:
        """The group that it leads; None: it leads none, has ended, or the supervisor is in it."""
        if who.pid in (1, os.getpid(), os.getpgid(0)):
            return None
        with self._opened(who) as fd:
            if fd is None or _readable(fd, 0.0):
                return None
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(who.pid) == who.pid:
                    return ProcessGroup(who.pid, who.start)
            return None

    @contextlib.contextmanager
    def _opened(self, who: ProcessIdentity) -> Iterator[int | None]:
        """A pidfd of exactly this process; None: there is no such process (any more)."""
        fd = self._open(who)
        try:
            yield fd
        finally:
            if fd is not None:
                os.close(fd)

    def _open(self, who: ProcessIdentity) -> int | None:
        if not self.here(who):
            return None
        try:
            fd = os.pidfd_open(who.pid)
        except ProcessLookupError:
            return None
        start = process_start(who.pid)
        if start == who.start:
            return fd
        gone = start != 0 or _readable(fd, 0.0)
        os.close(fd)
        if not gone:  # /proc is hidden or no descriptor is left: not to know is not to take for dead
            raise OSError(f"the start time of pid {who.pid} cannot be read from /proc")
        return None


def _readable(fd: int, seconds: float) -> bool:
    poll = select.poll()  # select() takes no descriptor above 1023
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))


def _read(pid: int, what: str) -> str:
    try:
        with open(f"/proc/{pid}/{what}", "rb") as file:
            return file.read(4096).decode("utf-8", "backslashreplace")
    except OSError:
        return ""
