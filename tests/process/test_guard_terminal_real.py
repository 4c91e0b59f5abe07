"""``banken guard`` in a terminal: its command can use it as if the shell had started it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from banken_supervisor.runtime.signals import ONE_CAUSE_S
from process.kit import START_S, until
from process.program_kit import state

pytestmark = pytest.mark.process

GUARD = f"{sys.executable} -m banken_supervisor guard"
WATCHES_SIZE = (
    "import os, signal, sys, time\n"
    "signal.signal(signal.SIGWINCH, lambda *_: os.write(1, b'resized\\n'))\n"
    "print('ready', flush=True)\n"
    "while True: time.sleep(0.05)\n"
)


class Shell:
    """An interactive shell in a terminal of its own, with a directory for temporary files."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.seen = self.all = b""
        self.pid, self.fd = pty.fork()
        if not self.pid:  # pragma: no cover  (another process)
            environment = {**os.environ, "TMPDIR": str(place), "PS1": "prompt> ", "ENV": "/dev/null"}
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            os.execve("/bin/sh", ["sh", "-i"], environment)
        self.sees("prompt> ")

    def type(self, keys: str) -> None:
        """Press these; what is seen counts from here."""
        self.seen = b""
        os.write(self.fd, keys.encode())

    def sees(self, text: str) -> None:
        """Wait until this was written to the terminal since the last keys."""
        deadline = time.monotonic() + START_S
        while text.encode() not in self.seen:
            left = deadline - time.monotonic()
            shown = self.all.decode(errors="replace")
            assert left > 0, f"the terminal does not show {text!r}; all it has shown:\n{shown}"
            if select.select([self.fd], [], [], left)[0]:
                self.read()

    def read(self) -> None:
        """What is to be read now, or next."""
        new = os.read(self.fd, 65536)
        self.seen += new
        self.all += new

    def script(self, name: str, text: str) -> str:
        """The path of a file with this text."""
        (self.place / name).write_text(text)
        return str(self.place / name)

    def pid_in(self, name: str) -> int:
        """The number in a file that a command has written."""
        path = self.place / name
        until(lambda: path.exists() and path.read_text().strip(), f"{name} is written", START_S)
        return int(path.read_text())

    def mode(self) -> Any:
        return termios.tcgetattr(self.fd)

    def close(self) -> None:
        """End it; the hang-up ends what runs in it."""
        os.close(self.fd)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture
def shell() -> Iterator[Shell]:
    with tempfile.TemporaryDirectory(prefix="bkt-") as place:
        one = Shell(Path(place))
        try:
            yield one
        finally:
            one.close()


def test_a_command_asks_for_a_secret(shell: Shell) -> None:
    """It opens /dev/tty, switches the echo off and reads, although its input and output are pipes."""
    asks = shell.script("asks.py", "import getpass\nprint('got', getpass.getpass('secret? '), flush=True)\n")
    shell.type(f": | {GUARD} -- {sys.executable} {asks} | cat; echo o''ver\n")
    shell.sees("secret? ")
    shell.type("inu\n")
    shell.sees("over")
    assert b"got inu" in shell.seen
    assert shell.seen.count(b"inu") == 1


