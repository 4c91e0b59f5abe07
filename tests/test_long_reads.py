"""What was read for long: how much later a feed may have come than its stamp says, and what knowing that costs."""

from __future__ import annotations

import tracemalloc
from random import Random

from banken.protocol.messages import Declaration
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.long_reads import LONG_READS_MAX, LongReads
from banken_supervisor.engine.rules import Rules

TURN_S = 0.01


def test_a_flood_of_hours_leaves_two_megabytes_and_no_objects() -> None:
    """Each turn of it is a long read, and each of those was two objects and a place in a dict."""
    driver = Driver(Engine(Rules(Declaration(3600.0, 3600.0, 3600.0)), "run"), 0.0)
    tracemalloc.start()
    try:
        for number in range(1, LONG_READS_MAX + 1):
            driver.wake(number * TURN_S, TURN_S)
            driver.drained(100, complete=True, took=0.9 * TURN_S)
        taken = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    assert sum(trace.size for trace in taken.traces) < 2 * 2**20
    assert len(taken.traces) < 100


def test_the_newest_are_known_as_they_were() -> None:
    chance, reads, known, stamp = Random(1), LongReads(), dict[float, float](), 0.0
    assert reads.delay_of(0.0) == 0.0
    for _ in range(LONG_READS_MAX + 1):
        stamp += chance.random()
        known[stamp] = chance.random()
        reads.add(stamp, known[stamp])
    stamps = list(known)
    cut = LONG_READS_MAX // 2
    assert all(reads.delay_of(each) == known[each] for each in stamps[cut:])
    assert not any(reads.delay_of(each) for each in stamps[:cut])
    assert not any(reads.delay_of(each + 1e-9) for each in stamps)
    assert reads.delay_of(stamp + 1.0) == 0.0


def test_of_two_reads_with_one_stamp_the_longer_counts() -> None:
    reads = LongReads()
    for seconds in (0.02, 0.05, 0.01):
        reads.add(7.0, seconds)
    assert reads.delay_of(7.0) == 0.05
