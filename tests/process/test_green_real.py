"""gevent: no part of the client may block the hub, though banken was imported before ``monkey.patch_all()``."""

from __future__ import annotations

import re

import pytest

from process.kit import Home, until

pytest.importorskip("gevent", reason="gevent is not installed: pip install gevent")

SOON = 30.0


def test_a_callback_does_not_stop_the_hub(home: Home) -> None:
    """Other greenlets run on while it waits for its verdict, and it runs; also where many files are open."""
    home.supervisor()
    worker = home.start("green", "callback")
    told = worker.hear()
    assert told["ran"] == 1
    assert told["turns"] >= 10
    assert told["open"] > 1_024
    until(lambda: home.row("green").get("state") == "idle", "it is idle")
    worker.tell()
    assert worker.ended(SOON)[0] == 0


def test_work_in_greenlets(home: Home) -> None:
    """The one that hangs is late while others go on, and the timer in the process runs, too."""
    home.supervisor()
    stream = home.events()
    worker = home.start("green", "work")
    verdict = stream.until(SOON, "expired", "green")
    found = re.match(r"'GET /x' has run for (\d+\.\d) s; its limit is 0\.5 s", verdict["reason"])
    assert found, verdict["reason"]
    assert float(found[1]) >= 0.5
    told = worker.hear()
    assert told["turns"] >= 10
    assert told["local"] == 1
    stream.until(SOON, "recovered", "green")
    until(lambda: home.row("green").get("state") == "idle", "it is idle")
    worker.tell()
    assert worker.ended(SOON)[0] == 0
