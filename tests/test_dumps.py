"""The worker's side of evidence: what may ask for a dump, and what introspection sees."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from banken import client
from banken.diagnostics import dumps, introspection
from banken.errors import Refused


def test_only_signals_that_nothing_else_sends_may_ask(address: str) -> None:
    """SIGTERM, SIGKILL and nonsense are refused before anything is touched."""
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, 0, -1, 1000, True):
        with pytest.raises(Refused, match="SIGUSR1, SIGUSR2 or a real-time signal"):
            dumps.enable_dumps(number, address=address)
    assert not os.path.exists(address)


@pytest.mark.parametrize("why", ["tcp", "file", "open"])
def test_where_dumps_cannot_work_the_worker_goes_on(
    address: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning, False, and nothing registered."""
    given = address
    if why == "tcp":
        given = "tcp://127.0.0.1:7767"
    elif why == "file":
        Path(address).touch()
    else:
        Path(address).mkdir()
        Path(address).chmod(0o777)
    before = set(threading.enumerate())
    assert dumps.enable_dumps(address=given) is False
    assert "stacks cannot be asked for here" in caplog.text
    assert dumps._current is None
    assert set(threading.enumerate()) <= before


def test_dumps_can_be_enabled_twice_and_taken_back(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same again changes nothing; another signal replaces it; afterwards nothing is left."""
    monkeypatch.setenv("BANKEN_ADDRESS", address)
    directory = Path(address, "dumps")
    try:
        assert client.enable_dumps() is True
        inodes = {each.stat().st_ino for each in directory.iterdir()}
        assert client.enable_dumps() is True
        assert {each.stat().st_ino for each in directory.iterdir()} == inodes
        (file,) = (each for each in directory.iterdir() if each.suffix != ".ask")
        assert file.read_text() == f"banken-dumps 1 {int(signal.SIGRTMIN) + 5}\n"
        assert client.enable_dumps(signal.SIGRTMIN + 3, ask=False) is True
        (only,) = directory.iterdir()
        assert only.read_text() == f"banken-dumps 1 {int(signal.SIGRTMIN + 3)}\n"
    finally:
        dumps.disable_dumps()
        signal.signal(signal.SIGRTMIN + 5, signal.SIG_DFL)
        signal.signal(signal.SIGRTMIN + 3, signal.SIG_DFL)
    assert list(directory.iterdir()) == []


def test_introspection_sees_tasks_of_every_kind() -> None:
    """Tasks behind gather, wait, wait_for and a lock, in a loop of another thread, without running their code."""
    import asyncio

    loop = asyncio.new_event_loop()

    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    async def locked(lock: asyncio.Lock) -> None:
        await lock.acquire()

    async def waiter() -> None:
        lock = asyncio.Lock()
        await lock.acquire()
        tasks = [asyncio.create_task(never(), name="n"), asyncio.create_task(locked(lock), name="l")]
        await asyncio.wait(tasks)

    async def timed() -> None:
        await asyncio.wait_for(never(), 60)

    async def start() -> list[asyncio.Task[None]]:
        return [asyncio.create_task(waiter(), name="w"), asyncio.create_task(timed(), name="t")]

    runner = threading.Thread(target=loop.run_forever, daemon=True)
    runner.start()
    try:
        started = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        deadline = time.monotonic() + 10
        tasks: dict[str, Any] = {}
        while [tasks.get(name, {}).get("awaits") for name in "nlwt"].count(None):
            assert time.monotonic() < deadline
            told = introspection.introspect()["tasks"]
            tasks = {each["name"]: each for each in told}
        assert {told[each]["name"] for each in tasks["w"]["awaits_tasks"]} == {"n", "l"}
        assert tasks["l"]["frames"][0]["function"].endswith("acquire")
        assert tasks["l"]["frames"][1]["function"].endswith("locked")
        assert any(each["function"].endswith("timed") for each in tasks["t"]["frames"])
        assert not any(each["running"] for each in told)
    finally:

        async def end() -> None:
            for each in asyncio.all_tasks() - {asyncio.current_task()}:
                each.cancel()
            await asyncio.gather(*started, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        runner.join(10)
        loop.close()


def test_introspection_of_a_task_runs_none_of_the_programs_code() -> None:
    """A thread's name and an awaitable's repr may be anything, also something that raises."""

    class Named(str):
        def __str__(self) -> str:
            raise AssertionError("it was asked")

    done = threading.Event()
    worker = threading.Thread(target=done.wait, name="plain", daemon=True)
    worker.start()
    worker._name = Named("odd")
    try:
        told = introspection.introspect()["threads"]
        assert told[0]["thread"] == threading.main_thread().ident
        assert "odd" in [each["name"] for each in told]
        assert json.dumps(told)
    finally:
        done.set()
        worker.join()
