"""examples/host as it stands, with Debian's daemons: each is hung and killed, noticed in time, and brought back.

Hung by SIGSTOP of all its processes; nginx also by its workers alone, and PostgreSQL by the use of all connections.
As root, for each runs as its own user.

Half an hour beside busy loops: BANKEN_HOST_MINUTES=30 python -m pytest tests/system/test_host.py -k busy -s
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import glob
from pathlib import Path
from typing import Any

import psutil
import pytest

from process.kit import until
from process.ladder_kit import LONG, House

EXAMPLE = Path(__file__).parents[2] / "examples" / "host"

COMMANDS = ("redis-server", "nginx", "memcached", "haproxy", "tor", "node", "gunicorn", "celery")

PROGRAMS = ("redis", "db", "nginx", "memcached", "haproxy", "tor", "app", "tasks", "node", "loop")

MINUTES = float(os.environ.get("BANKEN_HOST_MINUTES", "0.2"))
"""Beside busy loops."""

LATE_S = 1.0
"""Seconds beyond ``every`` x ``fails`` + ``limit``, on a machine that does much else."""

AGES = {"tasks": 6.0, "loop": 3.0}
"""Seconds for which a file may stand still before its check fails."""


class Host:
    """The example's supervisor, and what it said."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.place = house.place
        self.port: dict[str, int] = {}
        self.figures: list[str] = []

    def begin(self) -> None:
        """Copied with ports that are free, prepared, and run until every check has passed."""
        copy = self.place / "example"
        shutil.copytree(EXAMPLE, copy)
        for file in copy.iterdir():
            text = file.read_text()
            file.write_text(re.sub(r"\b17\d{3}\b", lambda found: str(self._free(found[0])), text))
        subprocess.run(["sh", str(copy / "prepare.sh"), str(self.place)], check=True, timeout=60)
        self.events = self.house.run((self.place / "banken.toml").read_text())
        until(lambda: all(each["state"] == "alive" for each in self.checks()), "every check has passed", LONG)

    def order(self) -> list[str]:
        """The programs as they were started; all are ready."""
        rows = [self.house.program(name) for name in PROGRAMS]
        assert all(row["ready"] for row in rows), rows
        return sorted(PROGRAMS, key=lambda name: psutil.Process(self.pid(name)).create_time())

    def checks(self, owner: str = "*") -> list[dict[str, Any]]:
        """Those of ``check``; that of ``ready`` has done its work when it has passed once."""
        found: list[dict[str, Any]] = self.house.ask("checks")["rows"]
        return [each for each in found if "/check" in each["name"] and owner in ("*", each["check_of"])]

    def pid(self, name: str) -> int:
        return int(self.house.program(name)["pid"] or 0)

    def suspend(self, name: str) -> None:
        """The first process, which then starts no more of them, and then those that it has."""
        psutil.Process(self.pid(name)).suspend()
        self.suspend_workers(name)

    def suspend_workers(self, name: str) -> None:
        for each in psutil.Process(self.pid(name)).children(recursive=True):
            # Some live for a moment only: a clean-up of PostgreSQL.
            with suppress(psutil.NoSuchProcess):
                each.suspend()

    def bound(self, name: str) -> float:
        """Seconds in which a hang must be noticed: by the quickest of its checks."""
        return min(each["every"] * each["fails"] + each["limit"] for each in self.checks(name)) + AGES.get(
            name, 0.0
        )

    def hang(self, name: str, how: str, act: Callable[[], None]) -> None:
        """It is noticed by a check, in time, and a new process works."""
        before, bound = self.pid(name), self.bound(name)
        seen, began = len(self.events.seen), time.time()
        act()
        event = self._next(seen, lambda each: each["type"] == "expired" and _is_of(each["name"], name))
        noticed = event["time"] - began
        assert event["cause"] == "check", event
        assert noticed <= bound + LATE_S, f"{name} {how}: noticed after {noticed:.2f} s; {bound:.2f} s are allowed"
        self._is_back(name, before, seen)
        took = time.time() - began
        self.figures.append(
            f"{name} {how}: noticed {noticed:.2f} s (at most {bound:.2f}), back {took:.2f} s: {event['reason']}"
        )

    def kill(self, name: str) -> None:
        """Its end is noticed at once, by its pidfd and not by a check."""
        before, seen, began = self.pid(name), len(self.events.seen), time.time()
        os.kill(before, signal.SIGKILL)
        event = self._next(seen, lambda each: each["type"] == "expired" and each["name"] == name)
        noticed = event["time"] - began
        assert event["cause"] == "exited", event
        assert noticed < 0.5, f"{name}: its end was noticed after {noticed:.3f} s"
        self._is_back(name, before, seen)
        self.figures.append(f"{name} killed: noticed {noticed * 1000:.0f} ms, back {time.time() - began:.2f} s")

    def close(self) -> None:
        """Stop them in order; some wipe the marks by which they would be found."""
        for name in PROGRAMS:
            self.house.ask("program", what="stop", name=name)
        until(lambda: all(not self._runs(name) for name in PROGRAMS), "all programs have ended", LONG)

    def _runs(self, name: str) -> bool:
        return bool(self.house.program(name)["pid"])

    def _is_back(self, name: str, before: int, seen: int) -> None:
        """A new process, whose checks pass; and nobody else had an incident since ``seen``."""

        def works() -> bool:
            self.events.pump()
            checks = self.checks(name)
            return self.pid(name) not in (0, before) and all(
                each["state"] == "alive" and each["results"] and each["results"][-1]["passed"] for each in checks
            )

        until(works, f"{name} works again", LONG)
        convicted = [each["name"] for each in self.events.seen[seen:] if each["type"] == "expired"]
        assert all(each == name or _is_of(each, name) for each in convicted), convicted

    def _next(self, seen: int, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def came() -> bool:
            self.events.pump()
            found[:] = [each for each in self.events.seen[seen:] if wanted(each)]
            return bool(found)

        until(came, "it is noticed", LONG)
        return found[0]

    def _free(self, port: str) -> int:
        import socket

        if port not in self.port:
            with socket.socket() as sock:
                sock.bind(("127.0.0.1", 0))
                self.port[port] = sock.getsockname()[1]
        return self.port[port]


def _is_of(check: str, name: str) -> bool:
    return check.startswith(f"{name}/check")


@contextmanager
def _users(host: Host) -> Iterator[Callable[[], None]]:
    """What is returned takes all connections that an ordinary user can have; they end with the database."""
    where = ("-h", "127.0.0.1", "-p", str(host.port["17432"]), "-U", "watch", "-d", "postgres")
    command = [str(host.place / "pg" / "psql"), *where, "-c", "select pg_sleep(100)"]
    started: list[subprocess.Popen[bytes]] = []

    def use_all() -> None:
        started.extend(
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(20)
        )

    try:
        yield use_all
    finally:
        for each in started:
            each.kill()
            each.wait()


@pytest.fixture
def host(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Skips where a package is missing."""
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    missing = [command for command in COMMANDS if shutil.which(command) is None]
    if not glob("/usr/lib/postgresql/*/bin/postgres"):
        missing.append("postgresql")
    if missing or os.geteuid():
        pytest.skip(f"needs root, and {', '.join(missing) or 'nothing else'}")
    house = House(address)
    one = Host(house)
    try:
        one.begin()
        yield one
        one.close()
    finally:
        house.close()


@pytest.mark.root
@pytest.mark.timeout(300)
def test_a_whole_host(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """One at a time; nobody else has an incident meanwhile."""
    order = host.order()
    for first, then in (("nginx", "haproxy"), ("redis", "tasks"), ("db", "app"), ("memcached", "app")):
        assert order.index(first) < order.index(then), order
    try:
        for name in PROGRAMS:
            host.hang(name, "stopped", lambda name=name: host.suspend(name))
        host.hang("nginx", "workers stopped", lambda: host.suspend_workers("nginx"))
        with _users(host) as use_all:
            host.hang("db", "connections used", use_all)
        for name in PROGRAMS:
            host.kill(name)
    finally:
        with capsys.disabled():
            print("", *host.figures, sep="\n")


@pytest.mark.root
@pytest.mark.timeout(120 + MINUTES * 60)
def test_nobody_is_convicted_beside_busy_loops(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """One on each processor: no incident, no restart, and every check has gone on passing."""
    before = {name: host.pid(name) for name in PROGRAMS}
    seen = len(host.events.seen)
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    began = time.monotonic()
    try:
        while time.monotonic() - began < MINUTES * 60:
            time.sleep(1.0)
            host.events.pump()
    finally:
        for each in loops:
            each.kill()
            each.wait()
    convicted = [  # the host's own check says after ten minutes that its processors are busy, which is true
        f"{each['name']}: {each['reason']}"
        for each in host.events.seen[seen:]
        if each["type"] == "expired" and each["name"] != "host/check"
    ]
    assert convicted == []
    assert {name: host.pid(name) for name in PROGRAMS} == before
    checks = [each for each in host.checks() if each["name"] != "host/check"]
    late = [each["name"] for each in checks if each["state"] != "alive" or not each["results"][-1]["passed"]]
    assert late == []
    with capsys.disabled():
        print(f"\n{MINUTES:g} minutes beside {len(loops)} busy loops, load {os.getloadavg()[0]:.1f}: no incident")
