"""What is said once is not said for ever: the log and the journal of a night in which nothing new happens."""

from __future__ import annotations

import re

import pytest

from process.kit import until
from process.ladder_kit import LONG, House

pytestmark = [pytest.mark.process]

RUNS = 40


def test_an_incident_without_a_ladder_is_repeated_more_and_more_rarely(house: House) -> None:
    """Every run of its callback is an event; the log and the journal have the 1st, 2nd, 4th, 8th …"""
    events = house.run("")
    client = house.client()
    dog = client.watchdog("silent", timeout=30, interval=0.05)
    until(lambda: dog.feed() or house.row("silent"), "it is fed", LONG)
    client.fail("silent", "Traceback (most recent call last):\nOSError: disk full")
    events.until(LONG, "callback-repeated", "silent", run=RUNS)
    until(lambda: "run 32" in house.run_by.log(), "the log has the 32nd", LONG)
    log = house.run_by.log()
    runs = [int(each) for each in re.findall(r"silent callback-repeated \(failed, run (\d+)\)", log)]
    assert runs[:5] == [2, 4, 8, 16, 32]
    assert log.count("Traceback") == 1
    assert "its deadline" not in log
    (incident,) = house.incidents("silent")
    kept = [each["run"] for each in house.incident(incident["id"])["events"] if each["type"] == "callback-repeated"]
    assert kept[:5] == [2, 4, 8, 16, 32]
    assert house.row("silent")["incident"]["runs"] >= RUNS


def test_sections_are_no_news(house: House) -> None:
    """They come and go without a line; a hung one has its verdict and its end there, a watchdog its release."""
    events = house.run("")
    client = house.client()
    until(lambda: client.feed("worker") or house.row("worker"), "the client is connected", LONG)
    for _ in range(3):
        with client.section("load", timeout=30):
            client.feed("worker")
    with client.section("stuck", timeout=0.2):
        events.until(LONG, "expired")
    client.release("worker")
    until(lambda: "worker released" in house.run_by.log(), "the log has the release", LONG)
    assert re.findall(r"(\w+)@\d+\.\d+ (\w+)", house.run_by.log()) == [("stuck", "expired"), ("stuck", "closed")]
