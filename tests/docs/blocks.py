"""The fenced blocks of a page, and somebody who types them.

A comment before a block says how it is typed:

    <!-- terminal -->          in a terminal of its own, where it runs on
    <!-- shows: this, that -->   again and again until the output shows all of these
    <!-- ctrl-c -->            (without a block) Ctrl-C in all those terminals

A block of Python or TOML whose first line is ``# NAME.py`` or ``# NAME.toml`` is saved as that file.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

READY_S = 20.0
"""Until a supervisor answers, or a command shows what it should."""

COMMAND_S = 30.0
"""Within this, a block ends that is not in a terminal of its own."""

ENDS_S = 3.0
"""Within this, all that was started has ended."""

_block = re.compile(r"^```(\w*)\n(.*?)^```$|^<!-- (terminal|ctrl-c|shows: [^>]*) -->$", re.MULTILINE | re.DOTALL)
_file = re.compile(r"# ([\w-]+\.(?:py|toml))\n")


@dataclass(frozen=True)
class Block:
    """One fenced block. ``language`` is empty for a Ctrl-C."""

    language: str
    text: str
    line: int
    terminal: bool = False
    shows: tuple[str, ...] = ()

    @property
    def file(self) -> str | None:
        """The file as which it is to be saved."""
        named = _file.match(self.text) if self.language in ("python", "toml") else None
        return None if named is None else named[1]

    @property
    def script(self) -> str:
        """What is typed, for bash."""
        if self.language == "console":
            return "\n".join(line[2:] for line in self.text.splitlines() if line.startswith("$ "))
        return self.text


def blocks(page: Path) -> Iterator[Block]:
    """Of one page, in their order."""
    text = page.read_text(encoding="utf-8")
    terminal, shows = False, ()
    for found in _block.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        mark = found[3]
        if mark == "terminal":
            terminal = True
        elif mark == "ctrl-c":
            yield Block("", "", line)
        elif mark:
            shows = tuple(each.strip() for each in mark.removeprefix("shows:").split(","))
        else:
            yield Block(found[1], found[2], line, terminal, shows)
            terminal, shows = False, ()


class Newcomer:
    """Types blocks in a directory of its own, with a new home and nothing else in the environment.

    ``checkout`` stands for the project's directory: it has the ``.venv`` that the tests run in.
    """

    def __init__(self, room: Path, port: int) -> None:
        self.home = room / "h"
        self.home.mkdir()
        (room / "run").mkdir(mode=0o700)
        checkout = room / "c"
        checkout.mkdir()
        (checkout / ".venv").symlink_to(sys.prefix)
        self._port = str(port)
        self._cwd = str(checkout)
        self._environment = {
            "HOME": str(self.home),
            "PATH": f"{checkout}/.venv/bin:/usr/local/bin:/usr/bin:/bin",
            "XDG_RUNTIME_DIR": str(room / "run"),  # as a login gives it
        }
        self._state = room / "state"
        self._terminals: list[subprocess.Popen[bytes]] = []
        self._log = room / "terminals.log"

    def type(self, block: Block) -> None:
        """Do what the block says; AssertionError: it failed, or did not show what it should."""
        if not block.language:
            self.interrupt()
        elif block.file is not None:
            Path(self._cwd, block.file).write_text(block.text, encoding="utf-8")
        elif block.terminal:
            self._start(block)
        else:
            self._run(block)

    def interrupt(self) -> None:
        """Ctrl-C in each terminal; all of them end by it."""
        for each in self._terminals:
            if each.poll() is None:
                os.killpg(each.pid, signal.SIGINT)
        for each in self._terminals:
            try:
                each.wait(READY_S)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"Ctrl-C does not end {each.args} within {READY_S} s:\n{self.log()}") from None
        self._terminals.clear()

    def leave(self) -> list[str]:
        """End everything that does not end by itself; the command lines of that."""
        until = time.monotonic() + ENDS_S
        while left := [each for each in psutil.process_iter() if self._is_ours(each)]:
            if time.monotonic() >= until:
                break
            time.sleep(0.05)
        lines = [" ".join(each.cmdline()) for each in left]
        for each in left:
            each.kill()
        psutil.wait_procs(left, 10)
        for terminal in self._terminals:
            terminal.wait(10)
        return lines

    def log(self) -> str:
        """What the terminals printed."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("HOME") == str(self.home)
        except psutil.Error:
            return False

    def _command(self, block: Block) -> tuple[list[str], bytes]:
        text = block.script.replace("7768", self._port)
        if block.language == "python":
            return ["python", "-"], text.encode()
        after = f'\npwd >"{self._state}"; printf %s "$PATH" >>"{self._state}"'
        return ["bash", "-euo", "pipefail", "-c", text + ("" if block.terminal else after)], b""

    def _start(self, block: Block) -> None:
        command, typed = self._command(block)
        with self._log.open("ab") as log:
            terminal = subprocess.Popen(
                command,
                cwd=self._cwd,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # A terminal's Ctrl-C ends what runs there, whatever the tests themselves were told to ignore.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        self._terminals.append(terminal)
        assert terminal.stdin is not None
        terminal.stdin.write(typed)
        terminal.stdin.close()
        if "banken run" in block.text or "Supervisor" in block.text:
            self._wait_until_it_answers(terminal)

    def _wait_until_it_answers(self, terminal: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + READY_S
        while self._do(["banken", "status"], b"").returncode == 3:
            assert terminal.poll() is None, f"it ended with {terminal.returncode}:\n{self.log()}"
            assert time.monotonic() < until, f"no supervisor answers:\n{self.log()}"
            time.sleep(0.1)

    def _run(self, block: Block) -> None:
        command, typed = self._command(block)
        until = time.monotonic() + READY_S
        while True:
            try:
                done = self._do(command, typed)
            except subprocess.TimeoutExpired as late:
                so_far = (late.stdout or b"").decode(errors="replace")
                told = f"line {block.line}: {block.script}\n{so_far}\n{self.log()}"
                raise AssertionError(f"no end within {COMMAND_S} s, {told}") from None
            output = done.stdout.decode(errors="replace")
            told = f"line {block.line}: {block.script}\n{output}\n{self.log()}"
            assert done.returncode == 0, f"exit code {done.returncode}, {told}"
            missing = [each for each in block.shows if each not in output]
            if not missing:
                break
            assert time.monotonic() < until, f"{missing} not shown, {told}"
            time.sleep(0.5)
        if self._state.exists():
            self._cwd, self._environment["PATH"] = self._state.read_text().split("\n")

    def _do(self, command: list[str], typed: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            command,
            cwd=self._cwd,
            env=self._environment,
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_S,
            check=False,
        )
