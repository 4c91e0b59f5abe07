"""A program that takes long to stop, through the real `banken run -c`."""

from __future__ import annotations

import json
import sys

import pytest

from process.kit import until
from process.ladder_kit import LONG, House

pytestmark = pytest.mark.process

SLOW = """
import signal, time
from banken import client
signal.signal(signal.SIGTERM, lambda *_: time.sleep(60))
while True:
    client.feed()
    time.sleep(0.05)
"""


def test_a_stop_that_outlasts_the_timeout_is_no_incident(house: House) -> None:
    """Silent for three timeouts after SIGTERM, then killed: it is down, and nobody was alarmed."""
    command = json.dumps([sys.executable, "-c", SLOW])
    events = house.run(
        f'[[program]]\nname = "slow"\ncommand = {command}\ntimeout = "1s"\ngrace = "20s"\n'
        'stop_timeout = "3s"\nladder = [{ do = "log" }]\n'
    )
    until(lambda: house.row("slow").get("state") == "alive", "it feeds", LONG)
    # On a machine that is busy it may have been late before; what counts is what comes from now on.
    before = len(events.all("expired", "slow"))
    house.banken("stop", "slow")
    events.until(LONG, "program", "slow", what="program-killed")
    events.until(LONG, "program", "slow", what="program-stopped")
    until(lambda: house.row("slow") == {}, "its watchdog is released", LONG)
    assert len(events.all("expired", "slow")) == before
