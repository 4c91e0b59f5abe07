"""One supervisor, the real programs of a case below it, and what became of them."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from banken.protocol.codec import encode
from banken.protocol.messages import Kind, Message
from process.kit import _PATHS, START_S, Stream, until
from process.run_kit import Running, end_marked, running

APPS = Path(__file__).parent / "apps"

NOTICED_S = 20.0
"""Seconds within which an end is noticed, on a busy machine."""


@dataclass
class App:
    """A running program of a case."""

    process: subprocess.Popen[bytes]
    names: str
    """pattern of the watchdogs of those processes that may be killed"""
    count: int
    """how many of them there are when it works"""
    seen: dict[str, int] = field(default_factory=dict)
    """the watchdogs that it had when it worked, and their pids"""


class Field:
    """The place of one test."""

    def __init__(self, place: Running) -> None:
        self.place = place
        self.home = place.home
        self.events: Stream = place.home.events()
        self._log = place.place / "app.log"
        self._started: list[subprocess.Popen[bytes]] = []
        self._redis: subprocess.Popen[bytes] | None = None

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """A Python program, ``-m MODULE …`` or ``SCRIPT …``, in the test's directory, with the apps on its path."""
        run = command if command[0] == "-m" else (str(APPS / command[0]), *command[1:])
        paths = [str(APPS), *_PATHS, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        with open(self._log, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", *run],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.place.place,
                start_new_session=True,
                env={
                    "HOME": str(self.place.place),
                    "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
                    "PYTHONPATH": os.pathsep.join(paths),
                    "BANKEN_ADDRESS": self.place.address,
                    "FIELD": self.place.address,
                    **environment,
                },
            )
        self._started.append(process)
        return process

    def redis(self) -> str:
        """The socket of a redis server of its own, which is started when it is first asked for."""
        path = str(self.place.place / "redis.sock")
        if self._redis is None:
            server = shutil.which("redis-server")
            if server is None:
                pytest.skip("redis-server is not installed; .ci/run installs it")
            command = [server, "--port", "0", "--save", "", "--unixsocket", path]
            self._redis = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=self.place.place)
            until(lambda: _serves(path), "redis serves", START_S)
        return path

    def rows(self, pattern: str = "*") -> dict[str, dict[str, Any]]:
        """What the supervisor knows of the watchdogs that match."""
        return self.home.rows(pattern)

    def pids(self, pattern: str) -> dict[str, int]:
        """The processes that own the watchdogs that match, as far as they live."""
        return {name: row["pid"] for name, row in self.rows(pattern).items() if row["pid"] and _lives(row["pid"])}

    def told(self, start: str) -> list[str]:
        """The lines so far that the programs told, of those that begin so."""
        return [line for line in self.place.lines() if line.startswith(start)]

    def until(self, condition: Callable[[], Any], what: str, seconds: float = START_S) -> Any:
        """``until``; at its end with what the programs wrote and the supervisor knows."""
        try:
            return until(condition, what, seconds)
        except AssertionError as fault:
            raise AssertionError(f"{fault}\n{self.report()}") from None

    def report(self) -> str:
        """What can be seen when something went wrong."""
        rows = [(row["name"], row["state"], row["pid"]) for row in self.rows().values()]
        self.events.pump()
        events = [
            {key: value for key, value in each.items() if key in ("type", "name", "cause", "reason", "pid", "how")}
            for each in self.events.seen[-40:]
        ]
        log = self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""
        return "\n".join([f"watchdogs: {rows}", *map(str, events), log])

    def incidents(self) -> list[str]:
        """All verdicts so far: name, cause, reason."""
        return [f"{each['name']}: {each['cause']}, {each.get('reason')}" for each in self.events.all("expired")]

    def clear(self) -> None:
        """End what a round has started, and forget what it was watched by."""
        for process in self._started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()
        self._started.clear()
        end_marked(f"FIELD={self.place.address}")
        until(lambda: not self._release_all(), "nothing is watched any more")
        self.events.pump()
        self.events.seen.clear()
        for name in ("told", "finish", "app.log", "huey.db", "web.sock", "web.pid", "web.pid.2"):
            (self.place.place / name).unlink(missing_ok=True)

    def close(self) -> None:
        """End redis, too."""
        self.clear()
        self.events.close()
        if self._redis is not None:
            self._redis.kill()
            self._redis.wait(10)

    def _release_all(self) -> list[str]:
        names = list(self.rows())
        for name in names:
            self.home.ask("tell", frame=encode(Message(Kind.RELEASE, name, None, 0.0, None)))
        return names


@contextmanager
def in_the_field(config: str = "") -> Iterator[Field]:
    """A place with a supervisor of this config; all is ended afterwards."""
    with running(config) as place:
        one = Field(place)
        try:
            yield one
        finally:
            one.close()


def get(field: Field, path: str = "/") -> bool:
    """One request to ``web.sock``; whether it was answered."""
    connection = http.client.HTTPConnection("localhost", timeout=5)
    with socket.socket(socket.AF_UNIX) as sock, suppress(OSError, http.client.HTTPException):
        sock.settimeout(5)
        sock.connect(str(field.place.place / "web.sock"))
        connection.sock = sock
        connection.request("GET", path)
        return connection.getresponse().status == 200
    return False


def ended(field: Field, process: subprocess.Popen[bytes]) -> int:
    """The status of a process, once it has ended."""
    field.until(lambda: process.poll() is not None, f"{process.args} ends")
    assert process.returncode is not None
    return process.returncode


def _serves(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
