"""Programs that end again and again: all together take a bounded share of the starts, and each of them its part."""

from __future__ import annotations

from collections import Counter

from banken_supervisor.engine.ladder import Backoff, Budget
from banken_supervisor.programs.engine.restart_budget import BURST, RATE
from program_bench import Bench, spec

MANY, SECONDS = 150, 30.0


def flash(number: int) -> Bench:
    """So many programs that end at once, with no backoff worth the name and a budget without an end."""
    endless = {"backoff": Backoff(0.001, 0.001), "budget": Budget(10**6, 3600.0)}
    return Bench(*(spec(f"flash-{each}", **endless) for each in range(number)), spec("steady"))


def test_programs_that_end_at_once_have_a_bound_together() -> None:
    """150 of them would be started 1,500 times a second. One that ran for long waits for its own backoff only."""
    bench = flash(MANY)
    starts: Counter[str] = Counter()
    up = [f"flash-{each}" for each in range(MANY)]
    until = bench.now + SECONDS
    while bench.now < until:
        for name in up:
            bench.exited(name)
        _, words = bench.until_due()
        up = [word.removeprefix("spawn ") for word in words if word.startswith("spawn ")]
        starts.update(up)
        bench.started(*up)
    assert starts.total() <= MANY + BURST + RATE * SECONDS + 1
    assert starts.total() >= RATE * SECONDS
    least, most = min(starts.values()), max(starts.values())
    assert len(starts) == MANY
    assert least >= most - 3
    bench.exited("steady")
    began = bench.now
    while "spawn steady" not in bench.until_due()[1]:
        assert bench.now <= began + 1.0
    assert bench.now <= began + 1.0


def test_a_few_that_end_at_once_do_not_wait_for_each_other() -> None:
    """Nor do many that end once, as when what they all need has ended: all are started after their backoff."""
    bench = flash(MANY)
    bench.now += 3600.0
    for each in range(MANY):
        bench.exited(f"flash-{each}")
    assert len(bench.wait(0.001)) == MANY
