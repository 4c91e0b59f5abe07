"""A path on a dead mount, in the keys of a check: the check fails in its time, and holds up no other."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.checks.certificates import authority

from banken_supervisor.check_runner.serving import Broken, Work
from banken_supervisor.checks.subject import Subject
from checks.kit import LATE_S, free_port, made

HANGS_S = 3.0
"""Seconds that a look hangs at most: if it is made on the loop, the test is to end all the same."""


@pytest.fixture
def dead(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Makes looks at a path hang, until the test is over."""
    event, paths = threading.Event(), set[str]()
    stat = os.stat

    def hanging(path: Any, *args: Any, **more: Any) -> os.stat_result:
        if str(path) in paths:
            event.wait(HANGS_S)
        return stat(path, *args, **more)

    monkeypatch.setattr(os, "stat", hanging)
    yield lambda path: paths.add(str(path))
    event.set()


def look(raw: dict[str, Any], dead: Callable[[], None]) -> tuple[bool | None, str, float]:
    """What a run says, while looks hang; and the longest gap in the loop's turns."""
    check = made({**raw, "limit": "400ms"})
    dead()

    async def scene() -> tuple[bool | None, str, float]:
        run, gap, last = asyncio.create_task(check.run(Subject("it"))), 0.0, time.monotonic()
        while not run.done():
            await asyncio.wait({run}, timeout=0.01)
            gap, last = max(gap, time.monotonic() - last), time.monotonic()
        return run.result().passed, run.result().text, gap

    return asyncio.run(scene())


@pytest.mark.parametrize("kind", ["cwd", "command", "unix", "ca_file"])
def test_it_fails_in_its_time_and_the_loop_goes_on(kind: str, tmp_path: Path, dead: Callable[[Path], None]) -> None:
    path = tmp_path / "plugin"
    raw: dict[str, Any] = {"exec": ["true"], "cwd": str(tmp_path)}
    if kind == "command":
        path.write_text("#!/bin/sh\n")
        path.chmod(0o700)
        raw = {"exec": [str(path)]}
    elif kind == "unix":
        raw = {"unix": str(path)}
    elif kind == "ca_file":
        path = Path(authority(tmp_path).certificate)
        raw = {"http": f"https://127.0.0.1:{free_port()}/", "ca_file": str(path)}
    passed, text, gap = look(raw, lambda: dead(tmp_path if kind == "cwd" else path))
    assert (passed, "does not answer" in text) == (False, True), text
    assert gap < LATE_S


@pytest.mark.parametrize("there", [True, False])
def test_one_that_is_given_out_keeps_no_other_from_the_thread_that_asks(there: bool, tmp_path: Path) -> None:
    """The file was read with the config: it is read again when the check runs. A pipe that nobody writes to stands
    for a disk that does not answer."""
    path = tmp_path / "ca.pem"
    if there:
        os.mkfifo(path)
    said = {"name": "w!0", "of": "w", "program": False, "table": {"http": "https://h/", "ca_file": str(path)}}
    found: list[Any] = []
    work = Work(None, None, None)  # type: ignore[arg-type]  # nothing is run here
    asks = threading.Thread(target=lambda: found.append(work._wanted(said, str(tmp_path))), daemon=True)
    asks.start()
    asks.join(HANGS_S)
    if there and not found:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    (wanted,) = found
    assert not isinstance(wanted.check, Broken)
