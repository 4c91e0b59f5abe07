"""Runs one command for a check, on the loop: bounded in time and output, and nothing of it is left behind.

The command leads a session of its own. It is not collected before its group was killed: until then its number means
no other group. What has left the session is found by its mark (``BANKEN_RUN``), where there is a sign of it: the
command took too long, its output is still held open, or its orphans came to this process, which is a subreaper.
What has removed the mark, too, is found as an orphan (leftovers.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from time import monotonic
from typing import NamedTuple

from banken.process_identity import process_start
from banken_supervisor.actions.running_command import HeadAndTail
from banken_supervisor.checks.leftovers import Leftovers
from banken_supervisor.checks.subject import Subject
from banken_supervisor.files.users import find_user, may_run_as
from banken_supervisor.processes import launch
from banken_supervisor.processes.child_environment import inherited, of_user
from banken_supervisor.processes.command_words import why_not
from banken_supervisor.processes.run_processes import RunProcesses
from banken_supervisor.processes.scan import COMMAND_RUN, WITHIN, look
from banken_supervisor.text.durations import format_s
from banken_supervisor.text.sanitize import last_lines

OUTPUT_MAX = 64 * 1024
"""Bytes of output that are kept: the first half and the last."""

READ = 64 * 1024

FLOOD_BYTES = 16 * 1024 * 1024
"""A command that writes more is killed: it will not end."""

DRAIN_S = 0.1
"""Seconds that output is read after the end of the command: what it started may hold the pipe for ever."""

REAP_S = 0.05
"""Seconds that the end of a killed command is awaited; what takes longer is collected at a later run."""

RESERVE = 0.1
"""Share of the limit that is kept for killing, at most ``RESERVE_S`` seconds."""

RESERVE_S = 0.25

_SET_CHILD_SUBREAPER = 36


class Command(NamedTuple):
    """What is to be run."""

    arguments: tuple[str, ...]
    limit: float
    """seconds for all of it"""
    user: str | None = None
    """as whom"""
    env: Mapping[str, str] = {}
    """variables beside those that it inherits"""
    cwd: str = "/"


class CommandEnd(NamedTuple):
    """How a command ended."""

    status: int | None
    """negative: a signal; None: it did not run, or was killed; ``output`` then says why"""
    output: str


_late: list[subprocess.Popen[bytes]] = []
"""killed, and not collected yet"""

_leftovers = Leftovers()


async def run_command(wanted: Command, subject: Subject) -> CommandEnd:
    """Run it until it ends, or its time is over. The rest of what it started is killed."""
    _be_subreaper()
    _collect_late()
    command, name = wanted.arguments, wanted.arguments[0]
    outer = os.environ.get("BANKEN_RUN")  # whoever ends what runs the checks ends their commands, too
    run = (outer + WITHIN if outer else COMMAND_RUN) + os.urandom(16).hex()
    try:
        account = None if wanted.user is None else find_user(wanted.user)
        if not may_run_as(wanted.user):
            return CommandEnd(None, f"{name} is not run: only root may run a command as {wanted.user}")
        user = None
        if account is not None and not os.geteuid():  # only root may set groups, even its own
            groups = tuple(os.getgrouplist(account.pw_name, account.pw_gid))
            user = launch.User(account.pw_uid, account.pw_gid, groups)
        environment = inherited(other_user=user is not None) | of_user(account) | dict(wanted.env)
        environment |= {"BANKEN_CHECK": subject.name, "BANKEN_CHECK_PID": str(subject.pid), "BANKEN_RUN": run}
        process = launch.start(
            command,
            None,
            user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=wanted.cwd,
            start_new_session=True,
        )
    except LookupError:
        return CommandEnd(None, f"{wanted.user} is no user of this host")
    except OSError as fault:
        if fault.filename == wanted.cwd:
            return CommandEnd(None, f"{name} cannot be run in {wanted.cwd}: {fault.strerror}")
        return CommandEnd(None, f"{name} cannot be run: {why_not(command, fault, os.environ, wanted.cwd)}")
    time = wanted.limit - min(RESERVE_S, wanted.limit * RESERVE)
    with contextlib.closing(_Run(process, run)) as running:
        try:
            async with asyncio.timeout(time):
                await running.ended
                running.clean = True
        except TimeoutError:
            said = running.last_line()
            return CommandEnd(None, f"{name} did not end within {format_s(wanted.limit)} and was killed{said}")
        if running.flooded:
            return CommandEnd(None, f"{name} wrote more than {FLOOD_BYTES // 2**20} MiB and was killed")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await running.end_of_output
        running.close()
        return CommandEnd(process.returncode, running.output.text())


class _Run:
    """One process, its output, and its end. ``close`` kills what is left."""

    def __init__(self, process: subprocess.Popen[bytes], run: str) -> None:
        assert process.stdout is not None
        self.output = HeadAndTail(OUTPUT_MAX)
        self.flooded = False
        self.clean = False
        """whether it has ended by itself"""
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.end_of_output: asyncio.Future[None] = self._loop.create_future()
        self._process = process
        self._start = process_start(process.pid)
        self._run = run
        self._pipe = process.stdout
        self._pidfd = -1
        self._closed = False
        _leftovers.began(process.pid, self._start)
        os.set_blocking(self._pipe.fileno(), False)
        self._loop.add_reader(self._pipe.fileno(), self._read)
        try:
            self._pidfd = os.pidfd_open(process.pid)
        except OSError:
            self.close()
            raise
        self._loop.add_reader(self._pidfd, self._end)

    def last_line(self) -> str:
        """What it said last, for people; empty: nothing."""
        lines = last_lines(self.output.text(), 1)
        return f"; it said last: {lines[0]}" if lines else ""

    def close(self) -> None:
        """Kill what is left, collect it, and give the descriptors back."""
        if self._closed:
            return
        self._closed = True
        _leftovers.ended(self._process.pid)
        held_open = not self.end_of_output.done()
        self._loop.remove_reader(self._pipe.fileno())
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
        process = self._process
        try:
            if not self.clean or held_open or _has_orphans(self._run):
                self._kill_all()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # its leader is not collected
            try:
                process.wait(REAP_S)
            except subprocess.TimeoutExpired:
                _late.append(process)
            _leftovers.kill([each.pid for each in _late])
        finally:
            self._pipe.close()
            if self._pidfd >= 0:
                os.close(self._pidfd)
            for future in (self.ended, self.end_of_output):
                future.cancel()

    def _kill_all(self) -> None:
        """What carries the mark, or descends from what does, whatever session it is in."""
        found: set[int] = set()
        with contextlib.closing(RunProcesses(self._run, self._process.pid, self._start)) as started:
            handles = started.find()  # before the command ends: then it no longer has descendants
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            until = monotonic() + REAP_S
            while handles and monotonic() < until:
                found.update(handle.pid for handle in handles)
                started.signal(signal.SIGKILL)
                for handle in handles:
                    handle.wait(until - monotonic())
                handles = started.find()
        for pid in found:  # those that came to us when their parents had ended
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def _end(self) -> None:
        self._loop.remove_reader(self._pidfd)
        if not self.ended.done():
            self.ended.set_result(None)

    def _read(self) -> None:
        try:
            some = os.read(self._pipe.fileno(), READ)
        except BlockingIOError:
            return
        except OSError:
            some = b""
        if some:
            self.output.add(some)
            if self.output.total > FLOOD_BYTES and not self.flooded:
                self.flooded = True
                self._loop.remove_reader(self._pipe.fileno())
                if not self.ended.done():
                    self.ended.set_result(None)
            return
        self._loop.remove_reader(self._pipe.fileno())
        if not self.end_of_output.done():
            self.end_of_output.set_result(None)


def _collect_late() -> None:
    _late[:] = [each for each in _late if each.poll() is None]


def _be_subreaper() -> None:
    """Orphans of a command come to this process, and are noticed."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _has_orphans(run: str) -> bool:
    """Whether an orphan carries this mark."""
    found = _leftovers.orphans(())
    return any((seen := look(each.pid)) is not None and seen.run == run for each in found)
