"""What the operator declares no longer: no verdict is lost, and no callback is left behind."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from banken.client import Client
from banken.protocol.messages import Declaration, Kind
from banken_supervisor import Supervisor
from banken_supervisor.engine.policy import Policy, Window
from banken_supervisor.engine.states import State
from engine_kit import ALICE, TEN, Bench
from recovery_kit import until


def test_a_name_that_a_pattern_covers_is_still_judged() -> None:
    """The config names it no longer, and a pattern fits it: its timer goes on, by the pattern's policy."""
    bench = Bench()
    bench.engine.declare("worker-3", Declaration(20.0, 3.0, 20.0), bench.now, bench.out)
    bench.feed("worker-3")
    bench.jump(15.0)
    bench.engine.rules.replace_patterns([("worker-*", Declaration(18.0, 3.0, 18.0))])
    bench.engine.undeclare("worker-3", bench.now, bench.out)
    bench.said()
    bench.jump(2.9)
    assert bench.said() == []
    bench.jump(0.2)
    assert bench.said() == ["expired"]


def test_an_open_incident_outlives_the_change() -> None:
    """It was hanging: nothing closes its incident but a feed, a release or a new process."""
    bench = Bench()
    bench.engine.declare("worker-3", TEN, bench.now, bench.out)
    bench.feed("worker-3")
    bench.jump(10.5)
    assert "expired" in bench.said()
    bench.engine.rules.replace_patterns([("worker-*", Declaration(18.0, 3.0, 18.0))])
    bench.engine.undeclare("worker-3", bench.now, bench.out)
    assert bench.state("worker-3") is State.EXPIRED
    assert bench.said() == []
    bench.feed("worker-3")
    assert bench.said() == ["recovered"]


def test_a_worker_that_no_rule_covers_keeps_its_declaration() -> None:
    """A process owns the name: it is watched on, by what was in force, and without the operator's ladder."""
    bench = Bench(defaults=None)
    bench.engine.declare("worker-3", TEN, bench.now, bench.out)
    bench.feed("worker-3")
    bench.engine.undeclare("worker-3", bench.now, bench.out)
    bench.said()
    bench.jump(10.5)
    assert bench.said() == ["expired"]


def test_a_name_that_nobody_feeds_is_forgotten() -> None:
    bench = Bench()
    bench.engine.declare("never-fed", TEN, bench.now, bench.out)
    bench.engine.undeclare("never-fed", bench.now, bench.out)
    assert bench.state("never-fed") is None
    assert bench.said() == ["declared", "released"]
    bench.say(Kind.FEED, "never-fed", who=ALICE)
    assert bench.state("never-fed") is State.ALIVE


def test_a_released_watchdogs_callback_does_not_run_for_another_process(tmp_path: Path) -> None:
    """The name is free: what another process makes of it is not the supervisor's own watchdog any more."""
    ran = threading.Event()
    with Supervisor(tmp_path / "a") as supervisor:
        watchdog = supervisor.watchdog("shared", timeout=60.0, callback=ran.set)
        watchdog.feed()
        supervisor._client.release("shared")
        client = Client(tmp_path / "a")
        try:
            until(lambda: client.fail("shared", "another process's incident"), "it is connected")
            until(lambda: supervisor._loop is not None and supervisor._loop.metrics.events["expired"], "a verdict")
            time.sleep(0.2)
        finally:
            client.close()
    assert not ran.is_set()


def test_a_policys_maintenance_window_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given by Supervisor.policy and not by a config: while the window is open the watchdog is paused."""
    minute_ago = datetime.now() - timedelta(minutes=1)
    window = Window(f"{minute_ago.minute} {minute_ago.hour} * * *", 3600.0)
    with Supervisor(tmp_path / "a") as supervisor:
        supervisor.policy("w", Policy(Declaration(60.0, 60.0, 60.0), maintenance=(window,)))

        def state() -> State | None:
            assert supervisor._loop is not None
            record = supervisor._loop.driver.engine.get("w")
            return None if record is None else record.state

        until(lambda: state() is State.PAUSED, "it is paused")
