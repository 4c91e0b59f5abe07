"""The stage of ``banken demo``: its processes and their directory, and that nothing of them remains."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import IO, Any

from banken.address import resolve
from banken.errors import AddressRefused

LEAVE_S = 3.0
"""Seconds a process has to end by itself when its stdin ends, before it is killed."""

LOG_TAIL = 2000


class Actor:
    """One process of the demo. What it tells comes line by line from its stdout."""

    def __init__(self, role: str, *args: float, env: dict[str, str], log: IO[bytes]) -> None:
        self.role = role
        # -P: a file in the current directory is no module of ours. A session of its own: Ctrl-C in the terminal
        # goes to the demo alone, which sees to the others.
        self.process = subprocess.Popen(  # noqa: S603  # our own interpreter, our own module
            [sys.executable, "-P", "-m", "banken_supervisor.cli.demo_workers", role, *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=env,
            start_new_session=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        self._rest = b""
        os.set_blocking(self.fileno(), False)
        self.ended = False
        """whether it will tell nothing more"""

    def fileno(self) -> int:
        """Readable when there is something new."""
        return self._stdout.fileno()

    def read(self) -> Iterator[dict[str, Any]]:
        """What it told since the last call."""
        while not self.ended:
            try:
                chunk = os.read(self.fileno(), 65536)
            except BlockingIOError:
                return
            self.ended = not chunk
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                yield json.loads(line)

    def dismiss(self) -> None:
        """Ask it to end; ``wait`` sees to it."""
        self._stdin.close()

    def wait(self, until: float) -> None:
        """It has ended when this returns: by itself, or killed at monotonic time ``until``."""
        try:
            self.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._stdout.close()


class Stage:
    """A directory of its own, and everyone who acts. As a context manager it leaves nothing behind."""

    def __init__(self) -> None:
        self.directory = _directory()
        self.actors: dict[str, Actor] = {}
        self._log = open(os.path.join(self.directory, "log"), "wb")  # noqa: SIM115  # closed with the stage
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("BANKEN_")}
        self._env["BANKEN_ADDRESS"] = self.directory

    def enter(self, role: str, *args: float) -> Actor:
        """Start one process."""
        actor = self.actors[role] = Actor(role, *args, env=self._env, log=self._log)
        return actor

    def log_tail(self) -> str:
        """The end of what the processes wrote to stderr."""
        with open(self._log.name, encoding="utf-8", errors="replace") as file:
            return file.read()[-LOG_TAIL:]

    def clear(self) -> None:
        """End every process, the supervisor last, and remove the directory."""
        until = time.monotonic() + LEAVE_S
        workers = [actor for role, actor in self.actors.items() if role != "supervisor"]
        last = [actor for role, actor in self.actors.items() if role == "supervisor"]
        for group in (workers, last):
            for actor in group:
                actor.dismiss()
            for actor in group:
                actor.wait(until)
        self.actors.clear()
        self._log.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *exception: object) -> None:
        self.clear()


def _directory() -> str:
    """A fresh private directory with a path that Unix sockets can bear."""
    made = tempfile.mkdtemp(prefix="banken-")
    try:
        resolve(made)
    except AddressRefused:
        os.rmdir(made)
        return tempfile.mkdtemp(prefix="banken-", dir="/tmp")  # made private by mkdtemp
    return made
