"""Times on the terminal: one zone everywhere, the reader's, with its name; the date where it is another day's."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from banken_supervisor.cli.events import line
from banken_supervisor.cli.logs import JsonFormatter, PlainFormatter
from banken_supervisor.cli.printing import clock, timestamp
from banken_supervisor.cli.top import text


@pytest.fixture
def berlin() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


AT = datetime(2026, 7, 1, 22, 30, 5, 250_000, UTC).timestamp()
"""In Berlin that is the next day."""


@pytest.mark.usefixtures("berlin")
def test_a_time_is_local_and_says_so() -> None:
    assert clock(AT) == "2026-07-02 00:30:05.250 CEST"
    assert clock(AT, AT + 3600.0) == "00:30:05.250 CEST"
    assert clock(AT, AT - 3600.0) == "2026-07-02 00:30:05.250 CEST"
    assert timestamp(AT) == "2026-07-01T22:30:05.250Z"


@pytest.mark.usefixtures("berlin")
def test_the_hour_that_comes_twice_is_told_apart() -> None:
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
    assert [clock(first), clock(first + 3600.0)] == [
        "2026-10-25 02:30:00.000 CEST",
        "2026-10-25 02:30:00.000 CET",
    ]


@pytest.mark.usefixtures("berlin")
def test_events_incidents_the_log_and_top_have_one_zone() -> None:
    event = {"seq": 1, "time": AT, "type": "expired", "name": "w", "cause": "timeout"}
    assert line(event, colours=False).startswith("2026-07-02 00:30:05.250 CEST  expired")
    assert text.clock(AT) == "2026-07-02 00:30:05 CEST"
    record = logging.makeLogRecord({"msg": "w expired", "levelname": "WARNING", "banken": {"time": AT}})
    assert PlainFormatter().format(record) == "2026-07-02 00:30:05.250 CEST warning w expired"
    assert json.loads(JsonFormatter().format(record))["timestamp"] == "2026-07-01T22:30:05.250Z"
    now = time.time()
    today = line({**event, "time": now}, colours=False)
    assert today.startswith(clock(now, now))
    assert today[2] == ":"
