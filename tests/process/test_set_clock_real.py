"""The wall clock is set by years, before and after a restart: no pause, extension, budget or history changes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest

from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message
from banken_supervisor.journal import restore
from banken_supervisor.journal.tables import FEEDS
from process.kit import until
from process.ladder_kit import House

pytestmark = pytest.mark.process

YEAR = 365 * 86_400

SET_CLOCK = """
import os, time

_time, _set = time.time, os.environ["SET_CLOCK"]


def set_clock():
    try:
        with open(_set) as file:
            return _time() + float(file.read())
    except (OSError, ValueError):
        return _time()


time.time = set_clock
"""


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the seconds by which the wall clock of all that is started is wrong."""
    (tmp_path / "sitecustomize.py").write_text(SET_CLOCK)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    )
    monkeypatch.setenv("SET_CLOCK", str(tmp_path / "offset"))
    return tmp_path / "offset"


def set_clock(clock: Path, years: float) -> None:
    new = clock.with_name("offset.new")
    new.write_text(str(years * YEAR))
    new.replace(clock)


def feed(house: House, name: str, timeout: float) -> None:
    house.ask("tell", frame=encode(Message(Kind.FEED, name, None, 0.0, Declaration(timeout, timeout, timeout))))


def kill(house: House) -> None:
    os.kill(house.run_by.pid, signal.SIGKILL)
    house.run_by.process.wait(10)


def until_when(house: House) -> set[str]:
    """Of whom it is on disk until when they are paused or extended."""
    found = restore(str(house.place / "s" / "journal.db")).registry
    return {each.name for each in found if each.paused_until is not None}


@pytest.mark.parametrize(("before", "after"), [(0.0, -27.0), (3.0, 0.0)])
def test_a_pause_and_an_extension_are_as_long_as_they_were(
    house: House, clock: Path, before: float, after: float
) -> None:
    """The clock jumps while no supervisor runs, and again while one does."""
    set_clock(clock, before)
    house.run("[supervisor]\n")
    for name, kind in (("paused", Kind.PAUSE), ("extended", Kind.EXTEND)):
        feed(house, name, 1.0)
        house.ask("tell", frame=encode(Message(kind, name, None, 0.0, None, (3.0,))))
    began = time.monotonic()
    until(lambda: house.row("paused")["state"] == "paused", "it is paused")
    until(lambda: until_when(house) == {"paused", "extended"}, "both are on disk")
    kill(house)
    set_clock(clock, after)
    events = house.run("[supervisor]\n")
    rows = house.rows("*")
    left = 3.0 - (time.monotonic() - began)
    if left > 0.0:  # else the machine is too busy to see it
        assert rows["paused"]["state"] == "paused"
    assert 0.0 < rows["extended"]["left"] <= 2.0 + 3.5
    set_clock(clock, 0.0)
    for name in ("paused", "extended"):
        events.until(20.0, "expired", name)
    assert time.monotonic() - began >= 3.0


def test_a_clock_that_is_ahead_for_one_start_deletes_no_history(house: House, clock: Path) -> None:
    """And what was written while the clock was behind stays, too."""
    config = '[supervisor]\nretention = { age = "30d", size = "256MiB" }\n'
    for years in (-20.0, 2.0, 0.0):
        set_clock(clock, years)
        house.run(config)
        house.banken("fail", "w", f"seen {years:g}")
        feed(house, "w", 3600.0)
        until(lambda: house.ask("summary")["states"].get("expired", 0) == 0, "it has recovered")
        seen = f"seen {years:g}"
        until(lambda seen=seen: seen in json.dumps(house.incidents("w")), "it is on disk")  # type: ignore[misc]
        time.sleep(0.3)  # a start looks for what is old at once
        kill(house)
    assert json.dumps(house.incidents("w")).count("seen ") == 3


def test_a_spent_budget_stays_spent(house: House, clock: Path) -> None:
    """Two runs a day are two runs a day, also for a supervisor whose clock says that years have gone by."""
    log = clock.with_name("runs")
    config = (
        '[[watchdog]]\nname = "w"\ntimeout = "1h"\n[[watchdog.ladder]]\ndo = "exec"\n'
        f'command = ["sh", "-c", "echo run >> {log}"]\nbudget = "2 per 1d"\n'
    )
    for years in (0.0, 3.0):
        set_clock(clock, years)
        events = house.run(config)
        for turn in range(2):
            feed(house, "w", 3600.0)
            until(lambda: house.row("w")["state"] in ("alive", "given-up"), "it is fed")
            house.banken("fail", "w", "again")
            until(lambda: house.row("w")["state"] in ("expired", "given-up"), "it has failed")
            if not years:
                ran = turn + 1
                until(lambda ran=ran: log.exists() and log.read_text().count("run") == ran, "its command has run")  # type: ignore[misc]
            time.sleep(0.2)
        events.close()
        kill(house)
    assert log.read_text().count("run") == 2


@pytest.mark.parametrize(("boot", "left"), [("", 600.0), ("0" * 16, 600.0)])
def test_a_long_deadline_goes_on_over_kills_and_a_reboot(house: House, clock: Path, boot: str, left: float) -> None:
    """Fed once, 3,000 s ago: it is due in 600 s, however often the supervisor was killed, and whatever the clock on
    the wall says. ``boot``: of the feed's row; another one stands for a reboot."""
    journal = house.place / "s" / "journal.db"
    house.run("[supervisor]\n")
    feed(house, "w", 3600.0)
    until(lambda: restore(str(journal)).feeds.get("w"), "its feed is on disk")
    kill(house)

    found = restore(str(journal)).feeds["w"]
    older = replace(found, silent=found.silent + 3000.0, boot=boot or found.boot)
    with contextlib.closing(sqlite3.connect(journal, isolation_level=None)) as connection:
        connection.execute(FEEDS.insert("REPLACE"), FEEDS.row(older))
    for years in (0.0, 1.0) if not boot else (0.0,):
        set_clock(clock, years)
        house.run("[supervisor]\n")
        assert left - 30.0 < house.row("w")["left"] < left + 60.0
        time.sleep(0.2)
        kill(house)
    house.run("[supervisor]\n")
    feed(house, "w", 3600.0)
    assert house.row("w")["left"] > 3500.0


def test_the_uptime_of_the_supervisor_is_no_difference_of_wall_clocks(house: House, clock: Path) -> None:
    house.run("[supervisor]\n")
    set_clock(clock, 10.0)
    assert 0.0 <= house.ask("summary")["uptime"] < 60.0
