"""A supervisor that was stopped or starved holds it against nobody, and still finds who is silent."""

from __future__ import annotations

import os
import signal
import time

import pytest

from process.kit import START_S, Home, until

pytestmark = pytest.mark.process


def test_five_seconds_of_sigstop_convict_nobody_of_fifty_processes_but_the_dead_one(home: Home) -> None:
    """SIGSTOP for 5 s with 50 feeding processes: no false verdict; whoever was killed meanwhile is reported
    within its timeout and 0.5 s of the SIGCONT."""
    supervisor = home.supervisor()
    events = home.events()
    pids = home.worker("herd", 50, 2.0, 0.25).hear()["pids"]
    until(lambda: home.ask("summary")["states"]["alive"] == 50, "all fifty are fed")
    supervisor.signal(signal.SIGSTOP)
    time.sleep(2.5)
    os.kill(pids[17], signal.SIGKILL)
    time.sleep(2.5)
    supervisor.signal(signal.SIGCONT)
    continued = time.monotonic()
    verdict = events.until(START_S, "expired")
    assert verdict["name"] == "w-17"
    assert verdict["heard"] - continued <= 2.0 + 0.5
    events.during(2.3)  # who was wrongly suspected would be convicted by now
    assert max(event["lost"] for event in events.all("stalled")) > 3.5
    assert events.convicted() == {"w-17"}
    assert home.ask("summary")["states"]["alive"] == 49


def test_short_stops_one_after_another_convict_nobody(home: Home) -> None:
    """Seven stops, each longer than the timeout, a moment apart: no false verdict."""
    supervisor = home.supervisor()
    events = home.events()
    home.worker("herd", 10, 0.7, 0.05).hear()  # so much that a busy machine keeps none of them for so long
    until(lambda: home.ask("summary")["states"]["alive"] == 10, "all ten are fed")
    for _ in range(7):
        supervisor.signal(signal.SIGSTOP)
        time.sleep(0.9)
        supervisor.signal(signal.SIGCONT)
        time.sleep(0.15)
    events.during(1.0)
    assert events.convicted() == set()
    assert home.ask("summary")["stalls"] >= 4
