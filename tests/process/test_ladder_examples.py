"""The ladders in examples/ladder do what they say, with all their times shortened."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from process.kit import until
from process.ladder_kit import LONG, House

pytestmark = pytest.mark.process

LADDERS = Path(__file__).parents[2] / "examples" / "ladder"


def shortened(name: str, speed: float) -> str:
    """The example with every duration in seconds divided by ``speed``."""
    text = (LADDERS / name).read_text()
    quicker, count = re.subn(r'(?<=")(\d+)s(?=")', lambda found: f"{int(float(found[1]) / speed * 1000)}ms", text)
    assert count > 0
    return quicker


def test_every_ladder_is_run_by_a_test() -> None:
    """A new example cannot be forgotten here."""
    assert sorted(path.name for path in LADDERS.glob("*.toml")) == ["multilevel.toml", "restart_limit.toml"]


def test_multilevel_climbs_three_levels_and_a_feed_ends_it(house: House) -> None:
    """Warning at the verdict, then critical, then emergency, each once and at its time; a feed recovers."""
    events = house.run(shortened("multilevel.toml", 30))
    fed = house.client()
    fed.feed("multilevel")
    verdict = events.until(LONG, "expired", "multilevel")
    events.until(LONG, "action-done", "multilevel", do="callback")
    done = events.all("action", "multilevel")
    assert [(each["level"], each["do"]) for each in done] == [
        ("warning", "log"),
        ("critical", "exec"),
        ("emergency", "callback"),
    ]
    after = [each["time"] - verdict["time"] for each in done]
    assert all(at >= earliest for at, earliest in zip(after, (0.0, 0.9, 2.9), strict=True))
    house.banken("feed", "multilevel")
    assert events.until(LONG, "recovered", "multilevel")["incident"] == verdict["incident"]
    told = house.incident(verdict["incident"])
    assert told["steps"][1]["text"] == "sh: exit status 0\nCRITICAL: multilevel is silent"
    assert "\n  CRITICAL: multilevel is silent\n" in house.banken("incident", verdict["incident"])
    until(lambda: "the work is late" in house.run_by.log(), "the log has the first")
    assert f"Incident(id='{verdict['incident']}'" in house.run_by.said()


def test_multilevel_stops_climbing_when_it_is_fed_in_between(house: House) -> None:
    """Fed after the first level: the next ones are not reached."""
    events = house.run(shortened("multilevel.toml", 10))
    fed = house.client()
    fed.feed("multilevel")
    events.until(LONG, "action-done", "multilevel", do="log")
    fed.feed("multilevel")
    fed.pause("multilevel")  # so that it does not expire again
    events.until(LONG, "recovered", "multilevel")
    events.during(4.0)
    assert [each["level"] for each in events.all("action", "multilevel")] == ["warning"]


def test_restart_limit_restarts_three_times_and_gives_up(house: House) -> None:
    """Four incidents, three new processes, given up once; the fourth process is left as it is."""
    events = house.run(shortened("restart_limit.toml", 20))
    given_up = events.until(2 * LONG, "given-up", "restart-limit")
    events.until(LONG, "action-done", "restart-limit", do="log")
    left = house.program("restart-limit")["pid"]
    events.during(1.5)
    found = house.incidents("restart-limit")
    assert [each["how"] for each in found] == ["given-up", "reborn", "reborn", "reborn"]
    assert found[0]["id"] == given_up["incident"]
    pids = [each["evidence"][0]["pid"] for each in map(house.incident, (each["id"] for each in found))]
    assert len(set(pids)) == 4
    assert house.program("restart-limit")["pid"] == left == pids[0]
    assert len(events.all("given-up")) == 1
    until(lambda: "call the operator" in house.run_by.log(), "the log has the last word")
