"""``banken run`` as a process of its own, and everything that it started, found by its address."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from process.kit import START_S, Home, until
from process.program_kit import state


class Running:
    """One place: a config, an address, and the supervisors that a test runs there."""

    def __init__(self, place: Path, config: str) -> None:
        self.place = place
        self.address = str(place / "a")
        self.log = place / "log"
        self.home = Home(self.address)
        self.told = place / "told"
        """where the test's programs may write"""
        place.joinpath("banken.toml").write_text(config.replace("@PLACE@", str(place)) or "[supervisor]\n")
        self._started: list[subprocess.Popen[bytes]] = []

    def run(self, *options: str, under: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Start a supervisor, and wait until it answers. ``under``: what starts it."""
        command = [*under, sys.executable, "-m", "banken_supervisor", "run", "-c", "banken.toml", *options]
        environment = {"HOME": str(self.place), "PATH": os.environ["PATH"], "BANKEN_ADDRESS": self.address}
        if "PYTHONPATH" in os.environ:  # this checkout's sources, where others are installed
            environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=self.place
            )
        self._started.append(process)
        until(self._answers, "it answers", START_S)
        return process

    def stop(self) -> None:
        """End the supervisor that was started last, in order; its programs run on."""
        self._started[-1].terminate()
        self._started[-1].wait(START_S)

    def kill(self) -> None:
        """kill -9 of the supervisor that was started last; its programs run on."""
        self._started[-1].kill()
        self._started[-1].wait(START_S)

    def program(self, name: str) -> dict[str, Any]:
        """Its row."""
        return next(row for row in self.home.ask("programs")["rows"] if row["name"] == name)

    def up(self, name: str) -> int:
        """The pid of its process, once it has one."""
        return until(lambda: self.program(name)["pid"], f"{name} runs", START_S)

    def ask(self, what: str, name: str) -> None:
        """Start, stop or restart one program, and wait until that is done."""
        self.home.ask("program", what=what, name=name)
        wanted = "stopped" if what == "stop" else "running"
        until(lambda: self.program(name)["state"] == wanted, f"{name} is {wanted}", START_S)

    def watchdogs(self) -> dict[str, dict[str, Any]]:
        """The rows of all, by name."""
        return {row["name"]: row for row in self.home.ask("status")["rows"]}

    def lines(self) -> list[str]:
        """What the programs have written to ``told``."""
        return self.told.read_text().splitlines() if self.told.exists() else []

    def commands(self, start: str) -> list[str]:
        """The command lines of live processes that begin so. ``start`` must be the test's alone."""
        return sorted(text for _, text in self.live(start))

    def live(self, start: str) -> list[tuple[int, str]]:
        """The same, with their pids."""
        found = []
        for entry in filter(str.isdecimal, os.listdir("/proc")):
            with suppress(OSError):
                text = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if text.startswith(start) and state(int(entry)) not in "ZX":
                    found.append((int(entry), text.strip()))
        return found

    def close(self) -> None:
        """End all supervisors, and all processes that carry the address."""
        self.home.close()
        for process in self._started:
            process.kill()
            process.wait(10)
        end_marked(f"BANKEN_ADDRESS={self.address}")

    def _answers(self) -> bool:
        assert self._started[-1].poll() is None, self.log.read_text()
        with suppress(Exception):
            return bool(self.home.ask("ping"))
        return False


def end_marked(mark: str) -> None:
    """End all processes that carry this text in their environment."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        left = []
        for entry in filter(str.isdecimal, os.listdir("/proc")):
            with suppress(OSError):
                if mark.encode() in Path(f"/proc/{entry}/environ").read_bytes() and state(int(entry)) not in "ZX":
                    left.append(int(entry))
        if not left:
            return
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


@contextmanager
def running(config: str, *options: str, under: tuple[str, ...] = ()) -> Iterator[Running]:
    """A supervisor with this config, in which @PLACE@ is its directory; everything is ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="bkr-") as place:
        one = Running(Path(place), config)
        try:
            one.run(*options, under=under)
            yield one
        finally:
            one.close()


def table(name: str, command: list[str], **fields: Any) -> str:
    """A [[program]] of the config."""
    rows = {"name": name, "command": command, "backoff": "50ms..200ms", **fields}
    return "[[program]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in rows.items())
