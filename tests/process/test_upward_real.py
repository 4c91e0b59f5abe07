"""``[upward]``: a host's supervisor is watched by that of another host. Both are real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from banken_supervisor.keys.directory import KeyDirectory
from banken_supervisor.web.metrics import render
from hosts_kit import free_ports
from process.kit import START_S, until
from process.run_kit import Running

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

TIMEOUT = 2.0
LATE = 0.5
"""Seconds after the timeout by which there must be the incident."""

SLACK = 1.0
"""The same for the test's own polling, and a busy machine."""

HANGS = """
import os, time
from banken_supervisor.runtime.loop import Loop
turn = Loop.turn
def hang_first(self):
    while os.path.exists("hang"):
        time.sleep(0.02)
    turn(self)
Loop.turn = hang_first
"""
"""A loop that hangs as long as there is a file; its other threads do not."""


class Pair:
    """The upper supervisor listens, the lower one feeds it. ``addresses``: whom it feeds."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for each in ("upper", "lower"):
            (place / each).mkdir()
        self.address = f"tcp://127.0.0.1:{free_ports()}"
        self.nobody = f"tcp://127.0.0.1:{free_ports()}"
        self.keys = KeyDirectory(place / "keys")
        self.keys.new("watch", server=True)
        self.keys.new("db-7")
        public = self.keys.server().key.decode()
        self.key = self.keys.path / "db-7.key"
        known = "".join(f'"{each}" = "{public}"\n' for each in (self.address, self.nobody))
        self.key.write_text(self.key.read_text() + f"[servers]\n{known}")
        self.upper = Running(place / "upper", f'[supervisor]\nlisten = ["{self.address}"]\nkeys = "../keys"\n')
        self.lower: Running

    def allow(self) -> None:
        self.keys.allow("db-7", ["host/db-7"], None)

    def start(self, *addresses: str) -> None:
        """Both, or the lower one, if the upper one runs."""
        self.lower = Running(
            self.place / "lower",
            f'[upward]\naddresses = {json.dumps(addresses)}\nkey = "{self.key}"\nname = "db-7"\n'
            f'timeout = "{TIMEOUT}s"\n',
        )
        (self.place / "lower" / "sitecustomize.py").write_text(HANGS)
        self.start_lower()

    def start_lower(self) -> subprocess.Popen[bytes]:
        return self.lower.run(under=("env", f"PYTHONPATH={self.place / 'lower'}"))

    def row(self) -> dict[str, Any] | None:
        """Of the lower one, at the upper one."""
        return self.upper.watchdogs().get("host/db-7")

    def lives(self) -> bool:
        row = self.row()
        return row is not None and row["state"] == "alive" and row["silence"] < 1.0

    def upward(self) -> dict[str, Any]:
        """What the lower one says of it."""
        found: dict[str, Any] = self.lower.home.ask("summary")["upward"]
        return found

    def told(self, what: str) -> list[str]:
        """Lines of the lower one's log."""
        return [line for line in self.lower.log.read_text().splitlines() if what in line]

    def incident_after(self, began: float) -> str:
        """The cause; it comes in time after ``began``, monotonic."""
        row = until(lambda: (each := self.row()) and each.get("incident") and each, "there is an incident", 30.0)
        took = time.monotonic() - began - row["incident"]["age"]
        assert took <= TIMEOUT + LATE + SLACK
        assert row["incidents"] == 1, "one of the whole host"
        return str(row["incident"]["cause"])


