"""Starts one process, so that no fault of it reaches the supervisor.

It leads a session and a process group of its own: a signal to the supervisor's group or terminal does not reach it,
and its whole group can be ended. Its input is /dev/null and its output goes straight into the log file, never
through a pipe to the supervisor: a supervisor that is stopped cannot block it and one that dies cannot kill it.
One with ``terminal`` has the supervisor's own input and output instead, and its terminal, if there is one (``banken
guard``).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from banken_supervisor.engine.policy import ProgramSpec
from banken_supervisor.files.users import find_user
from banken_supervisor.processes import child_environment, environment_file
from banken_supervisor.processes.command_words import why_not
from banken_supervisor.processes.handle import ProcessError, ProcessHandle
from banken_supervisor.processes.launch import AttributeRefused, User, start
from banken_supervisor.programs.log_files import open_log


class SpawnRefused(Exception):
    """The process could not be made; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process of a program."""

    name: str
    run: str
    """its mark: BANKEN_RUN in its environment"""
    handle: ProcessHandle
    """its pid is also its group's number"""
    own: bool
    """a child of this process, whose status it gets; False: adopted"""


def spawn(spec: ProgramSpec, run: str, extra: Mapping[str, str], ready: int = -1) -> Child:
    """Start the program's process, with ``extra`` and the mark in its environment. SpawnRefused. ``ready``: what it
    gets as the descriptor of ``spec.ready``; it is closed here.

    May block on a disk that hangs: not for the loop's thread. The caller owns ``Child.handle`` and must be the only
    one to wait for the process.
    """
    try:
        return _spawn(spec, run, extra, ready)
    finally:
        if ready >= 0:
            os.close(ready)


def _spawn(spec: ProgramSpec, run: str, extra: Mapping[str, str], ready: int) -> Child:
    if not hasattr(os, "pidfd_open"):
        raise SpawnRefused("programs need pidfd, which this system lacks")
    entry = _entry(spec.user) if spec.user is not None or spec.env_clear else None
    user = None if spec.user is None or entry is None else _user(entry)
    environment = {**_environment(spec, entry), **extra, **dict(spec.environment), "BANKEN_RUN": run}
    _look_at_directory(spec.directory)
    owner = None if user is None else (user.user, user.group)
    output = None if spec.terminal else subprocess.DEVNULL if spec.log is None else _output(spec.log, owner)
    try:
        process = start(
            spec.command,
            spec.attributes,
            user,
            stdin=None if spec.terminal else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=spec.directory,
            given=None if spec.ready is None or spec.ready.fd is None else (ready, spec.ready.fd),
            # A process that is to have our terminal must be of our session; its group is its own all the same.
            **{"process_group": 0} if spec.terminal and _has_terminal() else {"start_new_session": True},
        )
    except AttributeRefused as fault:
        raise SpawnRefused(str(fault)) from None
    except (OSError, ValueError, subprocess.SubprocessError) as fault:
        raise SpawnRefused(_reason(spec, fault, environment)) from None
    finally:
        if output is not None and spec.log is not None:
            os.close(output)
    # Only its handle is waited for: Popen must neither poll for it later nor warn that it runs.
    process.returncode = 0
    try:
        return Child(spec.name, run, ProcessHandle.open_pid(process.pid), True)
    except ProcessError as fault:  # no descriptor is left: it cannot be watched, so it must not run
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        with contextlib.suppress(ChildProcessError):  # what embeds us ignores SIGCHLD, or waits for all children
            os.waitpid(process.pid, 0)
        raise SpawnRefused(f"its process cannot be watched: {fault}") from None


def variables(name: str, timeout: float | None) -> dict[str, str]:
    """What a program's environment says of its watchdog. ``timeout``: seconds, None: it need not feed."""
    found = {"BANKEN_NAME": name}
    if timeout is not None:
        found |= {"BANKEN_TIMEOUT": f"{timeout:g}", "WATCHDOG_USEC": f"{timeout * 1e6:.0f}"}
    return found


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _output(path: str, owner: tuple[int, int] | None) -> int:
    """A descriptor that appends to the log. SpawnRefused."""
    try:
        return open_log(path, owner)
    except OSError as fault:
        raise SpawnRefused(f"its log {path} cannot be opened: {fault.strerror}") from None


def _entry(name: str | None) -> pwd.struct_passwd | None:
    """Of the user with this name, or of this process's, which need not have one. SpawnRefused."""
    try:
        return pwd.getpwuid(os.geteuid()) if name is None else find_user(name)
    except LookupError:
        if name is None:
            return None
        raise SpawnRefused(f"there is no user {name!r} on this system") from None


def _user(entry: pwd.struct_passwd) -> User | None:
    """To run a program as this user; None: this process does already. SpawnRefused."""
    if os.geteuid() == entry.pw_uid and os.geteuid() != 0:
        return None
    if os.geteuid() != 0:
        raise SpawnRefused(f"only root may run a program as {entry.pw_name!r}")
    return User(entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))


def _environment(spec: ProgramSpec, entry: pwd.struct_passwd | None) -> dict[str, str]:
    """What the program gets, without what is set for it alone. SpawnRefused."""
    other = spec.user is not None and entry is not None and entry.pw_uid != os.geteuid()
    if spec.env_clear:
        found = child_environment.login(entry)
    else:
        found = child_environment.inherited(other_user=other, withheld=spec.withheld)
        found |= child_environment.of_user(entry if spec.user is not None else None)
    try:
        return found | environment_file.variables_of(spec)
    except ValueError as fault:
        raise SpawnRefused(f"its env_file {spec.env_file} {fault}") from None


def _look_at_directory(path: str | None) -> None:
    """SpawnRefused: it is no directory. A hung disk hangs here, where the interpreter lock is not held."""
    if path is None:
        return
    try:
        mode = os.stat(path).st_mode
    except OSError as fault:
        raise SpawnRefused(f"its directory {path} cannot be used: {fault.strerror}") from None
    if not stat.S_ISDIR(mode):
        raise SpawnRefused(f"its directory {path} is not a directory")


def _reason(spec: ProgramSpec, fault: Exception, environment: Mapping[str, str]) -> str:
    if isinstance(fault, OSError):
        if spec.directory is not None and fault.filename == spec.directory:
            return f"its directory {spec.directory} cannot be entered: {fault.strerror}"
        why = why_not(spec.command, fault, environment, spec.directory)
        return f"its command {spec.command[0]!r} cannot be run: {why}"
    return f"its command {spec.command[:1]!r} cannot be run: {fault}"
