"""The conditions through a real ``banken run -c FILE``: too fast, too few, blamed, maintenance, learnt."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from banken.control import Control
from banken.errors import Unreachable
from process.kit import START_S, Home, until

pytestmark = pytest.mark.process

CONFIG = """
[[watchdog]]
name = "quick"
timeout = "60s"
min_interval = "500ms"

[[watchdog]]
name = "pool-*"
timeout = "60s"

[[watchdog]]
name = "child"
timeout = "60s"
depends_on = ["pool"]

[[watchdog]]
name = "learner"
timeout = "auto"
auto = { least = "1s", most = "60s", warm_up = 20 }

[[watchdog]]
name = "night-*"
timeout = "60s"
%s

[[group]]
name = "pool"
members = ["pool-*"]
at_least = 2
"""


def banken(address: str, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "banken_supervisor", *words, "--address", address],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout


class Run:
    """``banken run -c`` with a config that can be changed."""

    def __init__(self, address: str, directory: Path) -> None:
        self.home = Home(address)
        self.address = address
        self._file = directory / "banken.toml"
        self._log = (directory / "log").open("wb")
        self.write("")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "banken_supervisor", "run", "-c", str(self._file), "--address", address],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=directory,
        )
        until(self._answers, "the supervisor answers", START_S)
        self.client = self.home.client()

    def write(self, maintenance: str) -> None:
        self._file.write_text(CONFIG % maintenance)

    def reload(self, maintenance: str) -> None:
        self.write(maintenance)
        stream = self.home.events()
        self.home.ask("reload")
        stream.until(10.0, "reloaded")

    def state(self, name: str) -> str:
        return str(self.home.row(name).get("state"))

    def close(self) -> None:
        if hasattr(self, "client"):
            self.client.close()
        self.home.close()
        self._process.kill()
        self._process.wait(10)
        self._log.close()

    def _answers(self) -> bool:
        assert self._process.poll() is None, Path(self._log.name).read_text()
        try:
            with Control(self.address, 0.5) as control:
                return bool(control.request("ping")["pid"] == self._process.pid)
        except Unreachable:
            return False


@pytest.fixture
def run(address: str, tmp_path: Path) -> Iterator[Run]:
    made = Run(address, tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_a_runaway_feeder_is_found_and_one_that_keeps_its_pace_is_not(run: Run) -> None:
    """Sixty feeds at once: too-fast, once."""
    stream = run.home.events()
    dog = run.client.watchdog("quick", resolution=0.0)
    for _ in range(60):
        dog.feed()
    event = stream.until(10.0, "expired", "quick")
    assert (event["cause"], event["reason"]) == ("too-fast", "fed more often than once in 0.5 s")
    stream.during(0.2)
    assert len(stream.all("expired", "quick")) == 1


def test_a_pool_with_too_few_is_an_incident_and_its_child_is_marked(run: Run) -> None:
    """Two of two alive, one released: pool expires with its reason; the child's failure blames it; back again."""
    stream = run.home.events()
    for name in ("pool-1", "pool-2", "child"):
        run.client.feed(name)
    until(lambda: run.state("pool") == "alive", "the pool is well")
    run.client.release("pool-2")
    event = stream.until(10.0, "expired", "pool")
    assert (event["cause"], event["reason"]) == ("too-few", "1 alive, at least 2 wanted")
    run.client.fail("child", "no pool")
    assert stream.until(10.0, "expired", "child")["blamed"] == "pool"
    assert run.home.row("child")["incident"]["blamed"] == "pool"
    assert run.home.row("pool")["group"] == {"alive": 1, "at_least": 2, "members": ["pool-*"], "stopped": []}
    run.client.feed("pool-3")
    stream.until(10.0, "recovered", "pool")


def test_maintenance_of_the_config_pauses_through_a_reload_and_ends_with_it(run: Run) -> None:
    """A window that opened half an hour ago: who is there and who comes is paused; without it, judged again."""
    run.client.feed("night-1")
    until(lambda: run.state("night-1") == "alive", "it is fed")
    began = datetime.now() - timedelta(minutes=30)
    run.reload(f'maintenance = [{{ cron = "{began.minute} {began.hour} * * *", for = "2h" }}]')
    until(lambda: run.state("night-1") == "paused", "the window pauses it")
    run.client.feed("night-2")
    until(lambda: run.state("night-2") == "paused", "who comes is paused too")
    assert 3000 < run.home.row("night-2")["left"] < 5500
    run.reload("")
    until(lambda: run.state("night-1") == run.state("night-2") == "alive", "the window is gone")


def test_a_learnt_timeout_is_suggested_and_in_force(run: Run) -> None:
    """Thirty feeds 10 ms apart: the least timeout that the config allows, from 60 s on."""
    dog = run.client.watchdog("learner", resolution=0.0)
    for _ in range(30):
        dog.feed()
        time.sleep(0.01)
    until(lambda: run.home.row("learner")["timeout"] < 60.0, "it has learnt")
    (row,) = json.loads(banken(run.address, "suggest", "learner", "--json"))
    assert row["gaps"] >= 20
    assert row["auto"] == [1.0, 60.0]
    assert row["timeout"] == pytest.approx(min(60.0, max(1.0, row["proposed"])), rel=0.15)
    table: Any = banken(run.address, "suggest").splitlines()
    assert table[0].split() == ["NAME", "TIMEOUT", "GAPS", "LONGEST", "GAP", "PROPOSED"]
    (line,) = [line for line in table if line.startswith("learner ")]
    assert "(auto 1 s..1m)" in line
    banken(run.address, "suggest", "nobody", code=1)


def test_pause_and_resume_take_patterns(run: Run) -> None:
    """All that fit are paused, the others are not."""
    for name in ("pool-1", "pool-2", "child"):
        run.client.feed(name)
    until(lambda: run.state("child") == "alive", "they are fed")
    told = banken(run.address, "pause", "pool-*", "1h")
    assert told.splitlines() == [f"pool-{n} paused: not judged for 1h" for n in (1, 2)]
    assert [run.state(name) for name in ("pool-1", "pool-2", "child")] == ["paused", "paused", "alive"]
    banken(run.address, "resume", "pool-?", "-q")
    assert [run.state(name) for name in ("pool-1", "pool-2")] == ["alive", "alive"]
    banken(run.address, "pause", "nobody-*", code=1)
