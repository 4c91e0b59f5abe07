"""All threads for looks hang: that says nothing of what could not be looked at."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from banken_supervisor.check_runner.runner import Runner
from banken_supervisor.checks import blocking
from banken_supervisor.checks.outcome import NotRunError, Outcome
from banken_supervisor.checks.subject import Subject
from checks.kit import made
from checks.test_runner import Fake, Told, until, wanted


@pytest.fixture
def dead() -> Iterator[threading.Event]:
    """What hangs comes back when it is set."""
    event = threading.Event()
    yield event
    event.set()


async def hang(kind: str, number: int, dead: threading.Event) -> list[asyncio.Task[object]]:
    """So many calls of this kind that do not come back."""
    tasks = [asyncio.create_task(blocking.call((kind, f"{kind}{n}"), dead.wait)) for n in range(number)]
    await until(lambda: sum(key[0] == kind for _, key in blocking._running) == number, "all have begun")
    return list(tasks)


def test_without_dns_the_checks_of_this_host_are_run_and_a_further_name_is_not_judged(
    dead: threading.Event, tmp_path: Path
) -> None:
    file, name = made({"file": str(tmp_path)}), made({"http": "http://further.example/", "limit": "300ms"})

    async def scene() -> None:
        names = await hang(blocking.NAME, blocking.NAMES_MAX, dead)
        assert (await file.run(Subject("it"))).passed is True
        found = await name.run(Subject("it"))
        assert found.passed is None
        assert found.text == (
            f"could not be run: {blocking.NAMES_MAX} look-ups of names have not come back: this one is not begun"
        )
        more = await hang("file", blocking.THREADS_MAX - blocking.NAMES_MAX, dead)
        found = await file.run(Subject("it"))
        assert found.passed is None, "our own shortage is not its failure"
        dead.set()
        await asyncio.gather(*names, *more)
        assert (await file.run(Subject("it"))).passed is True

    asyncio.run(scene())


def test_what_could_not_be_run_is_told_as_delayed_and_tried_again_soon() -> None:
    """Also where its next run would be in an hour."""
    told: Told = []
    delayed: list[tuple[str, str]] = []

    async def look(subject: Subject) -> Outcome:
        return Outcome(None, "no thread") if len(check.runs) == 1 else Outcome(True, "well")

    check = Fake(look, every=3600.0)

    async def main() -> None:
        runner = Runner(lambda *result: told.append(result), 1, lambda *said: delayed.append(said))
        running = asyncio.create_task(runner.serve())
        runner.set([wanted("c", check)])
        await until(lambda: told, "it is run again")
        running.cancel()

    asyncio.run(main())
    assert delayed == [("c", "no thread")]
    assert [found.passed for _, found, _, _ in told] == [True]
    assert check.runs[1] - check.runs[0] < 5


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_a_look_that_gets_no_thread_is_over(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next look at the same does not wait for it."""

    def no_thread(thread: threading.Thread) -> None:
        raise error

    async def scene() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread)
            with pytest.raises(NotRunError):
                await blocking.call(("file", "x"), lambda: 1)
        assert await blocking.call(("file", "x"), lambda: 2) == 2

    asyncio.run(scene())
