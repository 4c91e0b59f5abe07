"""How the end of a program becomes an incident, through the real `banken run -c`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from process.kit import START_S, until
from process.program_kit import yard_at
from process.test_adoption_real import Runner

pytestmark = pytest.mark.process

CONFIG = """
[[program]]
name = "fails"
command = ["sh", "-c", "exit 3"]
restart = "never"

[[program]]
name = "good"
command = ["true"]

[[program]]
name = "dies"
command = ["sh", "-c", "exit 4"]
backoff = "30s..60s"
timeout = "1h"
ladder = [{ do = "dump" }, { do = "kill" }, { do = "restart" }]

[[program]]
name = "says"
command = [PYTHON, "-c", "import time; from banken import client; client.watchdog('says', 0.3); time.sleep(1000)"]

[[program]]
name = "mute"
command = ["sh", "-c", "sleep 1000; true"]
timeout = "500ms"
grace = "500ms"
restart = "never"
ladder = [{ do = "dump" }, { do = "kill", group = true }]
"""


@pytest.fixture
def runner(address: str) -> Iterator[Runner]:
    """One `banken run -c`, ended before its programs are."""
    with yard_at(address) as yard:
        one = Runner(yard.address)
        one.configure(CONFIG.replace("PYTHON", f'"{sys.executable}"'))
        one.start()
        yield one
        one.kill()


def test_ends_become_incidents_and_ladders_respect_restart_policies(runner: Runner) -> None:
    """One that fails and is not to restart has an open incident with its exit status; a good end is none.

    The ladder of one that died neither looks at what is gone nor starts it before its backoff is over; one that
    declares its own timeout is judged by it; one that never feeds is looked at and killed all the same.
    """
    fails = until(lambda: _incident(runner, "fails"), "it has an incident", START_S)
    assert (fails["cause"], fails["reason"]) == ("exited", "exit status 3")
    assert runner.rows()["fails"]["state"] == "stopped"
    until(lambda: runner.rows()["good"]["state"] == "stopped", "it ended well", START_S)
    assert "good" not in runner.watchdogs()
    dies = until(lambda: _incident(runner, "dies"), "it has an incident", START_S)
    assert dies["reason"] == "exit status 4"
    assert "dies 'dump' skipped: the program has ended" in until(
        lambda: "dies 'restart' done" in runner.errors() and runner.errors(), "its ladder is climbed", START_S
    )
    assert runner.rows()["dies"]["state"] == "backoff"
    assert until(lambda: _incident(runner, "says"), "its own timeout counts", START_S)["cause"] in (
        "timeout",
        "grace",
    )
    until(lambda: runner.rows()["mute"]["state"] == "stopped", "it was killed", START_S)
    log = until(lambda: "mute 'kill' done" in runner.errors() and runner.errors(), "that is told", START_S)
    assert "mute 'dump' done" in log
    assert "no process is known" not in log


def _incident(runner: Runner, name: str) -> dict[str, Any] | None:
    return runner.watchdogs().get(name, {}).get("incident")
