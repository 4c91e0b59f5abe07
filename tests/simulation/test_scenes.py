"""The core in the two worst places for a judge: behind a flood, and behind an I/O thread that stands still."""

from __future__ import annotations

import pytest

from .scenes import flood, io_starved


@pytest.mark.timeout(300)
@pytest.mark.parametrize("connections", [10, 100, 400, 1000])
def test_nobody_is_judged_by_a_feed_that_waits_in_a_flood(connections: int) -> None:
    """A worker whose feed waits behind a flood is not judged, though a turn reads but a few of each connection."""
    assert flood(connections) == []


@pytest.mark.parametrize("milliseconds", [100, 600, 1200])
def test_an_io_thread_that_stands_still_convicts_nobody(milliseconds: int) -> None:
    """While the I/O thread alone stands still for up to 1.25 s, the hold waits for it."""
    assert io_starved(milliseconds) == []
