"""What the tests of real programs share: a keeper in a process of its own, and a look at what runs."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from process.kit import START_S, Child, until

SLEEP = ("/bin/sleep", "1000")
FORKS = (
    "import os, signal, sys, time\n"
    "if os.fork() == 0:\n"
    "    signal.signal(15, signal.SIG_IGN)\n"
    "    open(sys.argv[1], 'w').close()\n"
    "time.sleep(1000)\n"
)

Row = dict[str, Any]


def program(name: str, command: tuple[str, ...] | str = SLEEP, **fields: Any) -> Row:
    """One spec. A text is a Python program."""
    argv = (sys.executable, "-S", "-c", command) if isinstance(command, str) else command
    return {"name": name, "command": argv, "backoff": (0.05, 0.2), **fields}


def start(address: str, programs: list[Row], groups: list[Row] | None = None) -> Child:
    """The process of a keeper."""
    return Child("programs", "keep", address, json.dumps({"programs": programs, "groups": groups or []}))


class Keeper:
    """A process that keeps programs, and everything that it told."""

    def __init__(self, address: str, programs: list[Row], groups: list[Row] | None = None) -> None:
        self.child = start(address, programs, groups)
        self.told: list[Row] = []
        self.opened = self.until("open")

    def until(
        self, kind: str, name: str | None = None, timeout: float = START_S, after: int = 0, **data: Any
    ) -> Row:
        """The first event of this kind, name and data from the ``after``-th on."""
        wanted = {"type": kind, **data} | ({} if name is None else {"name": name})
        deadline = time.monotonic() + timeout
        looked = after
        while True:
            for event in self.told[looked:]:
                if wanted.items() <= event.items():
                    return event
            looked = max(after, len(self.told))
            left = deadline - time.monotonic()
            assert left > 0, f"no {wanted} within {timeout} s; told: {self.told[-20:]}"
            self.told.append(self.child.hear(left))

    def tell(self, line: str) -> int:
        """Say one line; how much was told before."""
        self.pump()
        before = len(self.told)
        self.child.tell(line)
        return before

    def pump(self) -> None:
        """Read what was told."""
        while not self.child.silent(0.0):
            self.told.append(self.child.hear(1.0))

    def rows(self) -> dict[str, Row]:
        """The keeper's rows by name."""
        before = self.tell("rows")
        return {row["name"]: row for row in self.until("rows", after=before)["rows"]}

    def all(self, kind: str, name: str | None = None) -> list[Row]:
        """All events of one kind so far."""
        self.pump()
        return [each for each in self.told if each["type"] == kind and name in (None, each.get("name"))]


class Yard:
    """One address: the keepers that a test starts there, and the processes that theirs started."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._children: list[Child] = []

    def keeper(self, programs: list[Row], groups: list[Row] | None = None) -> Keeper:
        """A new keeper, which has opened."""
        one = Keeper(self.address, programs, groups)
        self._children.append(one.child)
        return one

    def start(self, programs: list[Row]) -> Child:
        """A new keeper that may end before it has said a word."""
        child = start(self.address, programs)
        self._children.append(child)
        return child

    def processes(self, name: str | None = None) -> dict[int, str]:
        """All processes that carry this address in their environment: pid to the program's name. No zombies."""
        found = {}
        mark = f"BANKEN_ADDRESS={self.address}".encode()
        for entry in os.listdir("/proc"):
            if not entry.isdecimal():
                continue
            with suppress(OSError, IndexError):
                with open(f"/proc/{entry}/environ", "rb") as file:
                    environ = file.read().split(b"\0")
                if mark not in environ:
                    continue
                its = next(each[12:].decode() for each in environ if each.startswith(b"BANKEN_NAME="))
                if name in (None, its) and state(int(entry)) not in "ZX":
                    found[int(entry)] = its
        return found

    def leaders(self) -> dict[str, list[int]]:
        """The processes that lead a session, by program."""
        found: dict[str, list[int]] = {}
        for pid, name in self.processes().items():
            with suppress(ProcessLookupError):
                if os.getsid(pid) == pid:
                    found.setdefault(name, []).append(pid)
        return found

    def close(self) -> None:
        """End everything."""
        for each in self._children:
            each.close()
        for _ in range(100):
            left = self.processes()
            if not left:
                return
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        raise AssertionError(f"these could not be ended: {left}")


def state(pid: int) -> str:
    """The state letter of a process; X: it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def gone(pid: int, timeout: float = 10.0) -> None:
    """Wait until a process has ended."""
    until(lambda: state(pid) in "ZX", f"pid {pid} ends", timeout)


@contextmanager
def yard_at(address: str) -> Iterator[Yard]:
    """A yard that is cleared afterwards."""
    yard = Yard(address)
    try:
        yield yard
    finally:
        yard.close()
