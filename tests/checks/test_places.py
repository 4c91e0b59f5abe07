"""More checks are due than may run at once: what is not run convicts nobody, and is seen."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from itertools import pairwise

import pytest

from banken_supervisor.check_runner.runner import Runner
from banken_supervisor.checks.outcome import Outcome
from banken_supervisor.checks.subject import Subject
from checks.test_runner import Fake, passes, until, wanted
from checks.test_runner_real import Port, banken, checks, incidents
from process.kit import START_S
from process.kit import until as until_so
from process.run_kit import running


def test_a_check_that_waits_for_a_place_is_told_once_in_its_interval_and_when_it_begins() -> None:
    told: list[tuple[float, str, str]] = []

    async def slow(subject: Subject) -> Outcome:
        await asyncio.sleep(0.65)
        return Outcome(True, "well")

    quick = Fake(passes, every=0.2)

    async def main() -> None:
        runner = Runner(lambda *_: None, 1, lambda name, why: told.append((time.monotonic(), name, why)))
        running = asyncio.create_task(runner.serve())
        runner.set([wanted("slow", Fake(slow, every=60.0, limit=60.0))])
        await asyncio.sleep(0.1)
        began = time.monotonic()
        runner.set([wanted("slow", Fake(slow, every=60.0, limit=60.0), key=1), wanted("quick", quick)])
        await until(lambda: quick.runs, "it runs at last")
        told.append((began, "began", ""))
        running.cancel()

    asyncio.run(main())
    assert {name for _, name, _ in told[:-1]} == {"quick"}
    *waits, (_, _, last) = told[:-1]
    assert waits[0][2] == "is not run yet: all places (1) are taken ([supervisor] checks_at_once) by slow"
    assert last == "is run late: all places (1) were taken ([supervisor] checks_at_once)"
    assert 2 <= len(waits) <= 5, waits
    assert all(0.19 < after[0] - before[0] < 0.5 for before, after in pairwise(waits))


def test_that_a_run_is_repeated_is_said_too() -> None:
    """This process stood still during the first: the whole takes longer than one run may."""
    told: list[str] = []
    results: list[bool] = []

    async def blocked(subject: Subject) -> Outcome:
        if not told:
            time.sleep(0.6)  # noqa: ASYNC251  # the whole process stands still
        return Outcome(bool(told), "no answer")

    async def main() -> None:
        runner = Runner(
            lambda name, found, *_: results.append(found.passed), delayed=lambda name, why: told.append(why)
        )
        running = asyncio.create_task(runner.serve())
        runner.set([wanted("c", Fake(blocked, every=1.0))])
        await until(lambda: results, "a result")
        running.cancel()

    asyncio.run(main())
    assert (told, results) == (["is run again: the process that runs the checks stood still"], [True])


@pytest.mark.process
def test_long_checks_convict_no_healthy_one() -> None:
    """Two commands have both places for five seconds; the timeout of the other check is 0.4 s."""
    port = Port()
    config = f"""
[supervisor]
checks_at_once = 2

[[watchdog]]
name = "long"
check = [
  {{ exec = ["sleep", "5"], every = "8s", limit = "8s" }},
  {{ exec = ["sleep", "5"], every = "8s", limit = "8s" }},
]

[[watchdog]]
name = "store"
check = {{ tcp = "127.0.0.1:{port.number}", every = "200ms", fails = 1 }}
"""
    with closing(port), running(config) as bench:
        until_so(lambda: checks(bench)["store/check"]["delayed"], "it is seen to wait", START_S)
        time.sleep(1.0)
        row = checks(bench)["store/check"]
        assert "all places (2) are taken" in row["delayed"]
        assert row["delayed_for"] > 0.5
        shown = next(line for line in banken(bench, "checks").stdout.splitlines() if "store/check" in line)
        assert "delayed" in shown
        assert "checks_at_once" in shown
        until_so(lambda: checks(bench)["store/check"]["delayed"] is None, "it is run", START_S)
        assert incidents(bench) == {}
