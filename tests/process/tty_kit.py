"""A terminal that a command of ours runs in: what it draws is read, keys are typed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from contextlib import suppress
from typing import Any

from process.kit import START_S

_escapes = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]")

QUIET_S = 0.05
"""Seconds of silence after which a drawing is taken for whole."""

ENTER_SCREEN, LEAVE_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"


class Tty:
    """``banken ARGUMENT …`` in a terminal of its own, of so many columns and lines."""

    def __init__(self, *args: object, columns: int = 100, lines: int = 24, **environment: str) -> None:
        ours, self.theirs = pty.openpty()
        self.fd = ours
        self._resize(columns, lines)
        self.first_mode = termios.tcgetattr(self.theirs)
        self.output = b""
        self.pid = os.fork()
        if self.pid == 0:  # pragma: no cover  (another process)
            os.setsid()
            fcntl.ioctl(self.theirs, termios.TIOCSCTTY, 0)
            for number in (0, 1, 2):
                os.dup2(self.theirs, number)
            os.closerange(3, 256)
            told = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment}
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
            os.execve(sys.executable, [sys.executable, "-m", "banken_supervisor", *map(str, args)], told)

    def sees(self, text: str, timeout: float = START_S) -> str:
        """Wait until the terminal shows this; the whole of what it shows then."""
        return self.until(lambda shown: text in shown, repr(text), timeout)

    def until(self, condition: Any, what: str, timeout: float = START_S) -> str:
        """Wait until ``condition(what is shown)``."""
        deadline = time.monotonic() + timeout
        while True:
            while not condition(self.shown()):
                left = deadline - time.monotonic()
                assert left > 0, f"the terminal does not show {what}, but:\n{self.shown()}"
                self._read(min(left, 0.5))
            while self._read(QUIET_S):  # the rest of the drawing, or the beginning of the next
                pass
            if condition(shown := self.shown()):
                return shown

    def shown(self) -> str:
        """What the last drawing has put on the screen."""
        drawn = self.output.rpartition(b"\x1b[H")[2]
        return _escapes.sub(b"", drawn).replace(b"\r", b"").decode(errors="replace")

    def type(self, keys: str) -> None:
        """Press these."""
        os.write(self.fd, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """As when the user drags the corner of the window."""
        self._resize(columns, lines)  # the kernel tells its foreground group by SIGWINCH

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def hang_up(self) -> None:
        """As when the user closes the window."""
        os.close(self.theirs)
        os.close(self.fd)
        self.fd = -1

    def mode(self) -> Any:
        """The terminal's settings as they are now."""
        return termios.tcgetattr(self.theirs)

    def ended(self, timeout: float = START_S) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        deadline = time.monotonic() + timeout
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if self.fd < 0:
                time.sleep(0.01)
            else:
                self._read(0.0 if pid else 0.02)
            if pid:
                self.pid = 0
                while self.fd >= 0 and self._read(0.0):
                    pass
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, f"it still runs after {timeout} s, and shows:\n{self.shown()}"

    def close(self) -> None:
        """End it and give everything back."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self.fd >= 0:
            self.hang_up()

    def __enter__(self) -> Tty:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self, seconds: float) -> bool:
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        self.output += os.read(self.fd, 65536)
        return True
