"""A command that runs, with a limit on its time and on what is kept of its output."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import closing
from time import monotonic, sleep
from typing import Any

from banken.process_identity import process_start
from banken_supervisor.engine.policy import ProcessAttributes
from banken_supervisor.processes import launch
from banken_supervisor.processes.handle import SUPPORTED, ProcessError, ProcessHandle
from banken_supervisor.processes.run_processes import RunProcesses
from banken_supervisor.processes.scan import COMMAND_RUN
from banken_supervisor.processes.shortage import patiently

READ = 64 * 1024

NAP_S = 0.002
"""Seconds between two reads once more has come than is kept: endless output must not use a whole core."""

TICK_S = 0.02
"""Seconds between two checks whether the command has ended; the end of its output is noticed at once."""

TERM_S = 1.0
"""Seconds between SIGTERM and SIGKILL for a command that took too long."""


class HeadAndTail:
    """Keeps at most ``limit`` bytes of an output that may have no end: the first half and the last."""

    def __init__(self, limit: int) -> None:
        self.total = 0
        """bytes that were given"""
        self._limit = limit
        self._kept = bytearray()

    def add(self, some: bytes) -> None:
        self.total += len(some)
        self._kept += some
        if len(self._kept) > 2 * self._limit:
            self._trim()

    def text(self) -> str:
        """What was kept; where something is missing, a line says how much."""
        self._trim()
        kept, half, missing = bytes(self._kept), self._limit // 2, self.total - len(self._kept)
        if missing:
            kept = b"%b\n[%d bytes left out]\n%b" % (kept[:half], missing, kept[half:])
        return kept.decode("utf-8", "backslashreplace")

    def _trim(self) -> None:
        half = self._limit // 2
        del self._kept[half : half + max(0, len(self._kept) - self._limit)]


class RunningCommand:
    """One command in a session of its own, and its output. It is not reaped before ``reap``: until then its
    number names no other process group."""

    def __init__(self, process: subprocess.Popen[bytes], output_max: int, run: str) -> None:
        """``run``: the mark in its environment."""
        assert process.stdout is not None
        self.got_away: list[str] = []
        """after ``kill``: what of all that it started still lives, in words"""
        self.is_lost = False
        """whether it has ended and was collected elsewhere: the program that embeds us ignores SIGCHLD, or waits
        for all children. Its number may be another process's by now."""
        self._handle: ProcessHandle | None = None
        if SUPPORTED:
            with contextlib.suppress(ProcessError):
                self._handle = ProcessHandle.open_pid(process.pid)
        self._run = run
        self.output = HeadAndTail(output_max)
        self._output_max = output_max
        self._process = process
        self._stdout = process.stdout
        self._open = True
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)

    @classmethod
    def start(
        cls, command: Sequence[str], output_max: int, environment: Mapping[str, str], **options: Any
    ) -> RunningCommand:
        """Start it, in a session of its own, with a mark by which all that it starts is found, and with the
        attributes of a login. OSError.

        ``options``: of Popen.
        """
        run = COMMAND_RUN + os.urandom(16).hex()
        process = patiently(
            lambda: launch.start(
                command,
                ProcessAttributes(),
                stdout=subprocess.PIPE,
                env={**environment, "BANKEN_RUN": run},
                start_new_session=True,
                **options,
            )
        )
        return cls(process, output_max, run)

    def __enter__(self) -> RunningCommand:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.returncode is None:  # something failed here: it must not run on unwatched
            self._signal(signal.SIGKILL)
            self.reap()
        self._stdout.close()
        if self._handle is not None:
            self._handle.close()

    def wait(self, seconds: float) -> bool:
        """Read its output for at most so long; whether it has ended."""
        deadline = monotonic() + seconds
        while not self._has_ended():
            if (left := deadline - monotonic()) <= 0:
                return False
            self._read(min(left, TICK_S))
        return True

    def drain(self, seconds: float) -> None:
        """Read what is left, for at most so long."""
        deadline = monotonic() + seconds
        while self._open and (left := deadline - monotonic()) > 0:
            self._read(left)

    def kill(self) -> None:
        """End it and all that it started, also where it has ended itself."""
        until = monotonic() + TERM_S
        pid = self._process.pid
        start = process_start(pid)  # it is not reaped
        with closing(RunProcesses(self._run, pid, start)) as started:
            started.find()  # before the command ends: then it no longer has descendants
            self._signal(signal.SIGTERM)
            started.signal(signal.SIGTERM)
            self.wait(TERM_S)
            self._signal(signal.SIGKILL)
            self.got_away = started.end(signal.SIGTERM, until)
            self.wait(TERM_S)

    def reap(self) -> int | None:
        """Its exit status; negative: the signal that ended it. None: it does not end, or that is not known
        (``is_lost``)."""
        told = self._status_by_kernel()
        try:
            collected = self._process.wait(5)  # 0, too, where there is nothing to collect
        except subprocess.TimeoutExpired:
            return None
        told = self._status_by_kernel() if told is None else told
        return collected if told is None and not self.is_lost else told

    def _status_by_kernel(self) -> int | None:
        return None if self._handle is None else self._handle.ended_with()

    def _signal(self, number: int) -> None:
        if self._process.returncode is None and not self.is_lost:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                # The others of its group are found where there is /proc, and get it once.
                (os.kill if SUPPORTED else os.killpg)(self._process.pid, number)

    def _has_ended(self) -> bool:
        if not hasattr(os, "waitid"):
            return self._process.poll() is not None
        if self.is_lost:
            return True
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            self.is_lost = True
            return True

    def _read(self, seconds: float) -> None:
        if not self._open:
            sleep(seconds)
        elif self._poll.poll(seconds * 1000):
            some = os.read(self._stdout.fileno(), READ)
            self._open = bool(some)
            self.output.add(some)
            if self.output.total > self._output_max:
                sleep(NAP_S)
