"""A supervisor that remembers: kill -9 at random moments under load, and what the next one makes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from process.kills import Nights
from process.kit import Home
from process.test_adoption_real import Runner

pytestmark = pytest.mark.process

KILLS = 20


@pytest.fixture
def runner(home: Home) -> Iterator[Runner]:
    """`banken run -c`, with a journal; ended whatever happens."""
    one = Runner(home.address)
    yield one
    one.kill()


@pytest.mark.timeout(60 + 10 * KILLS)
def test_nothing_is_lost_or_doubled_and_nobody_convicted(home: Home, runner: Runner, record_property: Any) -> None:
    """Twenty kills while incidents open, climb and close all the time: each that was announced is in the journal,
    none has two openings, no rung ran twice for one incident, and who feeds all the time has none."""
    nights = Nights(home, runner, os.environ.get("BANKEN_SEED", "restore"))
    for _ in range(KILLS):
        nights.kill()
    count = nights.finish()
    record_property("count", vars(count))
    assert count.clean, count
    assert count.announced >= KILLS * 25
    assert count.resumed > KILLS
    assert count.rungs > KILLS