def test_a_changed_size_is_told(shell: Shell) -> None:
    """While the guard is in the foreground, and when the command is."""
    watches = shell.script("watches.py", WATCHES_SIZE + "")
    reads = WATCHES_SIZE.replace("while True: time.sleep(0.05)", "print('line', sys.stdin.readline(), flush=True)")
    for script in (watches, shell.script("reads.py", reads)):
        shell.type(f"{GUARD} -- {sys.executable} {script}\n")
        shell.sees("ready")
        until(lambda: _is_told_of_a_size(shell), "the guard knows its command", START_S)  # it may be quicker
        shell.seen = b""
        for columns in (90, 91):
            fcntl.ioctl(shell.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
            shell.sees("resized")
            shell.seen = b""
        shell.type("x\n" if script != watches else "\x03")
        shell.sees("prompt> ")


@pytest.mark.parametrize("reads", [False, True])
def test_ctrl_z_stops_both_and_fg_continues_both(shell: Shell, reads: bool) -> None:
    """The shell comes back; nothing is judged meanwhile; afterwards the command runs on, and Ctrl-C ends it."""
    first = "print('line', sys.stdin.readline(), flush=True)\n" if reads else ""
    # No shell script: dash uses vfork, and one that is stopped before the exec keeps its parent from stopping.
    text = f"import os, signal, sys, time\nopen('{shell.place}/pid', 'w').write(str(os.getpid()))\n{first}"
    text += "signal.signal(signal.SIGWINCH, lambda *_: os.write(1, b'resized\\n'))\n"
    loops = shell.script("loops.py", text + "while True:\n    print('tick', flush=True)\n    time.sleep(0.05)\n")
    shell.type(f"{GUARD} -- {sys.executable} {loops}\n")
    pid = shell.pid_in("pid")
    if reads:
        until(lambda: os.tcgetpgrp(shell.fd) == pid, "it has the terminal", START_S)
        shell.type("wan\n")
        shell.sees("line wan")
    until(lambda: _is_told_of_a_size(shell), "the guard knows its command", START_S)
    for _ in range(2):
        shell.type("\x1a")
        shell.sees("prompt> ")
        until(lambda: state(pid) == "T", "the command is stopped, too", START_S)
        shell.type("fg\n")
        shell.sees("tick")
        until(lambda: state(pid) != "T", "the command goes on", START_S)
    shell.type("\x03")
    shell.sees("prompt> ")
    until(lambda: state(pid) in "ZX", "the command has ended", START_S)


def test_modes_that_a_killed_command_leaves_are_undone(shell: Shell) -> None:
    """Even one that is killed while it has the terminal in raw mode."""
    before = shell.mode()
    raw = shell.script("raw", "stty raw -echo; echo r''eady; kill -9 $$\n")
    shell.type(f"{GUARD} -- sh {raw}; stty -a > {shell.place}/after; echo o''ver\n")
    shell.sees("over")
    assert " icanon" in (shell.place / "after").read_text()
    assert " echo " in (shell.place / "after").read_text()
    assert before[3] & termios.ICANON == shell.mode()[3] & termios.ICANON


def test_ctrl_c_at_a_prompt_ends_the_guard_too(shell: Shell) -> None:
    """The key reaches the command alone; that it died of it is no failure to restart after."""
    reads = shell.script("reads", f"echo $$ > {shell.place}/pid; read line\n")
    shell.type(f"{GUARD} --restart -- sh {reads}; echo code $?\n")
    pid = shell.pid_in("pid")
    until(lambda: os.tcgetpgrp(shell.fd) == pid, "it has the terminal", START_S)
    shell.type("\x03")
    shell.sees("code 130")
    assert b"starts again" not in shell.seen


def test_the_modes_are_undone_too_when_a_second_signal_kills_at_once(shell: Shell) -> None:
    """The command lets the first one pass, and leaves the terminal in raw mode."""
    script = f"trap 'echo x > {shell.place}/got' TERM; stty raw -echo; echo $PPID > {shell.place}/guard; "
    raw = shell.script("raw", script + "while :; do sleep 0.05; done\n")
    shell.type(f"{GUARD} -- sh {raw}; echo code $?; stty -a > {shell.place}/after; echo o''ver\n")
    guard = shell.pid_in("guard")
    os.kill(guard, signal.SIGTERM)
    until((shell.place / "got").exists, "the command has the first", START_S)
    time.sleep(ONE_CAUSE_S)  # sooner it would not be a second one
    os.kill(guard, signal.SIGTERM)
    shell.sees("over")
    assert b"code 137" in shell.seen
    assert " icanon" in (shell.place / "after").read_text()
    assert " echo " in (shell.place / "after").read_text()


def test_a_hang_while_its_job_has_the_terminal_is_restarted_and_the_modes_undone(shell: Shell) -> None:
    """As `bash -ic` does: the job is a group of its own, and in the foreground when both are killed. The next run
    can have the terminal, and afterwards it is the shell's."""
    text = f"""
import os, time, tty
tty.setraw(0)
job = os.fork()
if not job:
    time.sleep(1000)
os.setpgid(job, job)
os.tcsetpgrp(0, job)
open("{shell.place}/guard", "w").write(str(os.getppid()))
open("{shell.place}/runs", "a").write("x")
time.sleep(1000)
"""
    gives = shell.script("gives.py", text)
    options = '--restart --budget "1000 per 1h" --timeout 2s --grace 2s'
    shell.type(f"{GUARD} {options} -- {sys.executable} -IS {gives}; stty -a > {shell.place}/after; echo o''ver\n")
    guard, runs = shell.pid_in("guard"), shell.place / "runs"
    until(lambda: len(runs.read_text()) > 1, "the next run has the terminal", START_S)
    os.kill(guard, signal.SIGTERM)
    shell.sees("over")
    assert b"Stopped" not in shell.seen
    assert " icanon" in (shell.place / "after").read_text()


def _is_told_of_a_size(shell: Shell) -> bool:
    lines = 20 + time.monotonic_ns() % 50
    fcntl.ioctl(shell.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 80, 0, 0))
    until = time.monotonic() + 0.3  # the command itself is never quiet
    while time.monotonic() < until and select.select([shell.fd], [], [], 0.1)[0]:
        shell.read()
    return b"resized" in shell.seen
