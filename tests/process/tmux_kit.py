"""A real terminal: tmux, with a server of its own. Keys are sent, and the screen is read as a person would."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from process.kit import START_S

TMUX = shutil.which("tmux")


class Tmux:
    """``banken ARGUMENT …`` in a window of so many columns and lines; a shell is left when it has ended."""

    def __init__(self, *args: object, columns: int = 100, lines: int = 30, **environment: str) -> None:
        assert TMUX is not None
        self._directory = tempfile.TemporaryDirectory(prefix="bk-tmux-")
        self._socket = os.path.join(self._directory.name, "s")
        command = shlex.join([sys.executable, "-m", "banken_supervisor", *map(str, args)])
        told = {"LANG": "C.UTF-8", "PS1": "$ ", **os.environ, **environment}
        told = {key: value for key, value in told.items() if key not in ("TMUX", "TERM")}
        self._run(
            "-f", os.devnull, "new-session", "-d", "-x", str(columns), "-y", str(lines),
            "env", "-i", "TERM=screen-256color", *(f"{key}={value}" for key, value in told.items()),
            "sh", "-c", f'{command}; echo "exit code $?"; exec cat',
        )  # fmt: skip

    def shown(self, *, escapes: bool = False) -> str:
        """What is on the screen; with ``escapes`` the colours, too."""
        return self._run("capture-pane", "-p", *(["-e"] if escapes else []))

    def until(self, condition: Callable[[str], Any], what: str) -> str:
        """Wait until ``condition(the screen)``, and until all of the screen is drawn; the screen then."""
        deadline = time.monotonic() + START_S
        before = None
        while not condition(shown := self.shown()) or shown != before:
            assert time.monotonic() < deadline, f"the terminal does not show {what}, but:\n{shown}"
            before = shown
            time.sleep(0.05)
        return shown

    def sees(self, *texts: str) -> str:
        """Wait until all these are on the screen; the screen then."""
        return self.until(lambda shown: all(text in shown for text in texts), repr(texts))

    def press(self, *keys: str) -> None:
        """Press these, as tmux names them: ``Enter``, ``PageDown``, ``C-c``."""
        self._run("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type letters."""
        self._run("send-keys", "-l", text)

    def resize(self, columns: int, lines: int) -> None:
        """As when the corner of the window is dragged."""
        self._run("resize-window", "-x", str(columns), "-y", str(lines))

    def close(self) -> None:
        """End it, and all that runs in it."""
        self._run("kill-server", check=False)
        self._directory.cleanup()

    def _run(self, *args: str, check: bool = True) -> str:
        assert TMUX is not None
        done = subprocess.run(
            [TMUX, "-S", self._socket, *args], capture_output=True, text=True, timeout=START_S, check=False
        )
        assert not check or done.returncode == 0, f"tmux {args}: {done.stderr}"
        return done.stdout
