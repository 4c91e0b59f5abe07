"""The supervisor's side of the orphan killer (orphan_killer.py), which is started when a program first needs it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

from banken_supervisor.processes.handle import ProcessHandle
from banken_supervisor.programs import orphan_killer

_SCRIPT = Path(orphan_killer.__file__)


class OrphanKiller:
    """Tells the orphan killer which runs are to die with this process. Safe from any thread; not for the loop's.

    One that was killed is replaced at the next message, and gets all messages again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._runs: dict[str, str] = {}
        """by mark: the lines that the orphan killer must know"""

    def expect(self, run: str) -> None:
        """A process with this mark will be started next. OSError: nothing would kill it; do not start it."""
        with self._lock:
            self._runs[run] = f"+{run}\n"
            self._send(self._runs[run])

    def watch(self, run: str, process: ProcessHandle) -> None:
        """The process was started."""
        with self._lock:
            line = f"={run} {process.pid} {process.start}\n"
            self._runs[run] += line
            with contextlib.suppress(OSError):  # its mark is known already
                self._send(line)

    def release(self, run: str) -> None:
        """The process has ended."""
        with self._lock:
            if self._runs.pop(run, None) is not None and self._process is not None:
                with contextlib.suppress(OSError):
                    self._write(f"-{run}\n")

    def close(self) -> None:
        """This process is about to end: the orphan killer does its work now."""
        with self._lock:
            if self._process is not None:
                self._close_input()
                self._process.returncode = 0  # it outlives this process, which does not wait for it

    def _send(self, line: str) -> None:
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(OSError):
                self._write(line)
                return
        self._close_input()
        self._process = None  # should there be no other, nothing is written to the closed input of this one
        # -I -S: it needs the standard library only, and starts in a fraction of the time. A session of its own:
        # what is sent to the supervisor's group does not reach it.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", str(_SCRIPT), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for lines in self._runs.values():
            self._write(lines)

    def _close_input(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def _write(self, lines: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        os.write(self._process.stdin.fileno(), lines.encode("ascii"))
