"""The supervisor's end of its guard (guard.py), which is started when a program first needs it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

_SCRIPT = Path(__file__).with_name("guard.py")


class OrphanKiller:
    """Tells the guard which runs are to die with this process. Safe from any thread, not for the loop's.

    A guard that was killed is replaced when it is next told something, and told everything again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._runs: dict[str, str] = {}
        """by mark: the lines that the guard must know"""

    def expect(self, run: str) -> None:
        """A process with this mark is about to be made. OSError: there is no guard, and it must not be made."""
        with self._lock:
            self._runs[run] = f"+{run}\n"
            self._say(self._runs[run])

    def watch(self, run: str, pid: int, start: int) -> None:
        """It was made."""
        with self._lock:
            line = f"={run} {pid} {start}\n"
            self._runs[run] += line
            with contextlib.suppress(OSError):  # its mark is known already
                self._say(line)

    def release(self, run: str) -> None:
        """It is gone."""
        with self._lock:
            if self._runs.pop(run, None) is not None and self._process is not None:
                with contextlib.suppress(OSError):
                    self._write(f"-{run}\n")

    @property
    def pid(self) -> int | None:
        """The guard's process; None: none was needed so far."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """This process is about to end, and the guard is to do its work now."""
        with self._lock:
            if self._process is not None:
                assert self._process.stdin is not None
                with contextlib.suppress(OSError):
                    self._process.stdin.close()
                self._process.returncode = 0  # it outlives us; nobody waits for it

    def _say(self, line: str) -> None:
        if self._process is not None and self._process.poll() is None:
            try:
                self._write(line)
            except OSError:
                pass
            else:
                return
        self._engage()
        for lines in self._runs.values():
            self._write(lines)

    def _engage(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        # -I -S: it needs the standard library only, and starts in a fraction of the time. A session of its own:
        # whatever is sent to the supervisor's group does not reach it.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", str(_SCRIPT), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _write(self, lines: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        os.write(self._process.stdin.fileno(), lines.encode("ascii"))
