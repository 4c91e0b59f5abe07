"""Work and idle in real processes: what hangs is named, what is idle is left alone."""

from __future__ import annotations

import re

import pytest

from process.kit import SCRIPTS, Home, until
from process.ladder_kit import House

DUMP = '[[watchdog]]\nname = "*"\nladder = [{ do = "dump" }]\n'

SOON = 30.0
"""Seconds within which what must happen happens, on a busy machine."""


def line_of(function: str, which: int = 1) -> int:
    """The line in scopes.py that is marked "# here", in the first function of this name, or the second."""
    lines = (SCRIPTS / "scopes.py").read_text().splitlines()
    start = [n for n, text in enumerate(lines) if f"def {function}(" in text][which - 1]
    return next(n for n, text in enumerate(lines[start:], start + 1) if "# here" in text)


@pytest.mark.every_python
def test_the_incident_is_about_the_thread_that_hangs(house: House) -> None:
    """Four threads serve on; the fifth is in `stuck`, and neither they nor the main thread are the headline."""
    stream = house.run(DUMP)
    worker = house.start("scopes", "serve", "1.5")
    worker.hear()
    until(lambda: house.row("web"), "it is known")
    stream.during(2.5)
    assert not stream.convicted()
    worker.tell()
    began = worker.hear()
    verdict = stream.until(SOON, "expired", "web")
    ran = r"'GET /stuck' has run for \d+\.\d s; its limit is 1\.5 s in thread request-5"
    assert re.match(ran, verdict["reason"])
    assert verdict["heard"] - began >= 1.5
    done = stream.until(SOON, "action-done", "web")
    assert re.match(r"'GET /stuck' for \d+\.\d s: request-5 in `", done["text"])
    assert f"stuck` (scopes.py:{line_of('stuck')})" in done["text"]
    worker.tell()
    assert worker.hear() > 4, "the others went on"
    stream.until(SOON, "recovered", "web")
    stream.during(1.8)
    assert len(stream.all("expired")) == 1
    worker.tell()
    assert worker.ended(SOON)[0] == 0


@pytest.mark.every_python
def test_a_task_that_hangs_is_the_headline(house: House) -> None:
    """Its thread waits in the selector as ever; the other task goes on."""
    stream = house.run(DUMP)
    house.start("scopes", "tasks", "0.5").hear()
    verdict = stream.until(SOON, "expired", "etl")
    assert re.search(r"tasks\.<locals>\.stuck' has run for \d+\.\d s; its limit is 0\.5 s", verdict["reason"])
    assert verdict["reason"].endswith("in thread MainThread, task job-7")
    done = stream.until(SOON, "action-done", "etl")
    assert f"task job-7 in `stuck` (scopes.py:{line_of('stuck', 2)})" in done["text"]


def test_work_that_keeps_the_interpreter_lock_is_noticed(home: Home) -> None:
    """No thread of it can say anything: the supervisor knows the moment already."""
    home.supervisor()
    stream = home.events()
    worker = home.start("scopes", "held", "1")
    worker.hear()
    until(lambda: home.row("web").get("state") == "idle", "it is idle")
    worker.tell()
    began = worker.hear()
    verdict = stream.until(SOON, "expired", "web")
    assert 1.0 <= verdict["heard"] - began <= 2.9  # it keeps it for 3 s
    stream.until(SOON, "recovered", "web")


def test_idle_outlives_a_restart_of_the_supervisor(home: Home) -> None:
    """It is said again before the timeout that the new supervisor goes by."""
    first = home.supervisor()
    home.start("scopes", "idle", "1").hear()
    until(lambda: home.row("web").get("state") == "idle", "it is idle")
    first.kill()
    home.supervisor()
    stream = home.events()
    until(lambda: home.row("web").get("state") == "idle", "it is idle again")
    stream.during(2.5)
    assert not stream.convicted()
    assert home.row("web")["state"] == "idle"
