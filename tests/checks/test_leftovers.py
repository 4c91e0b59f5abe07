"""What commands of checks leave behind is killed, whatever session and environment it has; nothing else is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from banken_supervisor.checks import pattern_matching
from banken_supervisor.checks.outcome import Outcome
from banken_supervisor.checks.subject import Subject
from checks.kit import made, nothing_left, passes
from checks.test_exec_check import SH, alive, unlike

pytestmark = pytest.mark.process


def hidden(seconds: str) -> str:
    """Leaves the session, and has no mark."""
    return f"setsid env -i /bin/sleep {seconds} >/dev/null 2>&1 &"


def soon(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_one_that_leaves_its_session_and_its_mark() -> None:
    seconds = unlike()
    with nothing_left():
        passes({"exec": [*SH, f"{hidden(seconds)} exit 0"]})
        assert alive(seconds) == []


def test_one_with_descendants_of_its_own() -> None:
    seconds = unlike()
    script = f"setsid env -i /bin/sh -c '(setsid sleep {seconds} &); sleep {seconds}; :' >/dev/null 2>&1 &"
    with nothing_left():
        passes({"exec": [*SH, f"{script} sleep 0.1; exit 0"]})
        soon(lambda: alive(seconds) == [])


def test_many_runs_leave_no_zombies() -> None:
    with nothing_left():
        for _ in range(10):
            passes({"exec": [*SH, "(setsid env -i /bin/true &) ; exit 0"]})


def test_what_may_belong_to_a_command_that_runs_is_left_until_that_ends() -> None:
    """Both have an orphan. That of the long one lives while it runs; that of the short one is gone at the end."""
    long, short = unlike(), unlike()
    script = f"({hidden(long)}) ; sleep 1"

    async def both() -> Outcome:
        run = asyncio.create_task(made({"exec": [*SH, script], "limit": "5s", "every": "5s"}).run(Subject("a")))
        await asyncio.sleep(0.3)
        assert (await made({"exec": [*SH, f"({hidden(short)}) ; exit 0"]}).run(Subject("b"))).passed
        assert alive(long) != []
        return await run

    with nothing_left():
        assert asyncio.run(both()).passed
        assert (alive(long), alive(short)) == ([], [])


def test_an_older_orphan_is_killed_while_a_younger_command_runs() -> None:
    """The command that left it has ended when the next one is still at work."""
    seconds = unlike()
    first = f"({hidden(seconds)}) ; sleep 0.3"

    async def one_after_the_other() -> None:
        ends = asyncio.create_task(made({"exec": [*SH, first]}).run(Subject("a")))
        await asyncio.sleep(0.2)
        goes_on = asyncio.create_task(made({"exec": ["sleep", "1"]}).run(Subject("b")))
        await ends
        assert alive(seconds) == []
        assert not goes_on.done()
        await goes_on

    with nothing_left():
        asyncio.run(one_after_the_other())


def test_the_matcher_is_not_touched() -> None:
    """It is a child of this process, too, and may have begun after the command."""
    pattern_matching._matcher.close()

    async def beside() -> None:
        run = asyncio.create_task(made({"exec": ["sleep", "0.3"]}).run(Subject("a")))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(pattern_matching.newest_fit, "x+", ["xx"], 1.0)
        await run

    asyncio.run(beside())
    process = pattern_matching._matcher._process
    assert process is not None
    assert process.poll() is None
    pattern_matching._matcher.close()
