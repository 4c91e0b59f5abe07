"""The process that runs the checks, when its supervisor does not answer."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from banken.errors import Unreachable
from banken_supervisor.check_runner import serving
from banken_supervisor.check_runner.runner import Runner

SUPERVISOR, ALONE_S = 4711, 0.2


class Once:
    """A supervisor that answers once."""

    def __init__(self) -> None:
        self.asked = 0

    def request(self, op: str, **args: Any) -> dict[str, Any]:
        self.asked += 1
        if self.asked > 1:
            raise Unreachable("no answer")
        return {"version": None, "checks": None, "pid": SUPERVISOR, "processes": {}, "asked": [], "over": []}


def test_it_stays_while_its_supervisor_is_stopped_and_ends_when_that_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A supervisor that was stopped for a minute had an incident when it went on, for the end of its own child."""
    once, parent = Once(), [SUPERVISOR]

    @contextmanager
    def control(address: str | None, timeout: float) -> Iterator[Once]:
        yield once

    monkeypatch.setattr(serving, "Control", control)
    monkeypatch.setattr(serving, "ALONE_S", ALONE_S)
    monkeypatch.setattr(serving, "ASK_S", 0.01)
    monkeypatch.setattr(os, "getppid", lambda: parent[0])
    loop = cast(asyncio.AbstractEventLoop, SimpleNamespace(call_soon_threadsafe=lambda *_: None))
    work = serving.Work(None, cast(Runner, None), loop)
    thread = threading.Thread(target=work.ask_for_ever, daemon=True)
    thread.start()
    thread.join(5 * ALONE_S)
    assert thread.is_alive()
    parent[0] = 1
    thread.join(10)
    assert not thread.is_alive()
    assert once.asked > 2
