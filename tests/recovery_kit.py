"""What the tests of the actions share: subjects, a world with real processes that writes down the rest, workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from banken.process_identity import boot_id, process_start
from banken.protocol.incidents import Cause, Incident
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.actions import Action, ActionTarget, Outcome
from banken_supervisor.processes.incident_end import IncidentEnd
from banken_supervisor.processes.process_handles import ProcessHandles


class Desk(ProcessHandles):
    """A world: processes are real, the rest is written down."""

    def __init__(self, urls: Sequence[str] = ()) -> None:
        super().__init__()
        self.restarted: list[str] = []
        self.logged: list[tuple[int, str]] = []
        self.called: list[str] = []
        self._urls = urls
        self.withheld = ("BK_SECRET",)

    def restart(self, program: str) -> None:
        self.restarted.append(program)

    def collect(self, subject: ActionTarget, seconds: float, *more: object) -> Mapping[str, Any]:
        return {"headline": f"{subject.incident.name} in f (job.py:42)", "seconds": seconds}

    def summary(self, evidence: Mapping[str, Any], lines: int) -> Sequence[str]:
        return [str(evidence["headline"])][:lines]

    def callback(self, name: str, incident: Incident) -> None:
        if name != "bound":
            raise LookupError(f"no callback is called {name!r}")
        self.called.append(incident.name)

    def urls(self, target: str) -> Sequence[str]:
        if target != "oncall":
            raise LookupError(f"no target is called {target!r}")
        return self._urls

    def log(self, level: int, text: str) -> None:
        self.logged.append((level, text))


def incident(name: str = "worker-3", **more: Any) -> Incident:
    """One that is told nothing special."""
    told = {"id": f"i-{name}", "name": name, "cause": Cause.TIMEOUT, "opened": 1_790_000_000.25}
    return Incident(**{**told, "silence": 12.34, "timeout": 5.0, **more})


def subject(name: str = "worker-3", *, told: dict[str, Any] | None = None, **more: Any) -> ActionTarget:
    """``told``: fields of its incident."""
    return ActionTarget(incident(name, **(told or {})), **more)


def run(
    action: Action, about: ActionTarget, world: Desk | None = None, ended: IncidentEnd | None = None
) -> Outcome:
    """Run it here and now."""
    return action.run(about, world or Desk(), ended or IncidentEnd())


def until(condition: Callable[[], Any], what: str, timeout: float = 15.0) -> Any:
    """Wait until ``condition`` gives something true, and return that."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.005)
    return found


class Worker:
    """A real process that runs ``code`` in a session of its own and has said that it is ready."""

    def __init__(self, code: str) -> None:
        lines = "import os, signal, sys, time\n" + code + "\n"
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", lines], stdout=subprocess.PIPE, start_new_session=True, text=True
        )
        self.pid = self.process.pid
        self.who = ProcessIdentity(boot_id(), self.pid, process_start(self.pid), b"test")
        self.said = self.line()

    def line(self) -> str:
        """The next line it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def state(self) -> str:
        """Its state letter."""
        with open(f"/proc/{self.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]

    def stop(self) -> None:
        """SIGSTOP, and wait until it has taken effect."""
        os.kill(self.pid, signal.SIGSTOP)
        until(lambda: self.state() == "T", "it stops")

    def close(self) -> None:
        """End it and what it forked."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def worker(code: str) -> Iterator[Worker]:
    """A worker that is ended afterwards. ``code`` prints a line when it is ready."""
    one = Worker(code)
    try:
        yield one
    finally:
        one.close()


# Python looks for signals between two sleeps: one that comes just before a long sleep waits for the end of that.
OBEDIENT = "print('ready', flush=True)\nwhile True:\n    time.sleep(0.1)"
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + OBEDIENT


FORKS = (
    "child = os.fork()\nif child == 0:\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(600)\n"
)


def gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def python(code: str) -> list[str]:
    """A command that runs it."""
    return [sys.executable, "-S", "-c", "import os, signal, sys, time\n" + code]
