"""The schedule of the process that runs the checks: spread, bounded, and fair to what it looks at."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

from banken.client.zmq_client import Client
from banken.protocol.codec import decode
from banken.protocol.limits import RESULT_MAX
from banken_supervisor.check_runner import serving
from banken_supervisor.check_runner.runner import OVER_S, Entry, Runner, Wanted
from banken_supervisor.checks.outcome import Outcome
from banken_supervisor.checks.subject import Subject

Told = list[tuple[str, Outcome, float, float]]


@dataclass
class Fake:
    """A check that does what it is given."""

    look: Callable[[Subject], Awaitable[Outcome]]
    every: float = 0.2
    limit: float = 0.2
    runs: list[float] = field(default_factory=list)

    async def run(self, subject: Subject) -> Outcome:
        self.runs.append(time.monotonic())
        return await self.look(subject)


async def passes(subject: Subject) -> Outcome:
    return Outcome(True, "well")


def wanted(name: str, check: Fake, *, owner: str = "w", program: bool = False, key: object = None) -> Wanted:
    return Wanted(name, owner, program, check, key if key is not None else id(check))


def play(scene: Callable[[Runner, Told], Awaitable[None]], at_once: int = 100) -> Told:
    """Let the scene have a runner that runs."""
    told: Told = []

    async def main() -> None:
        runner = Runner(lambda *result: told.append(result), at_once)
        running = asyncio.create_task(runner.serve())
        try:
            await scene(runner, told)
        finally:
            running.cancel()

    asyncio.run(main())
    return told


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)


def test_the_whole_outcome_is_told() -> None:
    sent: list[bytes] = []
    found = Outcome(True, "x" * 2 * RESULT_MAX, process=(5, 6), provisional=True)
    serving._tell(cast(Client, SimpleNamespace(_deliver=sent.append)), "w/check", found, 0.5, 9.0)
    assert tuple(decode(sent[0]).args) == (True, "x" * RESULT_MAX, 0.5, 9.0, False, (5, 6), True)


def test_checks_of_one_interval_are_spread_and_keep_their_pace() -> None:
    """A hundred of them each second: no tenth of a second has more than a fifth of the runs."""
    checks = [Fake(passes, every=1.0) for _ in range(100)]

    async def scene(runner: Runner, told: Told) -> None:
        runner.set([wanted(f"c{n}", check) for n, check in enumerate(checks)])
        await until(lambda: all(len(check.runs) >= 4 for check in checks), "four runs of each")

    play(scene)
    third = sorted(check.runs[2] for check in checks)
    crowds = [sum(at <= each < at + 0.1 for each in third) for at in third]
    assert max(crowds) <= 20
    assert third[-1] - third[0] > 0.7
    for check in checks:
        assert 0.8 < (check.runs[3] - check.runs[1]) / 2 < 1.3


def test_so_many_at_once_and_no_more() -> None:
    """Of ten that are due, three run; the others take their places."""
    now, most = 0, 0

    async def slow(subject: Subject) -> Outcome:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.08)
        now -= 1
        return Outcome(True, "well")

    checks = [Fake(slow, every=0.1) for _ in range(10)]

    async def scene(runner: Runner, told: Told) -> None:
        runner.set([wanted(f"c{n}", check) for n, check in enumerate(checks)])
        await until(lambda: all(len(check.runs) >= 3 for check in checks), "three runs of each")

    play(scene, at_once=3)
    assert most == 3


def test_what_does_not_end_or_raises_is_a_failure_and_stops_nobody() -> None:
    async def never(subject: Subject) -> Outcome:
        await asyncio.sleep(3600)
        raise AssertionError

    async def raises(subject: Subject) -> Outcome:
        raise KeyError("its own fault")

    async def scene(runner: Runner, told: Told) -> None:
        kinds = {"never": Fake(never), "raises": Fake(raises), "well": Fake(passes)}
        runner.set([wanted(name, check) for name, check in kinds.items()])
        await until(lambda: {name for name, *_ in told} == set(kinds), "a result of each")

    told = play(scene)
    said = {name: (found.passed, found.text, took) for name, found, took, _ in reversed(told)}
    assert said["never"][:2] == (False, "no result within 0.2 s: the run was ended")
    assert 0.2 + OVER_S <= said["never"][2] < 5
    assert said["raises"][:2] == (False, "a fault of the check itself: KeyError: 'its own fault'")
    assert said["well"][0]


def test_a_failure_while_this_process_stood_still_is_looked_at_again() -> None:
    """The first run sees the process blocked for longer than its limit: its failure is not told."""

    async def blocked(subject: Subject) -> Outcome:
        if len(check.runs) == 1:
            time.sleep(0.6)  # noqa: ASYNC251  # the whole process stands still
            return Outcome(False, "no answer")
        return Outcome(True, "well")

    check = Fake(blocked, every=1.0)

    async def scene(runner: Runner, told: Told) -> None:
        runner.set([wanted("c", check)])
        await until(lambda: told, "a result")

    (name, found, _, _), *_ = play(scene)
    assert (name, found.passed, len(check.runs)) == ("c", True, 2)


def test_a_change_of_the_config_keeps_what_stays_and_closes_what_goes() -> None:
    closed: list[str] = []

    class Held:
        def __init__(self, name: str) -> None:
            self.name = name

        def close(self) -> None:
            closed.append(self.name)

    def keeps(name: str) -> Fake:
        async def look(subject: Subject) -> Outcome:
            subject.kept = subject.kept or Held(name)
            return Outcome(True, "well")

        return Fake(look, every=0.1)

    async def scene(runner: Runner, told: Told) -> None:
        stays, goes, other = keeps("stays"), keeps("goes"), keeps("other")
        runner.set([wanted("a", stays, key=1), wanted("b", goes, key=2)])
        await until(lambda: {name for name, *_ in told} == {"a", "b"}, "both run")
        runner.set([wanted("a", other, key=1), wanted("c", other, key=3)])
        await until(lambda: "c" in {name for name, *_ in told}, "the new one runs")
        before = len(goes.runs)
        await until(lambda: len(stays.runs) > 3, "what was as it was goes on")
        assert len(goes.runs) == before
        assert closed == ["goes"]

    play(scene)
    assert sorted(closed) == ["goes", "other", "stays"]


def test_a_run_that_a_reload_ends_before_it_began_gives_its_place_back() -> None:
    """The only place is taken, and in the same turn of the loop the check goes: the next one is run."""
    first, second = Fake(passes, every=60.0), Fake(passes, every=60.0)

    async def scene(runner: Runner, told: Told) -> None:
        runner.set([wanted("first", first)])
        runner._begin_due()
        assert runner._running
        runner.set([])
        runner.set([wanted("second", second)])
        await until(lambda: second.runs, "the place is free")
        assert first.runs == []

    play(scene, at_once=1)


def test_a_program_without_a_process_is_not_looked_at_and_a_new_process_soon() -> None:
    check = Fake(passes, every=60.0)

    async def scene(runner: Runner, told: Told) -> None:
        runner.set([wanted("p/check", check, owner="p", program=True)])
        await asyncio.sleep(0.6)
        assert check.runs == []
        runner.set_processes({"p": (4711, 9)})
        await until(lambda: len(check.runs) == 1, "it runs")
        runner.set_processes({"other": (1, 1)})
        runner.set_processes({"p": (4712, 9)})
        await until(lambda: len(check.runs) == 2, "the next process, too")
        runner.run_now("p/check")
        await until(lambda: len(check.runs) == 3, "and when it is asked for")

    play(scene)


def test_the_end_of_a_process_of_a_program_that_is_stopped_holds_up_no_other_check() -> None:
    """Two processes end; while the first end is looked at the second comes, and then the program has none."""
    held = asyncio.Event()

    async def looks(subject: Subject) -> Outcome:
        if len(checked.runs) == 2:
            subject.run_now()  # another one ends
            await held.wait()
        elif len(checked.runs) == 1:
            ended.append(subject)
        return Outcome(True, "well")

    ended: list[Subject] = []
    checked, other = Fake(looks, every=2.0, limit=2.0), Fake(passes, every=0.1)

    async def scene(runner: Runner, told: Told) -> None:
        runner.set([wanted("p/check", checked, owner="p", program=True), wanted("other", other)])
        runner.set_processes({"p": (4711, 9)})
        await until(lambda: ended, "it runs")
        ended[0].run_now()
        await until(lambda: len(checked.runs) == 2, "it looks again")
        runner.set_processes({"p": (0, 0)})
        turns, plan = 0, runner._plan

        def counted(entry: Entry) -> None:
            nonlocal turns
            turns += 1
            assert turns < 100, "planned again and again"
            plan(entry)

        runner._plan = counted  # type: ignore[method-assign]
        held.set()
        before = len(other.runs)
        await until(lambda: len(other.runs) >= before + 8, "the other goes on")
        assert len(checked.runs) == 2

    play(scene)


def test_ends_bring_a_run_at_once_and_no_more_than_ten_in_an_interval() -> None:
    """Processes end all the time; the check runs by ``every``, and a bounded number of times more."""
    kept: list[Subject] = []

    async def keeps(subject: Subject) -> Outcome:
        kept.append(subject)
        return Outcome(True, "well")

    check = Fake(keeps, every=2.0)

    async def scene(runner: Runner, told: Told) -> None:
        runner.set([wanted("c", check)])
        await until(lambda: kept, "it runs")
        began = time.monotonic()
        kept[0].run_now()
        await until(lambda: len(kept) == 2, "an end is looked at")
        assert time.monotonic() - began < 0.15
        while time.monotonic() - began < 1.0:
            kept[0].run_now()
            await asyncio.sleep(0.005)
        assert 4 <= len(check.runs) <= 8
        runner.run_now("c")
        before = len(check.runs)
        await until(lambda: len(check.runs) > before, "one that is asked for is run")

    play(scene)
