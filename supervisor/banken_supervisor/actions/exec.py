"""``exec``: run a command, with the incident in its environment and as JSON on its stdin.

A list of arguments and never a shell. The command leads a session and group of its own; one that takes too long is
killed with everything that it forked. The end of the incident does not end the command: an unfinished repair is
worse than an unneeded one.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import threading
from time import monotonic, sleep
from typing import IO, Annotated

from pydantic import Field

from banken_supervisor.actions import incident_text, options
from banken_supervisor.actions.base import Action, ActionContext, ActionTarget, Outcome
from banken_supervisor.text.exit_status import exit_text, signal_name
from banken_supervisor.text.sanitize import line

OUTPUT_MAX = 64 * 1024
"""Bytes of output that are kept, stdout and stderr together."""

ARGUMENTS_MAX = 256

DRAIN_S = 0.5
"""Seconds that output is read after the command's end: a process that it forked may hold the pipe for ever."""

TERM_S = 1.0
"""Seconds between SIGTERM and SIGKILL for a command that took too long."""

READ = 64 * 1024

NAP_S = 0.002
"""Seconds between two reads once more has come than is kept: endless output must not use a whole core."""

TICK_S = 0.02
"""Seconds between two checks whether the command has ended; the end of its output is noticed at once."""


def _command(value: object) -> tuple[str, ...]:
    return options.command(value, most=ARGUMENTS_MAX)


def _output_max(value: object) -> int:
    return options.size(value, most=256 * 1024, shown="256 KiB")


class ExecOptions(options.Table):
    """Run a command, the incident in its environment and as JSON on its stdin."""

    command: Annotated[tuple[str, ...], *options.kind(_command, options.COMMAND)] = Field(
        description="The program and its arguments; no shell runs it."
    )
    timeout: Annotated[float, *options.seconds(0.1, 3600)] = Field(
        30.0, description="Then its whole process group is killed."
    )
    output_max: Annotated[int, *options.kind(_output_max, options.SIZE)] = Field(
        OUTPUT_MAX, description="How much of its output is kept; at most 256KiB."
    )


class Exec(Action):
    """Exit status 0 is success."""

    name = "exec"
    options_model = ExecOptions
    outside = True

    def __init__(self, options: ExecOptions) -> None:
        self._command = options.command
        self._timeout = options.timeout
        self._output_max = options.output_max
        self.limit_s = self._timeout + TERM_S + DRAIN_S + 10

    def run(self, target: ActionTarget, context: ActionContext, ended: threading.Event) -> Outcome:
        """Run it until it ends or its time is over."""
        with _input(json.dumps(incident_text.facts(target)).encode() + b"\n") as stdin:
            try:
                # The operator's own command, from the config only.
                process = subprocess.Popen(  # noqa: S603
                    self._command,
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=incident_text.environment(target),
                    start_new_session=True,
                )
            except OSError as fault:
                return Outcome(False, f"{self._command[0]!r} cannot be started: {_why(fault)}")
        with _Running(process, self._output_max) as running:
            return self._outcome(running)

    def _outcome(self, running: _Running) -> Outcome:
        timed_out = not running.wait(self._timeout)
        if timed_out:
            running.kill()
        running.drain(DRAIN_S)
        code = running.reap()
        output = running.output.text()
        data = {"timed_out": timed_out, "output": output, "output_bytes": running.output.total}
        command = self._command[0]
        if code is None:
            return Outcome(False, f"{command} outlived SIGKILL after its {self._timeout:g} s", data)
        data |= {"status": code} if code >= 0 else {"signal": signal_name(-code)}
        if timed_out:
            return Outcome(False, f"{command} took longer than {self._timeout:g} s and was killed", data)
        last = line(output.strip().rpartition("\n")[2], 200) if code else ""
        return Outcome(code == 0, f"{command}: {exit_text(code)}{': ' if last else ''}{last}", data)


class HeadAndTail:
    """Keeps at most ``limit`` bytes of an output that may have no end: the first half and the last."""

    def __init__(self, limit: int) -> None:
        self.total = 0
        """bytes that were given"""
        self._head_max = limit // 2
        self._tail_max = limit - self._head_max
        self._head = bytearray()
        self._tail = bytearray()

    def add(self, some: bytes) -> None:
        """Take the next bytes."""
        self.total += len(some)
        room = self._head_max - len(self._head)
        self._head += some[:room]
        self._tail += some[room:]
        if len(self._tail) > 2 * self._tail_max:
            self._trim()

    def text(self) -> str:
        """What was kept; where something is missing, a line says how much."""
        self._trim()
        missing = self.total - len(self._head) - len(self._tail)
        gap = b"\n[%d bytes left out]\n" % missing if missing else b""
        return (bytes(self._head) + gap + bytes(self._tail)).decode("utf-8", "backslashreplace")

    def _trim(self) -> None:
        del self._tail[: max(0, len(self._tail) - self._tail_max)]


class _Running:
    """One running command. It is not reaped before ``reap``, so its number names no other process group."""

    def __init__(self, process: subprocess.Popen[bytes], output_max: int) -> None:
        assert process.stdout is not None
        self.output = HeadAndTail(output_max)
        self._output_max = output_max
        self._process = process
        self._stdout = process.stdout
        self._open = True
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)

    def __enter__(self) -> _Running:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.returncode is None:  # something failed here: it must not run on unwatched
            self._signal(signal.SIGKILL)
            self.reap()
        self._stdout.close()

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
        """End it and all of its group."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._signal(number)
            self.wait(TERM_S)

    def reap(self) -> int | None:
        """Its exit status; negative: the signal that ended it. None: it does not end."""
        try:
            return self._process.wait(5)
        except subprocess.TimeoutExpired:
            return None

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _has_ended(self) -> bool:
        if not hasattr(os, "waitid"):
            return self._process.poll() is not None
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _read(self, seconds: float) -> None:
        if not self._open:
            sleep(seconds)
        elif self._poll.poll(seconds * 1000):
            some = os.read(self._stdout.fileno(), READ)
            self._open = bool(some)
            self.output.add(some)
            if self.output.total > self._output_max:
                sleep(NAP_S)


def _input(data: bytes) -> IO[bytes]:
    """A file that holds ``data``, in memory where the system can: a pipe would be filled while it is read."""
    memory = hasattr(os, "memfd_create")
    file = os.fdopen(os.memfd_create("incident"), "w+b") if memory else tempfile.TemporaryFile()  # noqa: SIM115
    file.write(data)
    file.seek(0)
    return file


def _why(fault: OSError) -> str:
    if isinstance(fault, FileNotFoundError):
        return "there is no such command, or not the interpreter that its first line names"
    return str(fault.strerror or fault)
