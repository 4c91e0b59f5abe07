"""A wall clock that is set beyond what Python can count in nanoseconds (the year 2262), or before 1970."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message
from process.kit import until
from process.ladder_kit import LONG, House

pytestmark = pytest.mark.process

FAR_CLOCK = """
import os, time

_time, _gettime, _far = time.time, time.clock_gettime, os.environ["FAR_CLOCK"]
_SECONDS = float(os.environ["FAR_SECONDS"])


def far(*args):
    if not os.path.exists(_far):
        return _time()
    if _SECONDS > 2**63 / 1e9:  # as CPython 3.13 says it
        raise OverflowError("timestamp too large to convert to C PyTime_t")
    return _SECONDS


time.time = far
time.time_ns = lambda: int(far() * 1e9)
time.clock_gettime = lambda clock: (
    _SECONDS if clock == time.CLOCK_REALTIME and os.path.exists(_far) else _gettime(clock)
)
"""


@pytest.mark.parametrize("seconds", [9_300_000_000.0, -1_830_000_000.0, 260_000_000_000.0])
def test_verdicts_go_on_whatever_the_clock_on_the_wall_says(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """In 2264, 1912 and 10209: incidents open and close, are kept and told; the log is written, somewhere."""
    (tmp_path / "sitecustomize.py").write_text(FAR_CLOCK)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    )
    monkeypatch.setenv("FAR_CLOCK", str(tmp_path / "far"))
    monkeypatch.setenv("FAR_SECONDS", str(seconds))
    config = f'[supervisor]\njournal = "{tmp_path / "journal"}"\n' + LADDER
    events = house.run(config)
    (tmp_path / "far").write_text("")
    feed = encode(Message(Kind.FEED, "w", None, 0.0, Declaration(0.3, 0.3, 0.3)))
    for _ in range(2):
        house.ask("tell", frame=feed)
        told = events.until(LONG, "expired", "w")
        assert told["time"] == pytest.approx(seconds, abs=60.0)
        events.until(LONG, "action-done", "w")
        house.ask("tell", frame=feed)
        events.until(LONG, "recovered", "w")
        events.seen.clear()
    until(lambda: "w recovered" in house.run_by.log(), "its lines are written")
    summary = house.ask("summary")
    assert summary["internal_errors"].keys() <= {"log"}, "logging alone has no other clock"
    assert summary["journal"]["state"] == "ok"
    assert house.run_by.running()
    assert time.time() < 9e9, "this process has its own"


LADDER = """
[[watchdog]]
name = "quiet"
timeout = "1h"
maintenance = [{ cron = "0 3 * * *", for = "1h" }]

[[watchdog]]
name = "w"
timeout = "300ms"
[[watchdog.ladder]]
do = "exec"
command = ["true"]
"""