@pytest.fixture
def pair() -> Iterator[Pair]:
    with ExitStack() as stack:
        made = Pair(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bk-"))))
        stack.callback(made.upper.close)
        stack.callback(lambda: made.lower.close())
        yield made


@pytest.mark.parametrize("how", ["killed", "stopped", "hung"])
def test_a_hosts_death_is_one_incident(pair: Pair, how: str) -> None:
    """Whether its supervisor is gone, stopped, or its loop hangs; and it ends when it lives again."""
    pair.allow()
    pair.upper.run()
    pair.start(pair.address)
    pair.lower.home.ask("tell", frame=frame("w-1"))
    until(pair.lives, "it is fed", START_S)
    until(lambda: (pair.row() or {}).get("status") == "1 watchdog, 0 incidents", "its counts come along")
    process = pair.lower._started[-1]
    began = time.monotonic()
    if how == "killed":
        process.kill()
        process.wait(10)
    elif how == "stopped":
        process.send_signal(signal.SIGSTOP)
    else:
        (pair.lower.place / "hang").touch()
    assert pair.incident_after(began) == ("no-progress" if how == "hung" else "timeout")
    if how == "killed":
        pair.start_lower()
    elif how == "stopped":
        process.send_signal(signal.SIGCONT)
    else:
        (pair.lower.place / "hang").unlink()
    until(pair.lives, "it is well again", START_S)


def test_an_end_in_order_is_no_incident(pair: Pair) -> None:
    """Nor does what comes after it open one."""
    pair.allow()
    pair.upper.run()
    pair.start(pair.address)
    until(pair.lives, "it is fed", START_S)
    began = time.monotonic()
    pair.lower.stop()
    assert time.monotonic() - began < 5.0
    until(lambda: pair.row() is None, "it is released")
    assert not pair.upper.home.ask("metrics")["incidents"]["timeout"]


def test_who_is_not_let_in_or_not_answered_is_told_once(pair: Pair) -> None:
    """And counted, and shown; it is heard as soon as it may; its own workers are watched all the while."""
    pair.upper.run()
    pair.start(pair.address, pair.nobody)

    def shown(address: str) -> dict[str, Any]:
        return next(each for each in pair.upward()["destinations"] if each["address"] == address)

    until(lambda: shown(pair.address)["told"] == "denied", "it knows that it is denied", 30.0)
    until(lambda: shown(pair.nobody)["told"] == "away", "it knows that nobody is there", 30.0)
    before = shown(pair.address)["dropped"]
    until(lambda: shown(pair.address)["dropped"] > before, "what is dropped is counted", 30.0)
    words = banken("status", "--address", pair.lower.address).stdout
    assert "upward: host/db-7 is fed to 0 of 2 supervisors" in words
    assert f"{pair.address} does not let this supervisor in" in words
    assert f"{pair.nobody} does not take feeds" in words
    assert f"{pair.nobody} does not take feeds" in banken("check", "--address", pair.lower.address).stdout
    pair.allow()
    assert banken("reload", "--address", pair.upper.address).returncode == 0
    until(pair.lives, "it is heard", 30.0)
    until(lambda: shown(pair.address)["told"] == "reached", "and knows it")
    up = {
        each.labels["address"]: each.value
        for family in text_string_to_metric_families(render(pair.lower.home.ask("metrics"))[0].decode())
        if family.name == "banken_upward_up"
        for each in family.samples
    }
    assert up == {pair.address: 1.0, pair.nobody: 0.0}
    for what in (
        f"{pair.address} does not let this supervisor in: ",
        f"{pair.nobody} has not taken the feeds of host/db-7 for 2 s",
        f"{pair.address} takes the feeds of host/db-7",
    ):
        until(lambda what=what: pair.told(what), what)
        assert len(pair.told(what)) == 1


def test_a_key_that_cannot_be_used_is_said_at_the_check_and_at_the_start(pair: Pair) -> None:
    """With the key of the config, and what is wrong with the file."""
    config = pair.place / "lower" / "banken.toml"
    config.write_text(f'[upward]\naddresses = ["tcp://elsewhere:7767"]\nkey = "{pair.key}"\n')
    checked = banken("config", "check", str(config))
    assert checked.returncode == 1
    assert f"banken.toml:3: upward.key: {pair.key}: has no public key of tcp://elsewhere:7767" in checked.stderr
    started = banken("run", "-c", str(config), "--allow-empty", "--address", str(pair.place / "a"))
    assert started.returncode != 0
    assert "has no public key of tcp://elsewhere:7767" in started.stderr
    config.write_text('[upward]\naddresses = ["tcp://elsewhere:7767"]\nkey = "gone.key"\n')
    assert "gone.key: cannot be read: No such file" in banken("config", "check", str(config)).stderr
    pair.lower = Running(pair.place / "lower", "")


def frame(name: str) -> bytes:
    """The first feed of a watchdog."""
    from banken.protocol.codec import encode
    from banken.protocol.messages import Declaration, Kind, Message

    return encode(Message(Kind.FEED, name, None, 0.0, Declaration(3600.0, 3600.0, 3600.0)))


def banken(*words: str) -> subprocess.CompletedProcess[str]:
    """The command."""
    return subprocess.run(
        [sys.executable, "-m", "banken_supervisor", *words],
        capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )  # fmt: skip
