"""Looks at processes and signals them, from any thread but the loop's: each call has a handle of its own."""

from __future__ import annotations

import contextlib
import os

from banken.protocol.messages import ProcessIdentity
from banken_supervisor.processes.handle import ProcessError, ProcessGone, ProcessHandle, is_local
from banken_supervisor.processes.process_group import ProcessGroup
from banken_supervisor.processes.shortage import patiently

STATES = {
    "R": "running or ready to run",
    "S": "sleeping",
    "D": "in an uninterruptible wait in the kernel: no signal reaches it, not even SIGKILL",
    "T": "stopped by a signal",
    "t": "stopped by a debugger or tracer",
    "Z": "a zombie: it has ended and its parent has not collected it",
    "X": "dead",
    "I": "an idle kernel thread",
    "P": "parked",
}
"""What each of the kernel's letters means."""


class ProcessHandles:
    """The processes of this host and boot. OSError from all but ``here``: the process cannot be identified now."""

    def here(self, who: ProcessIdentity) -> bool:
        """Whether it is, or was, a process of this host's present boot that can be identified."""
        return is_local(who)

    def alive(self, who: ProcessIdentity) -> bool:
        """Whether it has not ended. A zombie has."""
        with _opened(who) as handle:
            return handle is not None and handle.alive

    def signal(self, who: ProcessIdentity, number: int) -> bool:
        """Send a signal to exactly this process; False: it has ended, is remote, or must not be signalled.

        Pid 1 and the supervisor itself are never signalled. PermissionError: it belongs to another user.
        """
        with _opened(who) as handle:
            if handle is None or handle.pid in (1, os.getpid()):
                return False
            return handle.alive and handle.signal(number)

    def wait_gone(self, who: ProcessIdentity, seconds: float) -> bool:
        """Wait at most ``seconds`` for its end; whether it has ended. True at once for one of another host."""
        with _opened(who) as handle:
            return handle is None or handle.wait(seconds)

    def state(self, who: ProcessIdentity) -> str:
        """Its state in words and what it waits for in the kernel; ``gone`` after its end."""
        with _opened(who) as handle:
            if handle is None:
                return "gone"
            letter = _read(handle.pid, "stat").rpartition(")")[2].strip()[:1]
            wait = _read(handle.pid, "wchan").strip("\0\n 0")
            words = f"{letter} ({STATES.get(letter, 'unknown')})" if letter else "unknown"
            return f"{words} in {wait}" if wait else words

    def group(self, who: ProcessIdentity) -> ProcessGroup | None:
        """The process group that it leads; None: it leads none, has ended, or the supervisor is a member."""
        with _opened(who) as handle, contextlib.suppress(ProcessLookupError):
            if handle is None or handle.pid in (1, os.getpid(), os.getpgid(0)):
                return None
            if handle.alive and os.getpgid(handle.pid) == handle.pid:
                return ProcessGroup(handle.pid, handle.start)
        return None


def _opened(who: ProcessIdentity) -> contextlib.AbstractContextManager[ProcessHandle | None]:
    """Its handle; None: it has ended or is not of this host. OSError: it may live, and cannot be identified."""
    if not is_local(who):
        return contextlib.nullcontext()
    try:
        return patiently(lambda: ProcessHandle.open(who))
    except ProcessGone:
        return contextlib.nullcontext()
    except ProcessError as fault:
        raise OSError(str(fault)) from None


def _read(pid: int, what: str) -> str:
    try:
        with open(f"/proc/{pid}/{what}", "rb") as file:
            return file.read(4096).decode("utf-8", "backslashreplace")
    except OSError:
        return ""
