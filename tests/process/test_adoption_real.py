"""kill -9 of the supervisor that ``banken run -c`` is: its programs run on, and the next one has them all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from banken.control import Control
from banken.errors import Unreachable
from process.kit import START_S, until
from process.program_kit import Yard, yard_at

pytestmark = pytest.mark.process

KILLS = 20 if os.environ.get("BANKEN_LONG") else 3
PROGRAMS = 10

ADOPTED_WITHIN_S = 1.0
"""The promise, from the moment the new supervisor answers at all; what the interpreter's own start takes on a busy
machine is no matter of adoption."""

CONFIG = """
[[program]]
name = "plain-{i}"
numprocs = 5
command = ["sleep", "1000"]

[[program]]
name = "fed-{i}"
numprocs = 5
timeout = "20s"
command = [PYTHON, "-c", "import time; from banken import client\\nwhile True: client.feed(); time.sleep(0.05)"]
"""


class Runner:
    """``banken run -c`` at one address, again and again."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.config = Path(address).parent / "banken.toml"
        self.configure(CONFIG.replace("PYTHON", f'"{sys.executable}"'))
        self.log = Path(address).parent / "stderr"
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, text: str) -> None:
        """What the next one reads."""
        self.config.write_text(text)

    def start(self) -> None:
        """A new supervisor; returns when it answers."""
        self.process = self.spawn()
        until(self._answers, "the supervisor answers", START_S)

    def spawn(self) -> subprocess.Popen[bytes]:
        """The process of a new supervisor."""
        with open(self.log, "ab") as errors:
            command = [sys.executable, "-m", "banken_supervisor", *self.arguments()]
            return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)

    def arguments(self) -> list[str]:
        """What the command line is."""
        return ["run", "-c", str(self.config), "--address", self.address]

    def rows(self) -> dict[str, dict[str, Any]]:
        """The programs, by name."""
        with Control(self.address, 5.0) as control:
            return {row["name"]: row for row in control.request("programs")["rows"]}

    def watchdogs(self) -> dict[str, dict[str, Any]]:
        """The watchdogs, by name."""
        with Control(self.address, 5.0) as control:
            return {row["name"]: row for row in control.request("status")["rows"]}

    def events(self) -> dict[str, int]:
        """How many events of each type there were."""
        with Control(self.address, 5.0) as control:
            counts: dict[str, int] = control.request("summary")["events"]
            return counts

    def reload(self) -> None:
        """Have the changed file read; returns when it is in force."""
        with Control(self.address, 5.0) as control:
            number = control.request("reload")["number"]
            until(lambda: control.request("reloaded").get("number") == number, "the file was read")
            assert control.request("reloaded")["ok"]

    def kill(self) -> None:
        """kill -9 of the supervisor alone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def errors(self) -> str:
        """What all of them wrote."""
        return self.log.read_text(errors="replace")[-3000:]

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.errors()
        try:
            with Control(self.address, 0.5) as control:
                return control.request("ping")["pid"] == self.process.pid
        except Unreachable:
            return False


@pytest.fixture
def yard(address: str) -> Iterator[Yard]:
    """Finds and ends the programs."""
    with yard_at(address) as one:
        yield one


@pytest.fixture
def runner(yard: Yard) -> Iterator[Runner]:
    """Ended before its programs are."""
    one = Runner(yard.address)
    yield one
    one.kill()


@pytest.mark.timeout(60 + 10 * KILLS)
def test_kill_9_of_the_supervisor_loses_and_doubles_no_program(
    yard: Yard, runner: Runner, record_property: Any
) -> None:
    """Ten programs under the real command, whose supervisor is killed again and again: the same ten processes run
    on, each once, and each next supervisor has adopted them all within a second, watches them, and opens no
    incident."""
    runner.start()
    until(lambda: _pids(runner.rows()) == PROGRAMS, f"all run: {runner.rows()}, {runner.errors()}", START_S)
    until(lambda: all(_fed(runner, number) for number in range(5)), "all feed", START_S)
    before = {name: row["pid"] for name, row in runner.rows().items()}
    took = []
    for turn in range(KILLS):
        runner.kill()
        assert yard.leaders() == {name: [pid] for name, pid in before.items()}, f"kill {turn}: one died with it"
        runner.start()
        began = time.monotonic()
        until(lambda: _pids(runner.rows()) == PROGRAMS, "all are adopted", START_S)
        took.append(time.monotonic() - began)
        rows = runner.rows()
        assert {name: row["pid"] for name, row in rows.items()} == before, runner.errors()
        assert all(row["adopted"] and row["state"] == "running" for row in rows.values()), rows
        assert yard.leaders() == {name: [pid] for name, pid in before.items()}
        assert set(runner.watchdogs()) == set(before)
        assert "expired" not in runner.events()
    record_property("adopted_within_s", max(took))
    print(f"{KILLS} kills: 0 lost, 0 doubled, adopted within {max(took):.3f} s")
    assert max(took) < ADOPTED_WITHIN_S


def test_an_adopted_program_that_dies_is_started_again(yard: Yard, runner: Runner) -> None:
    """After the restart of its supervisor a program is watched as before: killed, it is an incident and runs again
    as another process; asked to stop, it stops."""
    runner.start()
    until(lambda: _pids(runner.rows()) == PROGRAMS, f"all run: {runner.rows()}, {runner.errors()}", START_S)
    runner.kill()
    runner.start()
    old = until(lambda: runner.rows()["plain-0"]["pid"], "it is adopted", START_S)
    os.kill(old, signal.SIGKILL)
    until(lambda: runner.rows()["plain-0"]["pid"] not in (None, old), "it runs again", START_S)
    assert runner.events()["expired"] == 1  # the same kind of incident as of any watchdog
    _banken("stop", "plain-0", "--address", runner.address)
    until(lambda: not yard.processes("plain-0"), "it is gone")


def test_what_was_asked_to_stop_is_not_started_by_the_next(runner: Runner) -> None:
    """`banken stop`, kill -9, and a new supervisor: it stays down, and nobody misses its feeds, until it is to
    start, which the one after that remembers, too."""
    runner.start()

    def ask(what: str) -> None:
        with Control(runner.address, 5.0) as control:
            control.request("program", what=what, name="fed-1")

    until(lambda: runner.watchdogs().get("fed-1", {}).get("state") == "alive", "it is fed", START_S)
    ask("stop")
    until(lambda: runner.rows()["fed-1"]["state"] == "stopped", "it is down", START_S)
    runner.kill()
    runner.start()
    until(lambda: runner.rows()["fed-0"]["state"] == "running", "the others run", START_S)
    assert runner.rows()["fed-1"]["state"] == "stopped"
    assert "fed-1" not in runner.watchdogs()
    ask("start")
    until(lambda: runner.rows()["fed-1"]["state"] == "running", "it runs", START_S)
    pid = runner.rows()["fed-1"]["pid"]
    runner.kill()
    runner.start()
    until(lambda: runner.rows()["fed-1"]["state"] == "running", "it is adopted", START_S)
    assert runner.rows()["fed-1"]["pid"] == pid


def test_status_and_events_tell_of_programs(runner: Runner) -> None:
    """`banken status` shows each program with its state and pid, and that it was adopted; --json has the rows; the
    journal's events and the log have sentences."""
    runner.start()
    until(lambda: _pids(runner.rows()) == PROGRAMS, "all run", START_S)
    runner.kill()
    runner.start()
    rows = until(lambda: _pids(runner.rows()) == PROGRAMS and runner.rows(), "all are adopted", START_S)
    told = json.loads(_banken("status", "--json", "--address", runner.address))
    assert {row["name"]: row["pid"] for row in told["programs"]} == {name: row["pid"] for name, row in rows.items()}
    shown = _banken("status", "--address", runner.address)
    line = next(each for each in shown.splitlines() if f" {rows['plain-3']['pid']} " in each)
    assert line.split()[:2] == ["running", "plain-3"]
    assert "adopted" in line
    one = json.loads(_banken("status", "--json", "plain-3", "--address", runner.address))
    assert [row["name"] for row in one["programs"]] == ["plain-3"]
    said = f"plain-3 was adopted: it already ran as pid {rows['plain-3']['pid']}"
    until(lambda: said in runner.log.read_text(errors="replace"), said)


def _banken(*args: str) -> str:
    """What a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "banken_supervisor", *args], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _pids(rows: dict[str, dict[str, Any]]) -> int:
    return sum(row["pid"] is not None for row in rows.values())


def _fed(runner: Runner, number: int) -> bool:
    return runner.watchdogs().get(f"fed-{number}", {}).get("state") == "alive"
