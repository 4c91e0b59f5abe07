"""Starts a command with the attributes of a fresh login, or those that were asked for, whatever this process has.

A supervisor may run with realtime priority, be the last that the kernel kills when memory is short, and raise its
limit of descriptors: what it watches must not inherit that. Popen sets session, directory, umask and user; the rest
is set from outside, by pid, before the command runs. For that a launcher (launcher.py) has its place until all is
set, and then becomes the command: with the same pid, session, output and mark. That takes about 10 ms; where
nothing differs, the command is started directly.

Why not otherwise: code between fork and exec (preexec_fn) may hang in a process with threads. What is set after the
command began comes too late for one that reads its limits, or forks, at once. To lower our own limit for a moment
could end us (libzmq). A shell, or prlimit, cannot say why the command could not be run.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from banken_supervisor.engine.policy import ProcessAttributes
from banken_supervisor.processes import descriptor_limit, launcher

_SCRIPT = os.path.abspath(launcher.__file__)

_RESET_ON_FORK = 0x40000000
"""SCHED_RESET_ON_FORK, a flag beside the policy."""

LINUX = sys.platform == "linux"


class AttributeRefused(Exception):
    """An attribute that was asked for cannot be set; the text says which and why, for people."""


class User(NamedTuple):
    """As whom a command runs. The names are those of Popen."""

    user: int
    group: int
    extra_groups: tuple[int, ...]


class _Change(NamedTuple):
    """What a process would inherit of this thread otherwise than it is to be."""

    what: str
    asked: bool
    """False: what this process may not change stays as it is"""
    set: Callable[[int], object]
    """by the pid of the process"""

    def apply(self, pid: int) -> None:
        try:
            self.set(pid)
        except (OSError, ValueError, psutil.Error) as fault:
            if self.asked:
                why = getattr(fault, "strerror", None) or str(fault)
                raise AttributeRefused(f"its {self.what} cannot be set: {why}") from None


def start(
    command: Sequence[str],
    attributes: ProcessAttributes | None,
    user: User | None = None,
    given: tuple[int, int] | None = None,
    **options: Any,
) -> subprocess.Popen[bytes]:
    """The process of the command. ``attributes``: None: as this process was given them. ``given``: a descriptor of
    this process, and the number under which the command has it. ``options``: of Popen.

    OSError: the command cannot be run, as of Popen. AttributeRefused.
    """
    changes = list(_limit_changes({}) if attributes is None else _changes(attributes)) if LINUX else []
    if attributes is not None:
        options["umask"] = attributes.umask
    resets = LINUX and attributes is not None and _has_signals_off()
    if changes or resets or given or "WATCHDOG_USEC" in (options.get("env") or ()):  # the launcher adds its own pid
        try:
            return _launch(command, changes, user, options, given, resets=resets)
        except _NoLauncher as fault:
            if given or any(change.asked for change in changes):
                raise AttributeRefused(f"its attributes cannot be set: {fault}") from None
    return subprocess.Popen(command, **(user._asdict() if user else {}), **options)  # noqa: S603  # the caller's


def refused(attributes: ProcessAttributes) -> str | None:
    """Why a process cannot have these attributes; None: it can. Nothing is run."""
    try:
        changes = [change for change in _changes(attributes) if change.asked] if LINUX else []
        if changes:
            _launch((), changes, None, {})
    except (AttributeRefused, _NoLauncher, OSError) as fault:
        return str(fault)
    return None


class _NoLauncher(Exception):
    """The launcher does not run; the text says why."""


def _launch(
    command: Sequence[str],
    changes: Sequence[_Change],
    user: User | None,
    options: dict[str, Any],
    given: tuple[int, int] | None = None,
    *,
    resets: bool = False,
) -> subprocess.Popen[bytes]:
    """Without a command nothing becomes of the launcher, which has ended then."""
    ids = "" if user is None else f"{user.user}:{user.group}:{','.join(map(str, user.extra_groups))}"
    ours, its = socket.socketpair()
    with ours:
        with its:
            number = its.fileno()
            # -I -S -X utf8: it needs the standard library only, and its arguments stay the bytes that they were.
            fds = "" if given is None else f"{given[0]}:{given[1]}"
            told = (str(number), ids, fds, "reset" if resets else "")
            argv = [sys.executable, "-I", "-S", "-X", "utf8", _SCRIPT, *told, *command]
            kept = (number,) if given is None else (number, given[0])
            try:
                process = subprocess.Popen(argv, pass_fds=kept, **options)  # noqa: S603  # ourselves
            except OSError as fault:
                if fault.filename == sys.executable:
                    raise _NoLauncher(f"{sys.executable}: {fault.strerror}") from None
                raise
        try:
            if not ours.recv(1):
                raise _NoLauncher(f"{sys.executable} ended before it could run the launcher")
            for change in changes:
                change.apply(process.pid)
            if command:
                ours.sendall(b"g")
                if number_of_fault := ours.recv(16):
                    fault_number = int(number_of_fault)
                    raise OSError(fault_number, os.strerror(fault_number))
                return process
        except BaseException:
            with process:
                process.kill()
            raise
    with process:
        return process


def _has_signals_off() -> bool:
    """Whether a process would inherit that signals are blocked, or ignored: of this thread, or of whatever started
    this process (``nohup``, a ``&`` of a script). Popen sees to the two that Python ignores itself."""
    ignored = (number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN)
    return bool({*ignored} - {signal.SIGPIPE, signal.SIGXFSZ} or signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def _changes(attributes: ProcessAttributes) -> Iterator[_Change]:
    """Compared with what this thread has: a process inherits of the thread that makes it."""
    if os.sched_getscheduler(0) & ~_RESET_ON_FORK != os.SCHED_OTHER:
        yield _Change(
            "scheduling", False, lambda pid: os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
        )
    nice, asked = attributes.nice or 0, attributes.nice is not None
    if os.getpriority(os.PRIO_PROCESS, 0) != nice:
        yield _Change(f"nice value {nice}", asked, lambda pid: os.setpriority(os.PRIO_PROCESS, pid, nice))
    # Of "best effort" some kernels say that it was set where it was not.
    if psutil.Process().ionice().ioclass in (psutil.IOPRIO_CLASS_RT, psutil.IOPRIO_CLASS_IDLE):
        yield _Change("I/O priority", False, lambda pid: psutil.Process(pid).ionice(psutil.IOPRIO_CLASS_NONE))
    adj, asked = attributes.oom_score_adj or 0, attributes.oom_score_adj is not None
    if int(Path("/proc/self/oom_score_adj").read_text()) != adj:
        yield _Change(f"oom_score_adj {adj}", asked, partial(_set_oom_score_adj, adj))
    yield from _limit_changes({name: (soft, hard) for name, soft, hard in attributes.rlimits})


def _limit_changes(limits: Mapping[str, tuple[int, int]]) -> Iterator[_Change]:
    """This process may have raised its own limit of descriptors: that is not for what it starts."""
    for name, limit in {"nofile": descriptor_limit.given(), **limits}.items():
        number = getattr(resource, f"RLIMIT_{name.upper()}")
        if resource.getrlimit(number) != limit:
            soft, hard = ("unlimited" if each == resource.RLIM_INFINITY else each for each in limit)
            what = f"limit {name} of {soft} (soft) and {hard} (hard)"
            yield _Change(what, name in limits, partial(_set_limit, number, limit))


def _set_oom_score_adj(value: int, pid: int) -> None:
    Path(f"/proc/{pid}/oom_score_adj").write_text(str(value))


def _set_limit(number: int, limit: tuple[int, int], pid: int) -> None:
    resource.prlimit(pid, number, limit)
