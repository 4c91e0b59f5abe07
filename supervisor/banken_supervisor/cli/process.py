"""What a process needs that does nothing but supervise."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import io
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from tempfile import TemporaryDirectory, gettempdir
from types import FrameType

from banken_supervisor.processes import descriptor_limit, memory_limit
from banken_supervisor.processes.service_manager import ServiceManager

SWITCH_INTERVAL_S = 0.0005
"""A callback that computes gives the interpreter back to the loop after this long; the default is ten times it."""

GC_THRESHOLDS = (100_000, 50, 100)

MEANINGLESS = (
    "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR", "SIGSTKFLT", "SIGXCPU", "SIGEMT",
    "SIGLOST",
)  # fmt: skip
"""Signals that end a process by default, and come by mistake, from timers or from limits; as those of real time."""

_REALTIME = int(getattr(signal, "SIGRTMIN", 34))

DIRECTORY_MAX = 60
"""Characters of a temporary directory's name that leave room for the path of a Unix socket."""


def prepare() -> None:
    """Set this process up for supervising; call it before the supervisor is made."""
    hold_standard_descriptors()
    unblock_signals()
    if isinstance(sys.stdout, io.TextIOWrapper):  # what callbacks and actions print is to be in a file at once
        sys.stdout.reconfigure(line_buffering=True)
    _log_stacks_of_crashes()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    descriptor_limit.raise_limit()
    memory_limit.spare_address_space()
    # A full collection walks every object: with a million watchdogs it stops the loop for about a second, and
    # finds nothing, for watchdogs are freed by their reference counts. What is loaded by now stays for ever, so
    # it need not be walked at all; the rest rarely.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def unblock_signals() -> None:
    """Have signals come that whoever started this process has blocked: nothing else than SIGKILL would end it."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class _SignalStack(ctypes.Structure):
    """stack_t of sigaltstack(2)"""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


_SS_DISABLE = 2


def _log_stacks_of_crashes() -> None:
    """systemd's watchdog ends a process by SIGABRT: what held it is then in the log.

    faulthandler gives the main thread a stack of its own for signals, on which Python's handlers run, too. It is
    small: some ten signals at once overflow it, and end the process by SIGSEGV. So they run on the usual one.
    """
    faulthandler.enable(2)
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).sigaltstack(ctypes.byref(_SignalStack(None, _SS_DISABLE, 0)), None)


def disregard_signals(tell: Callable[[str], None]) -> None:
    """Have signals that mean nothing here end nothing. ``tell`` is called with a sentence, once for each signal, on
    the main thread between any two of its steps.

    They are handled and not ignored: what this process starts would inherit that.
    """
    told: set[int] = set()

    def handle(number: int, frame: FrameType | None) -> None:
        if number not in told:
            told.add(number)
            try:
                name = signal.Signals(number).name
            except ValueError:
                name = f"signal {number}"
            tell(f"{name} came, and means nothing here: SIGHUP reads the config again, SIGTERM ends")

    # What the system does not have, or gives nobody (the threads' own real-time signals), cannot be sent either.
    for number in signal.valid_signals() & {*_named(MEANINGLESS), *range(_REALTIME, _REALTIME + 31)}:
        with contextlib.suppress(OSError, ValueError):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, handle)


def _named(names: Iterable[str]) -> Iterator[int]:
    return (int(number) for name in names if (number := getattr(signal, name, None)) is not None)


def service_manager() -> tuple[ServiceManager | None, str]:
    """The manager that started this process, if one wants to hear of it; else why it cannot be told, or nothing.

    What this process starts from now on does not hear of the manager."""
    try:
        return ServiceManager.taken_from(os.environ), ""
    except (OSError, ValueError) as fault:
        return None, f"the service manager cannot be told that the supervisor turns: {fault}"


def private_directory(prefix: str) -> TemporaryDirectory[str]:
    """A directory for an address of one's own, with a path that Unix sockets can bear; removed in the end."""
    where = None if len(gettempdir()) <= DIRECTORY_MAX else "/tmp"  # noqa: S108  # private, and made afresh
    return TemporaryDirectory(prefix=prefix, dir=where, ignore_cleanup_errors=True)


def at_terminal() -> bool:
    """Whether a person sees what is written to stderr."""
    return sys.stderr is not None and sys.stderr.isatty()


def hold_standard_descriptors() -> None:
    """Open what a parent closed (``2>&-``): a socket must not get number 2 and receive our log lines."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number: this one
