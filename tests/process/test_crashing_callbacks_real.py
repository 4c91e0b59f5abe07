"""`banken run` with functions of the config that crash, and that are edited."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from process.kit import until
from process.ladder_kit import LONG, House

pytestmark = pytest.mark.process

MODULE = """
import ctypes, logging
def crashes(): ctypes.string_at(0)
def good(incident): logging.getLogger("bk").warning("VERSION %s", incident.name)
"""

CONFIG = """
[callbacks]
crashes = "bk_hooks:crashes"
good = "bk_hooks:good"
[[watchdog]]
name = "a-*"
timeout = "100ms"
callback = "crashes"
ladder = [
  { after = "100ms", do = "callback", callback = "crashes" },
  { after = "200ms", do = "callback", callback = "good" },
]
[[watchdog]]
name = "b-*"
timeout = "100ms"
callback = "good"
"""


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/exe").exists()


def test_a_crash_is_told_as_event_and_in_the_incident_and_a_reload_takes_what_was_edited(house: House) -> None:
    module = house.place / "bk_hooks.py"
    module.write_text(MODULE.replace("VERSION", "first"))
    events = house.run(CONFIG)
    house.client().feed("a-1")
    failed = events.until(LONG, "callback-failed", "a-1")
    assert failed["signal"] == "SIGSEGV"
    assert "its process ended while it ran" in failed["text"]
    assert "ended by SIGSEGV" in failed["text"]
    step = events.until(LONG, "action-failed", "a-1", do="callback")
    assert "ended by SIGSEGV" in step["text"]
    events.until(LONG, "action-done", "a-1", do="callback")
    shown = house.banken("incident", failed["incident"])
    assert "its process ended while it ran" in shown
    until(lambda: "first a-1" in house.run_by.log(), "its line is in the log")
    until(lambda: "a process of callbacks ended while crashes" in house.run_by.log(), "the end is in the log")

    module.write_text(MODULE.replace("VERSION", "second"))
    house.banken("reload")
    house.client().feed("b-1")
    events.until(LONG, "callback-done", "b-1")
    until(lambda: "second b-1" in house.run_by.log(), "its line is in the log")

    module.write_text("import os; os._exit(9)")
    assert "cannot be imported: the process that imports it: exit status 9" in house.banken("reload", code=4)
    house.client().feed("b-2")
    events.until(LONG, "callback-done", "b-2")

    pids = [each.pid for each in psutil.Process(house.run_by.pid).children()]
    assert pids
    os.kill(house.run_by.pid, signal.SIGTERM)
    assert house.run_by.ended(LONG)[0] == 0
    until(lambda: not any(map(alive, pids)), "its processes have ended")
