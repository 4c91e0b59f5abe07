"""``exec``: run a command, with the incident in its environment and as JSON on its stdin.

A list of arguments and never a shell. The command leads a session and group of its own; what takes too long is
ended with all that it forked. That the incident ends meanwhile does not end the command: half a repair is worse
than one too many.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import threading
from time import monotonic, sleep

from banken_supervisor.actions import options
from banken_supervisor.actions.base import Action, Outcome, Subject, World
from banken_supervisor.actions.head_and_tail import Kept
from banken_supervisor.actions.sanitize import line
from banken_supervisor.text import incident_text

OUTPUT_MAX = 64 * 1024
"""Bytes of output that are kept, stdout and stderr together."""

DRAIN_S = 0.5
"""Seconds that output is still read after the command's end: something it forked may hold the pipe for ever."""

TERM_S = 1.0
"""Seconds between SIGTERM and SIGKILL for a command that took too long."""

READ = 64 * 1024

NAP_S = 0.002
"""Seconds between two reads once more has come than is kept: endless output must not eat a core."""

TICK_S = 0.05
"""Seconds between two looks at whether the command has ended, where the system has no pidfd."""


class Exec(Action):
    """``command``: the list of its arguments. ``timeout``: seconds. ``output_max``: bytes of output kept."""

    name = "exec"
    outside = True

    def __init__(self, *, command: list[str], timeout: float = 30.0, output_max: int = OUTPUT_MAX) -> None:
        self._command = options.argv(command, "command")
        self._timeout = options.seconds(timeout, "timeout", 0.1, 3600)
        self._output_max = options.whole(output_max, "output_max", 1000, 256 * 1024)
        self.limit_s = self._timeout + TERM_S + DRAIN_S + 10

    def run(self, subject: Subject, world: World, ended: threading.Event) -> Outcome:
        """Run it to its end, or to the end of its time. Exit status 0 is success."""
        try:
            # The operator's own command, from the config only.
            process = subprocess.Popen(  # noqa: S603
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=incident_text.environment(subject),
                start_new_session=True,
            )
        except OSError as fault:
            return Outcome(False, f"{self._command[0]!r} cannot be started: {_why(fault)}")
        with _Run(process, self._output_max) as run:
            run.feed(json.dumps(incident_text.facts(subject)).encode() + b"\n")
            run.until_exit(monotonic() + self._timeout)
            return self._outcome(run)

    def _outcome(self, run: _Run) -> Outcome:
        timed_out = not run.exited
        if timed_out:
            run.kill()
        run.drain(DRAIN_S)
        code = run.reap()
        data = {"timed_out": timed_out, "output": run.kept.text(), "output_bytes": run.kept.total}
        if code is None:
            return Outcome(False, f"{self._command[0]} outlived SIGKILL after its {self._timeout:g} s", data)
        data |= {"status": code} if code >= 0 else {"signal": _signal_name(-code)}
        if timed_out:
            return Outcome(False, f"{self._command[0]} took longer than {self._timeout:g} s and was killed", data)
        how = f"exit status {code}" if code >= 0 else f"ended by {_signal_name(-code)}"
        last = line(run.kept.text().strip().rpartition("\n")[2], 200) if code else ""
        return Outcome(code == 0, f"{self._command[0]}: {how}{': ' if last else ''}{last}", data)


class _Run:
    """One running command, its pipes without blocking."""

    def __init__(self, process: subprocess.Popen[bytes], output_max: int) -> None:
        self.kept = Kept(output_max)
        self.exited = False
        self._keep_max = output_max
        self._process = process
        self._input = b""
        self._pidfd: int | None = None
        self._selector = selectors.DefaultSelector()
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        os.set_blocking(self._stdout.fileno(), False)

    def __enter__(self) -> _Run:
        try:
            if hasattr(os, "pidfd_open"):
                self._pidfd = os.pidfd_open(self._process.pid)
                self._selector.register(self._pidfd, selectors.EVENT_READ)
            self._selector.register(self._stdout, selectors.EVENT_READ)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.returncode is None:  # something failed here: it must not run on unwatched
            self._signal(signal.SIGKILL)
            self.reap()
        self._selector.close()
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        if self._pidfd is not None:
            os.close(self._pidfd)

    def feed(self, data: bytes) -> None:
        """Have this written to its stdin, as fast as it reads."""
        self._input = data
        self._selector.register(self._stdin, selectors.EVENT_WRITE)

    def until_exit(self, deadline: float) -> None:
        """Serve the pipes until the command has ended or its time is up."""
        while not self.exited and (left := deadline - monotonic()) > 0:
            self._serve(left)

    def drain(self, seconds: float) -> None:
        """Read what is left, at most for so long; less when the pipe is empty and the command has ended."""
        deadline = monotonic() + seconds
        while self._stdout in self._registered() and (left := deadline - monotonic()) > 0:
            self._serve(left)

    def kill(self) -> None:
        """End it and all of its group. It is not reaped before, so its number belongs to nobody else."""
        self._signal(signal.SIGTERM)
        self.until_exit(monotonic() + TERM_S)
        self._signal(signal.SIGKILL)
        self.until_exit(monotonic() + TERM_S)

    def reap(self) -> int | None:
        """Its exit code as Popen has it; None: it does not end."""
        try:
            return self._process.wait(5)
        except subprocess.TimeoutExpired:
            return None

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _registered(self) -> list[object]:
        return [key.fileobj for key in self._selector.get_map().values()]

    def _serve(self, seconds: float) -> None:
        if self._pidfd is None:
            seconds = min(seconds, TICK_S)
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._stdin:
                self._write()
            elif key.fileobj is self._stdout:
                self._read()
            else:
                self.exited = True
                self._selector.unregister(key.fileobj)
        if self._pidfd is None and self._process.poll() is not None:
            self.exited = True

    def _write(self) -> None:
        try:
            self._input = self._input[os.write(self._stdin.fileno(), self._input) :]
        except BlockingIOError:
            return
        except OSError:  # it does not read, which is its right
            self._input = b""
        if not self._input:
            self._selector.unregister(self._stdin)
            with contextlib.suppress(OSError):
                self._stdin.close()

    def _read(self) -> None:
        try:
            some = os.read(self._stdout.fileno(), READ)
        except BlockingIOError:
            return
        if not some:
            self._selector.unregister(self._stdout)
            return
        self.kept.add(some)
        if self.kept.total > self._keep_max:
            sleep(NAP_S)


def _why(fault: OSError) -> str:
    if isinstance(fault, FileNotFoundError):
        return "there is no such command, or not the interpreter that its first line names"
    return str(fault.strerror or fault)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
