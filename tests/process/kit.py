"""Starting real processes, talking to them, and reading a supervisor's events."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import banken
import banken_supervisor
from banken.client import Client
from banken.control import Control, Events
from banken.errors import Unreachable
from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message

SCRIPTS = Path(__file__).parent / "scripts"

START_S = 30.0
"""Seconds a process may take to start, on a busy machine."""

_PATHS = [str(Path(package.__file__ or "").parents[1]) for package in (banken, banken_supervisor)]


class Child:
    """A process of ours that speaks JSON lines on stdout and hears lines on stdin."""

    def __init__(self, script: str, *args: object) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed in close()
        paths = [*_PATHS, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPTS / f"{script}.py"), *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # so that what it forks can be ended with it
        )
        self.pid = self.process.pid
        self._read = b""

    def hear(self, timeout: float = START_S) -> Any:
        """The next thing it says."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout
        while b"\n" not in self._read:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise AssertionError(f"{self.process.args} said nothing for {timeout} s; {self.errors()}")
            some = os.read(self.process.stdout.fileno(), 65536)
            if not some:
                raise AssertionError(f"{self.process.args} ended; {self.errors()}")
            self._read += some
        line, _, self._read = self._read.partition(b"\n")
        return json.loads(line)

    def silent(self, seconds: float) -> bool:
        """Whether it says nothing for so long."""
        assert self.process.stdout is not None
        return b"\n" not in self._read and not select.select([self.process.stdout], [], [], seconds)[0]

    def tell(self, line: str = "") -> None:
        """Say one line to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def signal(self, number: int) -> None:
        """Send it a signal; a stop has taken effect when this returns."""
        os.kill(self.pid, number)
        if number == signal.SIGSTOP:
            until(lambda: process_state(self.pid) in "Tt", f"pid {self.pid} stops")

    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def ended(self, timeout: float) -> tuple[int, float]:
        """(its exit code, seconds from now until its end)."""
        began = time.monotonic()
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.process.args} still runs after {timeout} s; {self.errors()}") from None
        return code, time.monotonic() - began

    def errors(self) -> str:
        """What it wrote to stderr, the end of it."""
        return "stderr: " + written(self._errors)[-4000:].decode(errors="replace")

    def kill(self) -> None:
        """kill -9, and its descendants, which are in its session; wait for its end."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(10)

    def close(self) -> None:
        """End it and give everything back."""
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        self._errors.close()


class Home:
    """One address, and everything that a test starts there."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._closing: list[Any] = []

    def supervisor(self, setup: str = "plain", *args: object) -> Child:
        """A supervisor of its own process, answering. ``setup``: a function of scripts/supervise.py."""
        child = self.start("supervise", setup, *args)
        until(lambda: self._answers(child), "the supervisor answers", START_S)
        return child

    def worker(self, work: str, *args: object) -> Child:
        """A worker process. ``work``: a function of scripts/work.py."""
        return self.start("work", work, *args)

    def start(self, script: str, function: str, *args: object) -> Child:
        """A process that runs a function of a script, with the address as its first argument."""
        child = Child(script, function, self.address, *args)
        self._closing.append(child)
        return child

    def client(self) -> Client:
        """A client of the test's own process, connected to the supervisor; what it feeds is not released."""
        client = Client(self.address, release_at_exit=False)
        self._closing.append(client)
        connect(client)
        return client

    def events(self) -> Stream:
        """The supervisor's events from now on."""
        stream = Stream(self)
        self._closing.append(stream)
        return stream

    def ask(self, op: str, **args: Any) -> Any:
        """Put one request."""
        with Control(self.address, 15.0) as control:
            return control.request(op, **args)

    def row(self, name: str) -> dict[str, Any]:
        """What the supervisor knows of one watchdog; empty: nothing."""
        rows = self.ask("status", name=name)["rows"]
        return rows[0] if rows else {}

    def rows(self, pattern: str) -> dict[str, dict[str, Any]]:
        """What it knows of those that match the pattern."""
        return {row["name"]: row for row in self.ask("status", name=pattern)["rows"]}

    def refused(self) -> dict[str, int]:
        """How many messages were refused, by reason."""
        return self.ask("summary")["refused"]

    def close(self) -> None:
        """End everything."""
        for each in reversed(self._closing):
            each.close()

    def _answers(self, child: Child) -> bool:
        assert child.running(), f"the supervisor ended: {child.errors()}"
        try:
            with Control(self.address, 5.0) as control:
                return control.request("ping")["pid"] == child.pid
        except Unreachable:
            return False


class Stream:
    """Everything that one supervisor tells; each event with ``heard``, the monotonic time it was read."""

    def __init__(self, home: Home) -> None:
        self.seen: list[dict[str, Any]] = []
        self._events = Events(home.address)
        # A subscription needs a moment to arrive: it is there when something told after it was heard.
        for number in range(200):
            name = f"sync-{os.urandom(4).hex()}-{number}"
            for kind in (Kind.DECLARE, Kind.RELEASE):
                declared = Declaration(3600.0, 3600.0, 3600.0)
                home.ask("tell", frame=encode(Message(kind, name, None, 0.0, declared)))
            if (first := self._events.next(0.05)) is not None:
                self._keep(first)  # it need not be one of these
                break
        else:
            raise AssertionError("no event was heard")

    def pump(self) -> None:
        """Read what has arrived."""
        while self._take(0.0):
            pass

    def until(self, timeout: float, kind: str, name: str | None = None, **data: Any) -> dict[str, Any]:
        """The first event of this kind, name and data; AssertionError when there is none in ``timeout``."""
        wanted = {"type": kind, **data} | ({} if name is None else {"name": name})
        deadline = time.monotonic() + timeout
        looked = 0
        while True:
            for event in self.seen[looked:]:
                if wanted.items() <= event.items():
                    return event
            looked = len(self.seen)
            if not self._take(max(0.0, deadline - time.monotonic())):
                told = [(each["type"], each.get("name")) for each in self.seen[-30:]]
                raise AssertionError(f"no {wanted} within {timeout} s; heard: {told}")

    def during(self, seconds: float) -> None:
        """Read for so long."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._take(left)

    def all(self, kind: str, name: str | None = None) -> list[dict[str, Any]]:
        """All events of one kind so far."""
        self.pump()
        return [each for each in self.seen if each["type"] == kind and name in (None, each.get("name"))]

    def convicted(self) -> set[str]:
        """The names of all verdicts so far."""
        return {each["name"] for each in self.all("expired")}

    def close(self) -> None:
        """Give the socket back."""
        self._events.close()

    def _take(self, timeout: float) -> bool:
        event = self._events.next(timeout)
        if event is not None:
            self._keep(event)
        return event is not None

    def _keep(self, event: dict[str, Any]) -> None:
        event["heard"] = time.monotonic()
        self.seen.append(event)


def connect(client: Client) -> None:
    """Wait until it is connected. A first message waits 0.1 s for that, and is lost if it takes longer, as it may
    on a busy machine."""
    sender = client._to()
    with sender._lock:
        sender._open()
    until(sender.reachable, "the client is connected", START_S)


def until(condition: Callable[[], Any], what: str, timeout: float = START_S) -> Any:
    """Wait until ``condition`` gives something true, and return that."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.01)


def written(file: IO[bytes]) -> bytes:
    """What a process has written to ``file`` by now. A seek would move the place at which it goes on writing."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)


def process_state(pid: int) -> str:
    """The state letter of a process, as /proc has it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
